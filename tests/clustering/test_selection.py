import numpy as np
import pytest

from RISCluster.clustering.mixture import fit_kmeans
from RISCluster.clustering.selection import (
    HEADER,
    Criteria,
    as_rows,
    choose,
    contradictions,
    gap_statistic,
    knee,
    read_rows,
    select,
)
from RISCluster.errors import CheckpointError, DataError
from RISCluster.io import write_csv
from tests.clustering.test_mixture import three_clouds


def row(k, **values):
    base = {"bic": 0.0, "aic": 0.0, "silhouette": 0.0, "inertia": 0.0, "gap": 0.0, "gap_std": 0.0}
    return Criteria(k, **(base | values))


def test_each_criterion_has_its_rule():
    rows = [
        row(2, bic=5, aic=9, silhouette=0.3, gap=1.0, gap_std=0.1),
        row(3, bic=3, aic=4, silhouette=0.6, gap=1.5, gap_std=0.1),
        row(4, bic=4, aic=3, silhouette=0.5, gap=1.55, gap_std=0.1),
        row(5, bic=6, aic=5, silhouette=0.4, gap=1.9, gap_std=0.1),
    ]
    assert select(rows, "bic") == 3
    assert select(rows, "aic") == 4
    assert select(rows, "silhouette") == 3
    assert select(rows, "gap") == 3  # 1.5 >= 1.55 - 0.1, and 1.0 < 1.5 - 0.1


def test_silhouette_without_value():
    with pytest.raises(DataError, match="silhouette has no value for K = 1"):
        select([row(1, silhouette=np.nan)], "silhouette")
    assert select([row(1, silhouette=np.nan), row(2, silhouette=0.1)], "silhouette") == 2


def test_gap_finds_three_clouds_and_none_in_uniform():
    def rows_of(latents):
        rows = []
        for k in range(1, 6):
            gap, std = gap_statistic(latents, k, fit_kmeans(latents, k, 5, 0).inertia_, 0)
            assert std > 0
            rows.append(row(k, gap=gap, gap_std=std))
        return rows

    assert select(rows_of(three_clouds()[0]), "gap") == 3
    assert select(rows_of(np.random.default_rng(0).uniform(size=(300, 2))), "gap") == 1


def test_gap_is_that_of_the_definition():
    # For K = 1 the inertia of n uniform points in a box is known: n * sum(width^2) / 12.
    rng = np.random.default_rng(1)
    latents = rng.uniform(size=(4000, 2)) * [3.0, 1.0]
    inertia = ((latents - latents.mean(0)) ** 2).sum()
    gap, std = gap_statistic(latents, 1, inertia, 0)
    assert gap == pytest.approx(np.log(4000 * 10 / 12) - np.log(inertia), abs=0.02)
    assert 0 < std < 0.05


def test_knee_by_hand():
    # Chord from (2, 10) to (6, 2): at K = 3 the curve is 8 - 4.5 below it, at 4 it is 6 - 3.5.
    rows = [row(k, inertia=i) for k, i in zip(range(2, 7), (10, 4.5, 3.5, 3, 2), strict=True)]
    assert knee(rows) == 3
    assert knee(rows[:2]) is None
    straight = [row(k, inertia=10 - k) for k in range(1, 6)]
    assert knee(straight) is None
    bulging = [row(k, inertia=i) for k, i in zip((1, 2, 3), (10, 9, 1), strict=True)]
    assert knee(bulging) is None
    assert knee([row(k, inertia=0.0) for k in range(1, 5)]) is None


def test_stability_takes_the_largest_of_the_most_stable():
    values = {2: 0.97, 3: 0.995, 4: 0.98, 5: 0.9, 6: np.nan}
    rows = [row(k, stability=value) for k, value in values.items()]
    assert select(rows, "stability") == 4  # 0.015 below the highest one; 5 is 0.095 below
    with pytest.raises(DataError, match="stability has no value for K = 1, 2; a silhouette and"):
        select([row(1), row(2)], "stability")


def speaks_against(chosen, criterion="bic", **best):
    """Sentences on K of 2 to 6, where each criterion takes the K that is given, or 4."""
    best = {"bic": 4, "silhouette": 4, "stability": 4} | best
    rows = [
        row(
            k,
            bic=abs(k - best["bic"]),
            silhouette=-abs(k - best["silhouette"]),
            stability=-abs(k - best["stability"]),
            gap=k,
            gap_std=0.1,
        )
        for k in range(2, 7)
    ]
    return contradictions(rows, chosen, criterion)


def test_criteria_that_contradict_each_other_are_said():
    assert speaks_against(4) == []
    assert speaks_against(4, silhouette=5) == [], "one apart is near"
    (said,) = speaks_against(4, silhouette=6)
    assert said.startswith(
        "the criteria contradict each other: BIC takes K = 4, silhouette takes K = 6, stability "
        "takes K = 4; "
    )
    (said,) = speaks_against(4, silhouette=5, stability=3)
    assert "silhouette takes K = 5, stability takes K = 3" in said
    (said, _) = speaks_against(2, "aic")  # AIC, the same for all, takes the smallest
    assert "AIC takes K = 2, BIC takes K = 4" in said


def test_the_end_of_the_range_is_said():
    every = {"bic": 6, "silhouette": 6, "stability": 6}
    assert speaks_against(6, **every) == [
        "K = 6, selected by BIC, is the largest that was fitted: more clusters may be better; fit "
        "them too (gmm.n_clusters = 2-12)"
    ]
    (said,) = speaks_against(2, **dict.fromkeys(every, 2))
    assert said.startswith("K = 2, selected by BIC, is the smallest that was fitted")
    assert "gmm.n_clusters = 1-6" in said
    (said,) = speaks_against(6, "gap", **every)  # which rises to the end, and takes none
    assert said.startswith("K = 6, selected by gap statistic, is the largest")


def test_what_has_no_choice_has_no_contradiction():
    assert contradictions([row(3)], 3, "bic") == []
    assert contradictions([row(2), row(3, bic=-1, silhouette=1)], 3, "bic") == []
    rows = [row(1, bic=0, silhouette=np.nan), row(2, bic=1), row(3, bic=2)]
    assert contradictions(rows, 1, "bic") == [], "1 is no end, for there are no fewer clusters"


def test_gap_that_rises_to_the_end_takes_none():
    rows = [row(k, gap=k, gap_std=0.1) for k in (2, 3, 4)]
    assert choose(rows, "gap") is None
    assert select(rows, "gap") == 4
    assert choose(rows[:1], "gap") == 2


def test_rows_of_a_file(tmp_path):
    rows = [row(2, bic=1.5, stability=0.25, stability_std=0.125), row(3)]
    write_csv(tmp_path / "new.csv", HEADER, as_rows(rows))
    assert read_rows(tmp_path / "new.csv")[0] == rows[0]
    assert np.isnan(read_rows(tmp_path / "new.csv")[1].stability)
    write_csv(tmp_path / "old.csv", HEADER[:-2], [line[:-2] for line in as_rows(rows)])
    old = read_rows(tmp_path / "old.csv")
    assert old[0].bic == 1.5
    assert np.isnan(old[0].stability)
    assert choose(old, "stability") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "it is empty"),
        (",".join(HEADER) + "\n", "holds no K"),
        ("n_clusters,bic\n2,much\n", "line 2: 'much' in column 'bic' is no number"),
        ("n_clusters,bic\n2,1.0\n", "no column aic"),
        ("k,bic\n2,1.0\n", "no column n_clusters"),
    ],
)
def test_damaged_rows(tmp_path, text, message):
    path = tmp_path / "selection.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_rows(path)
