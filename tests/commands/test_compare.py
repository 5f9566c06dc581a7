import csv
import re

import pytest

from RISCluster.__main__ import main
from RISCluster.commands.compare import as_lines
from RISCluster.evaluation.comparison import compare
from RISCluster.report.page import MISSING
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from tests import made
from tests.conftest import blobs, write_samples
from tests.evaluation.test_comparison import ONE, runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs without refinement on the same data, `one` and `two`, and `other` on other data."""
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


def test_runs_on_the_same_and_on_other_data(folder, tmp_path, capsys):
    table, figure = tmp_path / "new/table.csv", tmp_path / "new/overlap.png"
    words = [str(folder / "one"), str(folder / "two"), "-o", str(table), "--figure", str(figure)]
    (folder / "same.h5").rename(folder / "hidden.h5")  # the data are not needed
    try:
        assert main(["compare", *words]) == 0
    finally:
        (folder / "hidden.h5").rename(folder / "same.h5")
    out = capsys.readouterr().out
    assert ["gmm.covariance_shrinkage", "2", "1"] in [line.split() for line in out.splitlines()]
    assert "Adjusted Rand index between final labels" in out
    assert f"table: {table}\nfigure: {figure}\n" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["kind", "name", "one", "two"]
    assert ["setting", "gmm.covariance_shrinkage", "2", "1"] in rows
    assert {row[0] for row in rows[1:]} == {"data", "setting", "metric", "ari"}
    assert main(["compare", str(folder / "one"), str(folder / "other")]) == 0
    out = capsys.readouterr().out
    assert "These runs label different samples" in out
    assert "Rand index" not in out
    verdicts = [line.split("  ")[-1].strip() for line in out.splitlines() if "nmi" in line]
    assert verdicts == [MISSING]
    assert re.search(r"GMM silhouette_latent .* no: other data.file", out)
    assert re.search(r"GMM n_clusters .* yes\n", out)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["one"], "give two or more different run folders"),
        (["one", "one"], "give two or more different run folders"),
        (["one", "nothing"], "nothing: no such run folder"),
        (["one", "two", "-o", "table.txt"], "table.txt is not allowed; allowed: a name that ends"),
        (["one", "other", "--figure", "x.png"], "needs two runs on the same data"),
        (["one", "two", "other", "--figure", "x.png"], "needs two runs on the same data"),
    ],
)
def test_errors_are_one_line(folder, monkeypatch, refused, words, text):
    monkeypatch.chdir(folder)
    refused(["compare", *words], text)
    assert not (folder / "x.png").exists()


def test_lines():
    lines = as_lines(compare(runs()))
    assert lines[0] == "                 one           two"
    assert lines[1] == "  data  Data/demo.h5  Data/demo.h5"
    assert lines[3] == "Settings that differ"
    at = lines.index("Adjusted Rand index between final labels (1: the same clusters, 0: chance)")
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["one", "two"], ["one", "1.000", "0.242"], ["two", "0.242", "1.000"]
    ]  # fmt: skip
    assert "Clusters under the best matching: 66.7% of 6 samples agree" in lines
    assert [line.split() for line in lines[-3:]] == [
        ["0", "1", "2", "66.7%"],
        ["1", "2", "2", "66.7%"],
        ["without", "a", "partner", "in", "two:", "0"],
    ]
    named = as_lines(compare(runs()), [{1: "quake"}, {0: "noise", 2: "ice"}])
    assert named[-2].split()[:4] == ["1", "quake", "2", "ice"]
    assert named[-1].endswith("in two: 0 noise")
    alike = [made.run(made.stage("GMM", ONE), folder=name) for name in ("x", "y")]
    assert "No setting that changes results differs." in as_lines(compare(alike))
