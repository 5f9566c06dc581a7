import pytest

from RISCluster.report.about_truth import section
from RISCluster.report.blocks import Note, Picture, Table, Text, Tiles
from RISCluster.runs.run import open_run
from tests import made

LABELS, TRUTH = [0, 0, 0, 1, 1, -1], [1, 1, 0, 0, 0, 0]


def of(found, kind):
    return [block for block in found.blocks if isinstance(block, kind)]


def test_scores_and_pictures():
    stages = [made.stage("GMM", [0, 1, 0, 1, 1, -1]), made.stage("DEC", LABELS)]
    found = section(made.run(*stages, truth=TRUTH, class_names=["quake", "noise"]))
    assert "5 samples have a class and a label, 1 lack one of them." in of(found, Text)[0].text
    tiles = {name: value for name, value, _ in of(found, Tiles)[0].tiles}
    assert tiles["accuracy"] == "0.800"
    assert of(found, Note) == []
    scores, classes = of(found, Table)
    assert [row[0] for row in scores.rows] == ["mixture (GMM)", "refined (DEC)"]
    assert [row[2] for row in scores.rows] == pytest.approx([0.6, 0.8])
    assert classes.rows == [["quake", 3, "1", 2 / 3, 1.0], ["noise", 2, "0", 1.0, 2 / 3]]
    pictures = {picture.name: picture for picture in of(found, Picture)}
    assert list(pictures) == ["report_confusion_gmm", "report_confusion_dec", "report_reliability"]
    axes = pictures["report_confusion_dec"].draw().axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["quake", "noise"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "0"]
    assert [text.get_text() for text in axes.texts] == ["2", "1", "2"]
    assert len(pictures["report_reliability"].draw().axes[0].get_legend().get_texts()) == 3


def test_sure_of_what_is_wrong():
    found = section(made.run(made.stage("GMM", LABELS), truth=TRUTH))
    text = of(found, Text)[1].text  # all probabilities are 1, and 4 of 5 are right
    assert "error of the final labels: 0.200" in text
    assert "0.20 too high on average" in text


def test_kept_mixture_is_shown_once():
    stages = [made.stage("GMM", LABELS), made.stage("DEC", LABELS, refined=False)]
    found = section(made.run(*stages, truth=TRUTH))
    assert "are the same" in of(found, Text)[0].text
    assert [picture.name for picture in of(found, Picture)] == [
        "report_confusion_dec", "report_reliability"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0, 1, 2, 0, 1, 2], "not as many, 3 and 2: each cluster for which no class is left"),
        ([0] * 6, "not as many, 1 and 2: each class for which no cluster is left"),
    ],
)
def test_as_many_clusters_as_there_are(labels, text):
    found = section(made.run(made.stage("GMM", labels), truth=TRUTH))
    assert text in of(found, Note)[0].text
    for picture in of(found, Picture):
        picture.draw()


def test_nothing_to_score():
    stage = made.stage("GMM", LABELS)
    assert section(made.run(stage)) is None
    assert section(made.run(stage, truth=[-1] * 6)) is None
    assert section(made.run(made.stage("AEC", LABELS), truth=TRUTH)) is None
    apart = section(made.run(stage, truth=[-1, -1, -1, -1, -1, 3]))
    assert apart.blocks == [Text("No sample has both a label and a known class.")]


def test_of_a_run(made_run):
    with open_run(made_run) as run:
        found = section(run)
        for picture in of(found, Picture):
            picture.draw()
        scores = of(found, Table)[0]
        assert scores.rows[-1][2] == pytest.approx(run.final.metrics["accuracy"])
        assert scores.rows[-1][3] == pytest.approx(run.final.metrics["nmi"])
        assert scores.rows[-1][4] == pytest.approx(run.final.metrics["ari"])
