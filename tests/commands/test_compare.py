import csv
import shutil

import pytest

from RISCluster.__main__ import main
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs without refinement on the same data, `one` and `two`, and `other` on other data."""
    from RISCluster.settings import load_settings
    from tests.conftest import blobs, write_samples

    folder = tmp_path_factory.mktemp("runs")
    same = write_samples(folder / "same.h5", blobs(48)[0], labels=blobs(48)[1])
    other = write_samples(folder / "other.h5", blobs(40, seed=1)[0])
    quick = (
        "run.device=cpu", "run.figures=no", f"run.folder={folder}", "aec.n_features=3",
        "aec.n_epochs=2", "gmm.n_clusters=2-3", "gmm.n_init=2", "gmm.n_resamples=2",
    )  # fmt: skip
    for name, file, words in (
        ("one", same, ()), ("two", same, ("gmm.covariance_shrinkage=1",)), ("other", other, ())
    ):  # fmt: skip
        settings = load_settings(None, (*quick, f"run.name={name}", f"data.file={file}", *words))
        for stage in (run_aec, run_gmm):
            stage(settings)
    return folder


def test_two_runs(folder, tmp_path, capsys):
    table, figure = tmp_path / "new/table.csv", tmp_path / "new/overlap.png"
    words = [str(folder / "one"), str(folder / "two"), "-o", str(table), "--figure", str(figure)]
    assert main(["compare", *words]) == 0
    out = capsys.readouterr().out
    assert ["gmm.covariance_shrinkage", "2", "1"] in [line.split() for line in out.splitlines()]
    assert "GMM nmi" in out
    assert "Adjusted Rand index between final labels" in out
    assert f"table: {table}\nfigure: {figure}\n" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["kind", "name", "one", "two"]
    assert ["setting", "gmm.covariance_shrinkage", "2", "1"] in rows


def test_other_data(folder, capsys):
    assert main(["compare", str(folder / "one"), str(folder / "other")]) == 0
    out = capsys.readouterr().out
    assert "These runs label different samples" in out
    assert "Rand index" not in out


def test_data_that_are_gone_are_not_needed(folder, tmp_path, capsys):
    for name in ("one", "two"):
        shutil.copytree(folder / name, tmp_path / name)
    hidden = folder / "same.h5"
    hidden.rename(folder / "hidden.h5")
    try:
        assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    finally:
        (folder / "hidden.h5").rename(hidden)
    assert "Adjusted Rand index" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["one"], "give two or more different run folders"),
        (["one", "../runs/one"], "give two or more different run folders"),
        (["one", "nothing"], "nothing: no such run folder"),
        (["one", "two", "-o", "table.txt"], "--output table.txt: allowed: a name that ends with"),
        (["one", "two", "--figure", "x.gif"], "ends with .png or .pdf or .svg"),
        (["one", "other", "--figure", "x.png"], "these label other samples"),
        (["one", "two", "other", "--figure", "x.png"], "more than two are given"),
    ],
)
def test_errors_are_one_line(folder, tmp_path, monkeypatch, capsys, words, text):
    runs = tmp_path / "runs"
    shutil.copytree(folder, runs)
    monkeypatch.chdir(runs)
    assert main(["compare", *words]) == 2
    answer = capsys.readouterr()
    assert text in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert not (runs / "x.png").exists()
