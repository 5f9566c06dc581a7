import numpy as np
import pytest

from RISCluster.runs.names import cluster_title, names_notes, read_names, write_names
from RISCluster.runs.run import open_run


@pytest.fixture
def run(run_folder):
    with open_run(run_folder) as opened:
        yield opened


def table(run, *names, stage="DEC", sep=",", end="\n"):
    sizes = run.final.sizes.tolist()
    rows = [f"{stage}{sep}{k}{sep}{sizes[k]}{sep}{name}" for k, name in enumerate(names)]
    return end.join([sep.join(("stage", "label", "size", "name")), *rows]) + end


def put(run, content):
    path = run.folder / "names.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_written_once(run):
    path = write_names(run)
    assert path.read_text() == table(run, "", "", "")
    assert (read_names(run), names_notes(run)) == ({}, [])
    before = put(run, table(run, "icequake", "", '"<script>$x$"')).read_bytes()
    assert write_names(run) == path
    assert path.read_bytes() == before
    assert read_names(run) == {0: "icequake", 2: "<script>$x$"}
    assert [cluster_title(label, read_names(run)) for label in (0, 1)] == ["0 icequake", "1"]


def test_other_clusters(run):
    old = put(run, table(run, "icequake", "wind")).read_bytes()
    run.final.metrics["cluster_sizes"][1] += 1
    assert read_names(run) == {}
    (note,) = names_notes(run)
    assert "its 2 names are of other clusters and not used: line 3 is of stage DEC, " in note
    write_names(run)
    (aside,) = run.folder.glob("names_20??-??-??.csv")
    assert aside.read_bytes() == old
    assert names_notes(run) == []
    put(run, old)
    write_names(run)
    assert len(list(run.folder.glob("names_*.csv"))) == 2
    put(run, table(run, "icequake", stage="GMM"))
    assert read_names(run) == {}
    assert "not used: line 2 is of stage GMM" in names_notes(run)[0]


def test_rows_in_any_order_and_with_faults(run):
    sizes = run.final.sizes.tolist()
    put(
        run,
        f"Name,comment,LABEL ,size\n wind ,looks odd,2.0,{sizes[2]}\n\n,,,\n"
        f'"ice, quake",,0,"{sizes[0]:,}"\n'
        f"again,,0,{sizes[0]}\nseven,,7,3\nwhat,,x,\nunsized,,1,\n",
    )
    assert read_names(run) == {2: "wind", 0: "ice, quake", 1: "unsized"}
    assert [note.split("names.csv: ")[1] for note in names_notes(run)] == [
        "line 7: '7' is no cluster; allowed: 0 to 2.",
        "line 8: 'x' is no cluster; allowed: 0 to 2.",
        "line 6: cluster 0 is repeated; the first is used.",
        "names without the sizes of their clusters are used, and can be of others.",
    ]


def test_no_table(run):
    path = put(run, b"x" * (2**22 + 1))
    assert "larger than 4 MB" in names_notes(run)[0]
    put(run, b"one,two\n1,2\n")
    assert read_names(run) == {}
    assert "no column label and no column name; it has one, two" in names_notes(run)[0]
    write_names(run)
    assert len(list(path.parent.glob("names_*.csv"))) == 1


def test_corrections(run, run_folder):
    before, sizes = run.final.labels.copy(), run.final.sizes
    put(run, table(run, "icequake", "wind"))
    (run_folder / "corrections.csv").write_text(
        "index,label,mark\n3,2,\n4,wind,sharp\n6,,odd\n999,1,\n7,none,\n3,1,again\n"
    )
    with open_run(run_folder) as corrected:
        labels, stage = corrected.final.labels, corrected.final
        assert labels[[3, 4]].tolist() == [1, 1]
        assert np.delete(labels, [3, 4]).tolist() == np.delete(before, [3, 4]).tolist()
        assert stage.table["probability"][[3, 4]].tolist() == [1, 1]
        assert stage.corrections["mark"].to_dict() == {4: "sharp", 6: "odd", 3: "again"}
        assert stage.sizes.tolist() == np.bincount(labels[labels >= 0]).tolist()
        assert stage.cluster_sizes.tolist() == sizes.tolist()
        assert read_names(corrected) == {0: "icequake", 1: "wind"}
        assert [note.split("csv: ")[1].split(":")[0] for note in corrected.notes] == [
            "line 5", "line 6"
        ]  # fmt: skip
    (run_folder / "corrections.csv").write_text("a,b\n1,2\n")
    with open_run(run_folder) as other:
        assert "no corrections are read: no column index" in other.notes[0]
        assert other.final.labels.tolist() == before.tolist()
