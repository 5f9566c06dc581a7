import numpy as np
import pytest

from RISCluster.runs.names import cluster_title, names_notes, read_names, write_names
from RISCluster.runs.run import open_run


@pytest.fixture
def run(run_folder):
    with open_run(run_folder) as opened:
        yield opened


def table(run, *names):
    rows = zip(range(3), run.final.sizes.tolist(), names, strict=False)
    return "stage,label,size,name\n" + "".join(f"DEC,{k},{size},{name}\n" for k, size, name in rows)


def test_written_once_and_read(run):
    path = run.folder / "names.csv"
    write_names(run)
    assert path.read_text() == table(run, "", "", "")
    assert (read_names(run), names_notes(run)) == ({}, [])
    path.write_text(content := table(run, "icequake", "", '"<script>$x$, 1"'))
    write_names(run)
    assert path.read_text() == content
    assert read_names(run) == {0: "icequake", 2: "<script>$x$, 1"}
    assert [cluster_title(label, read_names(run)) for label in (0, 1)] == ["0 icequake", "1"]


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        *(("DEC,1,", new, "line 3 is of no cluster of the DEC stage")
          for new in ("GMM,1,", "DEC,0,", "DEC,1,9", "DEC,x,")),
        ("c\n", "c\nDEC\n", "line 5 has 1 cell, and the header 4"),
        ("stage,label", "one,two", "no column stage and no column label"),
    ],
)  # fmt: skip
def test_a_table_of_other_clusters_is_not_used(run, old, new, note):
    (run.folder / "names.csv").write_text(table(run, "a", "b", "c").replace(old, new))
    assert read_names(run) == {}
    assert f"no names are used: {note}" in names_notes(run)[0]


def test_corrections(run):
    before, path, head = run.final.labels.copy(), run.folder / "corrections.csv", "index,label,mark"
    (run.folder / "names.csv").write_text(table(run, "icequake", "wind"))
    path.write_text(f"{head}\n3,2,\n4,wind,sharp\n6,,odd\n3,1,again\n")
    with open_run(run.folder) as corrected:
        labels, stage = corrected.final.labels, corrected.final
        assert labels[[3, 4]].tolist() == [1, 1]
        assert np.delete(labels, [3, 4]).tolist() == np.delete(before, [3, 4]).tolist()
        assert stage.table["probability"][[3, 4]].tolist() == [1, 1]
        assert stage.corrections["mark"].to_dict() == {4: "sharp", 6: "odd", 3: "again"}
        assert stage.sizes.tolist() == np.bincount(labels[labels >= 0]).tolist()
        assert stage.cluster_sizes.tolist() == run.final.sizes.tolist()
        assert read_names(corrected) == {0: "icequake", 1: "wind"}
    for content, note in (
        (f"{head}\n3,2,\n999,1,\n", "line 3: it needs the index of a sample"),
        (f"{head}\n7,none,\n", "line 2: it needs the index of a sample"),
        ("a,b\n1,2\n", "no column index"),
    ):
        path.write_text(content)
        with open_run(run.folder) as other:
            assert f"no corrections are used: {note}" in other.notes[0]
            assert other.final.labels.tolist() == before.tolist()
