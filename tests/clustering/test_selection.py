import numpy as np
import pytest

from RISCluster.clustering import selection
from RISCluster.errors import CheckpointError, DataError


def row(k, **values):
    base = dict.fromkeys(("bic", "aic", "silhouette", "inertia", "gap", "gap_std"), 0.0)
    base |= dict.fromkeys(("stability", "stability_std"), np.nan)
    return selection.Criteria(k, **(base | values))


def rows_of(first, **columns):
    """Rows for K from `first` on, with these columns."""
    values = zip(*columns.values(), strict=True)
    return [row(k, **dict(zip(columns, x, strict=True))) for k, x in enumerate(values, first)]


def test_each_criterion_has_its_rule():
    rows = rows_of(
        2, bic=[5, 3, 4, 6], aic=[9, 4, 3, 5], silhouette=[0.3, 0.6, 0.5, 0.4],
        gap=[1.0, 1.5, 1.55, 1.9], gap_std=[0.1] * 4, stability=[0.97, 0.995, 0.98, 0.9],
        inertia=[10, 4.5, 3.5, 3],
    )  # fmt: skip
    # gap: 1.5 >= 1.55 - 0.1, and 1.0 < 1.5 - 0.1; stability: the largest within 0.02 of the best
    chosen = {"bic": 3, "aic": 4, "silhouette": 3, "gap": 3, "stability": 4}
    assert {name: selection.select(rows, name) for name in chosen} == chosen
    knees = rows, rows[:2], rows_of(1, inertia=[10, 9, 1])  # few; nowhere below its chord
    assert [selection.choose(each, "inertia") for each in knees] == [3, None, None]
    rising = rows_of(2, gap=[2, 3, 4], gap_std=[0.1] * 3)
    assert (selection.choose(rising, "gap"), selection.select(rising, "gap")) == (None, 4)
    with pytest.raises(DataError, match="silhouette has no value for these K; silhouette and"):
        selection.select([row(1, silhouette=np.nan)], "silhouette")


def test_gap_of_one_cluster():
    # For K = 1 the inertia of n uniform points in a box is known: n * sum(width^2) / 12.
    latents = np.random.default_rng(1).uniform(size=(4000, 2)) * [3.0, 1.0]
    inertia = ((latents - latents.mean(0)) ** 2).sum()
    gap, std = selection.gap_statistic(latents, 1, inertia, 0)
    assert gap == pytest.approx(np.log(4000 * 10 / 12) - np.log(inertia), abs=0.02)
    assert 0 < std < 0.05
    # Of a Gaussian with the same variances the inertia is theirs, and the gap none.
    gap, _ = selection.gap_statistic(latents, 1, inertia, 0, "gaussian")
    assert gap == pytest.approx(0, abs=0.02)


def test_contradictions():
    def sentences(chosen, bic, silhouette):
        """On K of 2 to 6, of which each criterion takes that given; stability takes 4."""
        columns = {"bic": (bic, 1), "silhouette": (silhouette, -1), "stability": (4, -1)}
        numbers = np.arange(2, 7)
        away = {name: sign * np.abs(numbers - k) for name, (k, sign) in columns.items()}
        return selection.contradictions(rows_of(2, **away), chosen, "bic")

    assert sentences(4, 4, 4) == sentences(4, 4, 5) == []  # one apart is near
    (text,) = sentences(4, 4, 6)
    assert text.startswith(
        "the criteria contradict each other: BIC takes K = 4, silhouette takes K = 6, stability "
    )
    for k, numbers in ((6, "2-12"), (2, "1-6")):
        text = sentences(k, k, k)[-1]
        assert text.startswith(f"K = {k}, selected by BIC, is at the edge of those that were")
        assert f"gmm.n_clusters = {numbers}" in text
    assert selection.contradictions([row(3)], 3, "bic") == []


def test_rows_of_a_file(tmp_path):
    path, rows = tmp_path / "selection.csv", rows_of(2, bic=[1.5, np.pi], stability=[0.25, 0.5])
    selection.write_rows(path, rows)
    assert str(selection.read_rows(path)) == str(rows).replace(str(np.pi), "3.141592654")
    for text in ("n_clusters,bic\n2,much\n", "bic\n1.0\n", ""):
        path.write_text(text)
        with pytest.raises(CheckpointError, match="can't be read as a table of criteria"):
            selection.read_rows(path)
