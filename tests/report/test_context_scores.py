import pytest

from RISCluster.report.figures import Results
from RISCluster.runs.run import open_run
from tests import made
from tests.report.html import MAKE, Section

BEFORE, AFTER = [0, 0, 0, 1, 1, 2, -1], [0, 0, 1, 1, 1, 2, -1]
LABELS, TRUTH = [0, 0, 0, 1, 1, -1], [1, 1, 0, 0, 0, 0]


def names(axes, which):
    return [label.get_text() for label in getattr(axes, f"get_{which}ticklabels")()]


# ---- refinement ----


def test_refinement_by_label():
    gmm = made.stage("GMM", BEFORE, [1, 0.4, 0.9, 0.9, 0.9, 0.9, 0])
    dec = made.stage(
        "DEC", AFTER, refined=True, neighbour_agreement=0.8, neighbour_agreement_of_gmm=0.81
    )
    found = Section("comparison", made.run(gmm, dec))
    tiles = found.tiles()
    assert tiles["labels changed"] == "16.7%"
    assert tiles["confident labels"] == "83.3% to 100.0%"
    assert tiles["doubtful labels"] == "16.7% to 0.0%"
    assert "0.810 by the mixture, 0.800 as refined" in found.text
    assert found.notes == []
    assert found.table("Probability")[1][-2:] == ["0.833", "0.167"]
    assert found.table("Changes of each cluster")[1] == ["0", "3", "0", "2", "0.333", "1 to 1"]
    assert found.context["changes"]["clusters"] == [0, 1, 2]
    axes = found.figures["report_label_changes"]().axes[0]
    assert [text.get_text() for text in axes.texts] == ["2", "1", "2", "1"]
    assert axes.get_title() == "16.7% of 6 samples moved"


def test_refinement_with_another_number_of_clusters():
    gmm, dec = made.stage("GMM", [0, 0, 1, 2]), made.stage("DEC", [1, 1, 0, 0])
    dec.metrics["label_change_from_gmm"] = 0.125
    found = Section("comparison", made.run(gmm, dec))
    assert "selected 3 clusters, and refinement started from a mixture of 2" in found.notes[0]
    assert "refinement changed 12.5%" in found.notes[0]
    axes = found.figures["report_label_changes"]().axes[0]
    assert names(axes, "y") == ["1", "2", "0"]  # the order of the columns that they match
    assert found.context["changes"]["clusters"] == [1, 0, None]


def test_refinement_that_was_not_kept_or_is_missing():
    same = [made.stage("GMM", BEFORE), made.stage("DEC", BEFORE, refined=False)]
    found = Section("comparison", made.run(*same))
    assert "separated neighbours" in found.notes[0]
    assert not found.figures
    assert len(found.tables) == 2
    one = Section("comparison", made.run(made.stage("GMM", BEFORE)))
    assert one.text == "There is no complete DEC stage to compare GMM with."
    assert MAKE["comparison"](Results(made.run(made.stage("AEC", BEFORE)))) is None
    unusable = [made.stage(name, [-1, -1], n_clusters=2) for name in ("GMM", "DEC")]
    found = Section("comparison", made.run(*unusable))
    assert found.tiles()["labels changed"] == "none"
    assert len(found.tables) == 1


def test_names_in_figures(run_folder):
    with open_run(run_folder) as run:
        size = run.final.sizes[0]
        (run_folder / "names.csv").write_text(f"stage,label,size,name\nDEC,0,{size},tremor\n")
        picture = Section("truth", run).figures["report_confusion_dec"]
        assert "0 tremor" in names(picture().axes[0], "y")


# ---- known classes ----


def test_scores_against_known_classes():
    stages = [made.stage("GMM", [0, 1, 0, 1, 1, -1]), made.stage("DEC", LABELS)]
    found = Section("truth", made.run(*stages, truth=TRUTH, class_names=["quake", "noise"]))
    assert "5 samples have a class and a label, 1 lack one of them." in found.text
    assert found.tiles()["accuracy"] == "0.800"
    assert found.notes == []
    scores = found.table("Scores")[1:]
    assert [row[0] for row in scores] == ["mixture (GMM)", "refined (DEC)"]
    assert [row[2] for row in scores] == ["0.6000", "0.8000"]
    assert found.table("Each class")[1:] == [
        ["quake", "3", "1", "0.667", "1.00"], ["noise", "2", "0", "1.00", "0.667"]
    ]  # fmt: skip
    assert list(found.figures) == [
        "report_confusion_gmm", "report_confusion_dec", "report_reliability"
    ]  # fmt: skip
    axes = found.figures["report_confusion_dec"]().axes[0]
    assert (names(axes, "x"), names(axes, "y")) == (["quake", "noise"], ["1", "0"])
    assert [text.get_text() for text in axes.texts] == ["2", "1", "2"]
    legend = found.figures["report_reliability"]().axes[0].get_legend()
    assert len(legend.get_texts()) == 3


def test_probabilities_that_are_too_high_and_labels_that_are_the_same():
    dec = made.stage("DEC", LABELS, refined=False)
    found = Section("truth", made.run(made.stage("GMM", LABELS), dec, truth=TRUTH))
    assert "error of the final labels: 0.200" in found.text  # all are 1, and 4 of 5 are right
    assert "0.20 too high on average" in found.text
    assert "are the same" in found.text
    assert list(found.figures) == ["report_confusion_dec", "report_reliability"]


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0, 1, 2, 0, 1, 2], "3 clusters and 2 classes: a cluster without a class"),
        ([0] * 6, "1 clusters and 2 classes: a class without a cluster"),
    ],
)
def test_other_numbers_of_clusters_than_classes(labels, text):
    found = Section("truth", made.run(made.stage("GMM", labels), truth=TRUTH))
    assert text in found.notes[0]
    for draw in found.figures.values():
        draw()


def test_nothing_to_score():
    stage = made.stage("GMM", LABELS)
    assert MAKE["truth"](Results(made.run(stage))) is None
    assert MAKE["truth"](Results(made.run(stage, truth=[-1] * 6))) is None
    assert MAKE["truth"](Results(made.run(made.stage("AEC", LABELS), truth=TRUTH))) is None
    apart = Section("truth", made.run(stage, truth=[-1, -1, -1, -1, -1, 3]))
    assert apart.text == "No sample has both a label and a known class."


# ---- clusters and samples ----


def test_clusters(made_run):
    with open_run(made_run) as run:
        found = Section("clusters", run)
        assert "Deep embedded clustering (DEC) sorted 95 samples into 3 clusters" in found.text
        assert [table["title"] for table in found.tables] == [
            "DEC: clusters", "GMM and DEC side by side", "GMM: clusters"
        ]  # fmt: skip
        assert list(found.figures)[-1] == "DEC_embedding"
        marked = [figure.get("data-c") for figure in found.of("figure")]
        assert marked == ["0", "1", "2", None, None, None, None, None]
    with open_run(made_run, ["data.file=nowhere.h5"]) as run:
        found = Section("clusters", run)
        assert "Without the data there are no figures of samples" in found.notes[0]
        assert "report_means" not in found.figures


def test_samples_and_onsets_where_they_are_known(made_run):
    with open_run(made_run) as run:
        found = Section("samples", run)
        assert "report_outlying" in found.figures
        for table in found.tables:
            header, *rows = table["rows"]
            assert header[2:5] == ["Start time (UTC)", "Onset (UTC)", "Trace"]
            for row in rows:
                assert row[3] == (f"{row[2]}.250" if int(row[1]) < 93 else "–")
        assert found.table("Outlying")[0][-1] == "Training samples less likely"
        run.final.__dict__["table"] = run.final.table.drop(columns=["onset", "trace_id"])
        for table in Section("samples", run).tables:
            assert table["rows"][0][2:4] == ["Start time (UTC)", "Trace"]
            assert table["rows"][1][3] == "–"
