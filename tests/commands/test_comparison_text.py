import numpy as np

from RISCluster.commands.comparison_text import as_lines, as_table
from RISCluster.evaluation.comparison import compare
from tests import made
from tests.evaluation.test_comparison import ONE, TWO, runs


def test_lines():
    lines = as_lines(compare(runs()))
    assert lines[0] == "                 one           two"
    assert lines[1] == "  data  Data/demo.h5  Data/demo.h5"
    assert lines[3] == "Settings that differ"
    learning = next(line for line in lines if "aec.lr" in line).split()
    assert learning == ["aec.lr", "0.001", "0.0003"]
    at = lines.index("Adjusted Rand index between final labels (1: the same clusters, 0: chance)")
    assert [line.split() for line in lines[at + 1 : at + 4]] == [
        ["one", "two"], ["one", "1.000", "0.242"], ["two", "0.242", "1.000"]
    ]  # fmt: skip
    assert "Clusters under the best matching: 66.7% of 6 samples agree" in lines
    assert [line.split() for line in lines[-3:]] == [
        ["0", "1", "2", "66.7%", "100.0%"],
        ["1", "2", "2", "66.7%", "100.0%"],
        ["without", "a", "partner", "in", "two:", "0"],
    ]
    assert len({len(line) for line in lines[at + 1 : at + 4]}) == 1


def test_no_setting_differs():
    alike = [made.run(made.stage("GMM", ONE), folder=name) for name in ("x", "y")]
    assert "No setting that changes results differs." in as_lines(compare(alike))


def test_table():
    header, rows = as_table(compare(runs()))
    assert header == ["kind", "name", "one", "two"]
    assert ["data", "file", "Data/demo.h5", "Data/demo.h5"] in rows
    assert ["setting", "aec.lr", "0.001", "0.0003"] in rows
    assert ["metric", "GMM nmi", "0.5", ""] in rows
    assert ["ari", "one", "1", "0.242424"] in rows
    assert np.shape(rows)[1] == 4


def test_other_data():
    text = "\n".join(as_lines(compare(runs(("a", "b"), (ONE, TWO)))))
    assert "label different samples" in text
    assert "Rand index" not in text


def test_settings_as_in_config_ini():
    third = made.run(
        made.stage("GMM", ONE, words=["gmm.n_clusters=2, 3, 5"]),
        made.stage("DEC", ONE, words=["dec.gamma=0.5"]),
        folder="Outputs/three",
    )
    words = [line.split("  ") for line in as_lines(compare([*runs(), third]))]
    settings = {line[1]: [word.strip() for word in line[2:] if word] for line in words if line[1:]}
    assert settings["gmm.n_clusters"] == ["2-4", "2-4", "2, 3, 5"]
    assert [word for word in settings["dec.gamma"] if word][-2:] == ["2", "0.5"]
