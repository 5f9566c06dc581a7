from RISCluster.__main__ import main
from RISCluster.commands.results import as_lines
from RISCluster.evaluation.comparison import compare
from tests.evaluation.test_comparison import ONE, TWO, runs
from tests.stages.conftest import table


def test_text_and_table_without_the_data(made_run, run_folder, here, capsys):
    assert main(["compare", str(made_run), str(run_folder), "-o", "table.csv"]) == 0
    out = capsys.readouterr().out
    assert "No setting that changes results differs." in out
    assert out.endswith("table: table.csv\n")
    rows = table(here / "table.csv")
    assert [*rows[0]] == ["kind", "name", "test", "run"]
    assert {row["kind"] for row in rows} == {"data", "metric", "ari"}


def test_lines():
    lines = as_lines(compare(runs()))
    assert lines[0] == "                 one           two"
    assert lines[1] == "  data  Data/demo.h5  Data/demo.h5"
    assert lines[3] == "Settings that differ"
    assert ["aec.lr", "0.001", "0.0003"] in [line.split() for line in lines]
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
    text = "\n".join(as_lines(compare(runs(("a", "b"), (ONE, TWO)))))
    assert "These runs label different samples" in text
    assert "Rand index" not in text
