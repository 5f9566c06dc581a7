from RISCluster.__main__ import main
from RISCluster.commands.results import as_lines, as_table
from RISCluster.evaluation.comparison import compare
from tests.evaluation.test_comparison import ONE, TWO, runs


def test_text_and_table_without_the_data(made_run, run_folder, here, capsys):
    assert main(["compare", str(made_run), str(run_folder), "-o", "table.csv"]) == 0
    out = capsys.readouterr().out
    assert "No setting that changes results differs." in out
    assert out.endswith("table: table.csv\n")
    assert (here / "table.csv").read_text().startswith("kind,name,test,run\ndata,file,")


def test_lines():
    found = compare(runs())
    lines = as_lines(found)
    words = [" ".join(line.split()) for line in lines]
    assert lines[0] == "                 one           two"
    assert lines[1] == "  data  Data/demo.h5  Data/demo.h5"
    assert lines[3] == "Settings that differ"
    for line in ("aec.lr 0.001 0.0003", "AEC validation_mse 0.25 0.125 yes", "GMM nmi 0.5 - -"):
        assert line in words
    assert as_table(found).loc["ari", "two"].tolist() == ["0.242424", "1"]
    at = lines.index("Adjusted Rand index between final labels (1: the same clusters, 0: chance)")
    assert words[at + 1 : at + 4] == ["one two", "one 1.000 0.242", "two 0.242 1.000"]
    assert "Clusters under the best matching: 66.7% of 6 samples agree" in lines
    assert words[-3:] == ["0 1 2 66.7%", "1 2 2 66.7%", "without a partner in two: 0"]
    swapped = as_lines(compare(runs(labels=(TWO, ONE))))
    assert ["0", "-", "0", "0.0%"] in [line.split() for line in swapped]
    named = as_lines(compare(runs()), [{1: "quake"}, {0: "noise", 2: "ice"}])
    assert named[-2].split()[:4] == ["1", "quake", "2", "ice"]
    assert named[-1].endswith("in two: 0 noise")
    text = "\n".join(as_lines(compare(runs(("a", "b"), (ONE, TWO)))))
    assert "These runs label different samples" in text
    assert "no: other data.file" in text
    assert "Rand index" not in text
