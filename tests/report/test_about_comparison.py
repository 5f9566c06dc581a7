import pytest

from RISCluster.report.about_comparison import section
from RISCluster.report.blocks import Note, Picture, Table, Text, Tiles
from RISCluster.runs.run import open_run
from tests import made

BEFORE, AFTER = [0, 0, 0, 1, 1, 2, -1], [0, 0, 1, 1, 1, 2, -1]


def of(found, kind):
    return [block for block in found.blocks if isinstance(block, kind)]


def test_by_label():
    gmm = made.stage("GMM", BEFORE, [1, 0.4, 0.9, 0.9, 0.9, 0.9, 0])
    dec = made.stage(
        "DEC", AFTER, refined=True, neighbour_agreement=0.8, neighbour_agreement_of_gmm=0.81
    )
    found = section(made.run(gmm, dec))
    tiles = {name: value for name, value, _ in of(found, Tiles)[0].tiles}
    assert tiles["labels changed"] == "16.7%"
    assert tiles["confident labels"] == "83.3% to 100.0%"
    assert tiles["doubtful labels"] == "16.7% to 0.0%"
    assert "0.810 by the mixture, 0.800 as refined" in of(found, Text)[0].text
    assert of(found, Note) == []
    metrics, certainties, clusters = of(found, Table)
    assert "rises under refinement whatever happens" in metrics.note
    assert certainties.rows[0][-2:] == [5 / 6, 1 / 6]
    assert clusters.rows[0] == [0, 3, "0", 2, pytest.approx(1 / 3), "1 to 1"]
    assert clusters.clusters == [0, 1, 2]
    axes = of(found, Picture)[0].draw().axes[0]
    assert [text.get_text() for text in axes.texts] == ["2", "1", "2", "1"]
    assert axes.get_title() == "16.7% of 6 samples moved"


def test_another_number_of_clusters():
    gmm, dec = made.stage("GMM", [0, 0, 1, 2]), made.stage("DEC", [1, 1, 0, 0])
    dec.metrics["label_change_from_gmm"] = 0.125
    found = section(made.run(gmm, dec))
    text = of(found, Note)[0].text
    assert "selected 3 clusters, and refinement started from a mixture of 2" in text
    assert "by the best matching" in text
    assert "refinement changed 12.5%" in text
    picture = of(found, Picture)[0]
    names = [label.get_text() for label in picture.draw().axes[0].get_yticklabels()]
    assert names == ["1", "2", "0"]  # the order of the columns that they match
    assert of(found, Table)[-1].clusters == [1, 0, None]


def test_not_kept_and_nothing_moved():
    same = [made.stage("GMM", BEFORE), made.stage("DEC", BEFORE, refined=False)]
    found = section(made.run(*same))
    assert "parted neighbours" in of(found, Note)[0].text
    assert of(found, Picture) == []
    assert len(of(found, Table)) == 2


def test_what_is_missing():
    one = section(made.run(made.stage("GMM", BEFORE)))
    assert one.blocks == [Text("There is no complete DEC stage to compare GMM with.")]
    aec = made.run(made.stage("AEC", BEFORE))
    assert section(aec) is None
    unusable = [made.stage(name, [-1, -1], n_clusters=2) for name in ("GMM", "DEC")]
    found = section(made.run(*unusable))
    assert of(found, Tiles)[0].tiles[0][1] == "none"
    assert len(of(found, Table)) == 1


def test_of_a_run_with_names(run_folder):
    with open_run(run_folder) as run:
        size = run.final.sizes[0]
        (run_folder / "names.csv").write_text(f"stage,label,size,name\nDEC,0,{size},tremor\n")
        found = section(run)
        for picture in of(found, Picture):
            names = [label.get_text() for label in picture.draw().axes[0].get_xticklabels()]
            assert names[0] == "0 tremor"
    assert found.anchor == "comparison"
