"""Values and texts of the sections, and the data of the script."""

import base64
import io
import re
from dataclasses import replace

import h5py
import numpy as np
import pandas
import pytest
from PIL import Image

from RISCluster.clustering.selection import contradictions, read_rows
from RISCluster.plots import results
from RISCluster.plots.results import Results
from RISCluster.report import samples, sections
from RISCluster.runs.run import open_run
from tests import made
from tests.report.html import Section


@pytest.fixture
def opened(made_run):
    with open_run(made_run) as run:
        yield run


def with_table(run, table, k=3):
    """The run with other labels."""
    sizes = np.bincount(table["label"][table["label"] >= 0], minlength=k).tolist()
    metrics = run.final.metrics | {"n_clusters": k, "cluster_sizes": sizes}
    stage = replace(run.final, metrics=metrics)
    stage.__dict__["table"] = table
    return replace(run, stages={**run.stages, stage.name: stage})


def test_three_sentences_and_warnings(opened, monkeypatch):
    opened.final.metrics.update(accuracy=0.98765, event_agreement=0.5)
    opened.notes.append("out/names.csv: line 2: 'x' is no cluster.")
    found, sizes = Section("overview", opened), opened.final.sizes
    for text in (
        "Deep embedded clustering sorted 95 samples of 4 stations from 2016-01-01 00:00:00 to ",
        f" UTC into 3 clusters, from {sizes.min()} (cluster ", "K = ",
        "; 1 unusable sample without a label.", " of the labels have a probability of 0.9 or more,",
        "; other criteria would select: AIC ", "agreement within events 0.50; accuracy 0.99; NMI",
    ):  # fmt: skip
        assert text in found.text
    assert len([a for a in found.of("p") if a["class"] == "lead"]) == 3
    assert found.notes[0] == opened.notes[0]
    assert "Few samples: 95 for 3 clusters." in found.notes
    opened.final.metrics["refined"] = False
    ids = np.where(opened.final.labels == 0, "XH.DR01..HHZ", "XH.DR00..HHZ")
    opened.final.table["trace_id"] = pandas.Categorical(ids)
    monkeypatch.setattr(sections, "ONE_STATION", 0)
    notes = Section("overview", opened).notes
    assert "Refinement was rejected: it separated neighbours" in " ".join(notes)
    assert "100.0% of cluster 0 are from station XH.DR01 alone." in notes


def test_cards_have_all_facts(opened):
    with h5py.File(opened.file.path) as file:
        x, frequency = file["spectrogram"][:], file["frequency"][:]
    table = opened.final.table
    table["event_id"] = np.arange(96) // 4
    found, mine = Section("clusters", opened), x[table["label"] == 0].reshape(-1, x[0].size)
    peak, where = np.median(mine.max(1)), np.median(frequency[mine.argmax(1) // 20])
    facts = found.facts[0]
    assert float(facts["Peak amplitude"].split()[0]) == pytest.approx(peak, rel=0.01)
    assert facts["Peak frequency"].startswith(f"{where:.3g}"[:3])
    assert facts["Stations"].startswith("4 of 4, most at XH.DR")
    assert facts["Stations"].count("XH.DR") == 3
    assert facts["Nearest clusters"].count("(") == 2
    assert "night (20 to 6 h UTC)" in facts["Hour of day"]
    n = (table.groupby("event_id")["label"].agg(lambda x: x.mode()[0]) == 0).sum()
    assert facts["Events"] == f"{n}, at 4 stations (median; quartiles 4 to 4)"
    assert "in 24 events" in Section("overview", opened).text


def test_samples_to_look_at(opened):
    opened.final.table["event_id"] = np.arange(96) // 4
    opened.final.table.loc[:, "label"] = np.where(np.arange(96) % 4 == 3, 1, 0).astype("i2")
    chosen = dict(sections.samples_to_look_at(Results(opened)))
    assert len(chosen) == sections.MOST
    assert list(chosen.values()).count("3 of 4 records of its event are in 0") >= 6
    assert any(re.search(r"less likely than (99|100)\.\d%", why) for why in chosen.values())


def test_data_of_the_script(made_run, with_traces, monkeypatch):
    with open_run(made_run, [f"data.file={with_traces}"]) as run:
        found = Results(run)
        sections.cards(found)
        monkeypatch.setattr(samples, "POINTS", 30)
        few = Results(run)
        few.chosen = tuple(range(50, 80))
        sections.cards(few)
        shown = np.frombuffer(base64.b64decode(few.data["columns"]["index"][1]), "u4").tolist()
        assert {*few.chosen, *(sample for sample, _ in few.look)} < set(shown)
        assert 30 <= len(shown) < 95
        labels = run.final.labels[run.final.labels >= 0].tolist()
    data = found.data
    kind, text = data["columns"]["label"]
    assert (kind, data["columns"]["index"][0]) == ("Int16Array", "Uint32Array")
    assert np.frombuffer(base64.b64decode(text), "i2").tolist() == labels
    sheet = Image.open(io.BytesIO(base64.b64decode(data["tile"]["source"].split(",")[1])))
    assert sheet.size[1] // data["tile"]["height"] * data["tile"]["columns"] >= 95
    assert np.shape(data["clusters"][0]["spectrum"]) == (3, 16)
    trace = data["trace"]
    assert (trace["rate"], trace["unit"], trace["length"]) == (100, "m/s", 200)
    assert trace["faster"] == round(1500 / 8.5)
    values = np.frombuffer(base64.b64decode(trace["values"]), "i1").reshape(-1, 200)
    assert len(values) == len(trace["rows"]) == len(trace["peaks"])
    assert np.abs(values.astype(int)).max(1).tolist() == [127] * len(values)


def test_stations_and_their_map(made_run, tmp_path):
    (tmp_path / "st.csv").write_text(
        "net,sta,lat,lon\nXH,DR00,-80,179\nXH,DR01,-80.5,-179\nXH,DR02,-81,178\nXH,Q,99,0\n"
    )
    with open_run(made_run, [f"report.stations={tmp_path / 'st.csv'}"]) as run:
        found = Section("stations", run)
        assert list(found.figures) == ["report_station_map"]
        stations = found.table("each station")
        assert found.context["title"] == "Stations"
        assert stations[0] == ["station", "all", "0", "1", "2"]
        assert [row[0] for row in stations[1:]] == [f"XH.DR0{i}" for i in range(4)]
        counts = np.array(stations[1:])[:, 1:].astype(int)
        assert counts.sum(0).tolist() == [95, *run.final.sizes]
        assert "st.csv: 1 station left out, the first in line 5" in found.notes[0]
        assert found.notes[1].startswith("1 of 4 have no coordinates")
        assert found.notes[1].endswith("the first is XH.DR03.")


def test_times_and_seasons(made_run, opened, monkeypatch):
    found, label = Section("time", opened), opened.final.labels
    assert list(found.figures) == ["report_occurrence", "report_profiles"]
    seasons = found.table("season")
    assert seasons[0] == ["cluster", "all", "Dec-Feb", "Mar-May", "Jun-Aug", "Sep-Nov"]
    winter = ((np.arange(96) % 12 < 2) | (np.arange(96) % 12 == 11)) & (label == 0)
    assert seasons[1][2] == str(winter.sum())
    monkeypatch.setattr(results, "LARGEST", 2)
    monkeypatch.setattr(sections, "STATION_ROWS", 5)
    day, label = np.divmod(np.arange(1600), 4)  # each cluster once a day
    ids = pandas.Categorical([f"XH.S{i % 9}..HHZ" for i in range(1600)])
    days = np.datetime64("2016-01-01T06", "us") + day * np.timedelta64(1, "D")
    table = {"label": label.astype("i2"), "probability": 1.0, "starttime": days, "trace_id": ids}
    large = with_table(opened, pandas.DataFrame(table), k=4)
    found, stations = Section("time", large), Section("stations", large)
    years = found.table("season")
    assert years[0][-2:] == ["2016", "2017"]
    assert [int(row[-2]) + int(row[-1]) for row in years[1:]] == large.final.sizes.tolist()
    assert "The 2 largest of 4 clusters are drawn." in found.text
    assert len(stations.table("each station")) == 1 + 5
    assert "The 5 stations with most samples, of 9." in stations.text
    with open_run(made_run, ["report.seasons=12-2"]) as run:
        row = Section("time", run).table("season")[1]
    assert int(row[2]) + int(row[3]) == int(row[1])  # other months


def test_span_moments_environment_and_axis(made_run, tmp_path):
    path = tmp_path / "env.csv"
    path.write_text("time,swell,remark\n2016-03-05,1,x\n2016-03-25,3,x\n2016-05-01,5,x\n")
    words = (
        "report.span=2016-03-01/2016-06-01", "report.interval=month", "report.log_axis=yes",
        "report.moments=2016-04-10T12:00 big storm, 2017-01-01", f"report.environment={path}",
    )  # fmt: skip
    with open_run(made_run, words) as run:
        found, table = Section("time", run), run.final.table
    assert "Samples from 2016-03-01 00:00:00 to 2016-06-01 00:00:00 UTC" in found.text
    assert f"{path}: Column 'remark' holds no number and is left out." in found.notes
    axes, *_, below = found.figures["report_occurrence"].axes
    np.testing.assert_array_equal(below.lines[0].get_ydata(), [2, np.nan, 5, np.nan])
    assert axes.get_yscale() == "symlog"
    inside = table["starttime"].between("2016-03-01", "2016-06-30") & (table["label"] == 0)
    assert np.nansum(axes.patches[0].get_data().values) == inside.sum()
    assert "big storm" in [text.get_text() for text in axes.texts]
    assert len(axes.lines) == 1
    assert found.context["recording"].tolist() == [3, 4, 4, 4]  # DR03 begins in April


def test_missing_times_traces_or_both(opened):
    table = opened.final.table
    timeless = with_table(opened, table.drop(columns="starttime"))
    assert Section("time", timeless).notes == ["The data have no start times."]
    nowhere = with_table(opened, table.drop(columns="trace_id"))
    assert not Section("stations", nowhere).text
    assert list(Section("time", nowhere).figures) == ["report_occurrence", "report_profiles"]
    times = table["starttime"].copy()
    times[[7, 8]] = np.datetime64("NaT")
    times[11] = np.datetime64("1970-01-01T00:00:07")
    found = Section("time", with_table(opened, table.assign(starttime=times)))
    assert "2 samples without a start time left out." in found.notes
    first = "probably by a wrong clock: the first is sample 11, 1970-01-01 00:00:07 UTC."
    assert f"1 sample years away from all others left out, {first}" in found.notes


BEFORE, AFTER = [0, 0, 0, 1, 1, 2, -1], [0, 0, 1, 1, 1, 2, -1]
LABELS, TRUTH = [0, 0, 0, 1, 1, -1], [1, 1, 0, 0, 0, 0]


def test_refinement():
    gmm = made.stage("GMM", BEFORE, [1, 0.4, 0.9, 0.9, 0.9, 0.9, 0])
    text = Section("comparison", made.run(gmm, made.stage("DEC", AFTER, refined=True))).text
    assert ("16.7%" in text, "83.3% to 100.0%" in text) == (True, True)
    found = Section("comparison", made.run(gmm, made.stage("DEC", BEFORE, refined=False)))
    assert "separated neighbours" in found.notes[0]
    assert not Section("comparison", made.run(gmm)).text


def test_scores_against_known_classes():
    stages = [made.stage("GMM", [0, 1, 0, 1, 1, -1]), made.stage("DEC", LABELS)]
    found = Section("truth", made.run(*stages, truth=TRUTH, class_names=["quake", "noise"]))
    assert "5 samples have a class and a label, 1 lack one of them." in found.text
    scores = found.table("Scores")[1:]
    assert [row[:2] for row in scores] == [["GMM", "0.6000"], ["DEC", "0.8000"]]
    axes = found.figures["report_confusion"].axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["quake", "noise"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "0"]
    assert len(found.figures["report_reliability"].axes[0].get_legend().get_texts()) == 3
    assert "error of the final labels: 0.200" in found.text  # all are 1, and 4 of 5 are right
    assert "0.20 too high on average" in found.text
    stage = made.stage("GMM", [0, 1, 2, 0, 1, 2])
    assert "3 clusters and 2 classes" in Section("truth", made.run(stage, truth=TRUTH)).notes[0]
    assert not Section("truth", made.run(stage)).text
    apart = Section("truth", made.run(made.stage("GMM", LABELS), truth=[-1, -1, -1, -1, -1, 3]))
    assert apart.text == "No sample has both a label and a known class."


def test_run_training_and_measures(opened):
    found, n = Section("run", opened), opened.stages["AEC"].metrics
    rows = dict(found.table("Data")[1:])
    assert rows["Samples"] == "96 of 16 x 20 (frequency x time)"
    assert rows["Frequency"] == "1 to 8.5 Hz, step 0.5 Hz"
    assert rows["Time span"].startswith("2016-01-01 00:00:00 to 2016-12-01 23:00:")
    assert rows["Stations"] == "4"
    assert rows["Trained on"] == f"{n['n_train']} samples, validated on {n['n_validation']}"
    changed = {row[0]: tuple(row[1:3]) for row in found.table("differ from the defaults")}
    assert changed["aec.n_features"] == ("3", "9")
    assert "aec.lr" not in changed
    assert [*Section("measures", opened).tables] == ["DEC: clusters", "GMM: clusters"]


VALUES = {
    "bic": [9, 3, 4, 6], "aic": [-2, -3, -4, -5], "silhouette": [0.1] * 4,
    "inertia": [10, 4, 3, 2], "gap": [2, 3, 4, 5], "gap_std": [0.1] * 4,
    "stability": [0.9, 0.96, 0.95, 0.6], "stability_std": [0.05] * 4, "agreement": ["nan"] * 4,
}  # fmt: skip


def choice(folder, values, *stages):
    """The section of a run with these criteria for K of 2 and more."""
    table = pandas.DataFrame(values, index=range(2, 2 + len(values["bic"])))
    table.to_csv(folder / "selection.csv", index_label="n_clusters")
    object.__setattr__(stages[0], "path", folder)
    return Section("choice", made.run(*stages))


def test_choice_of_k(tmp_path):
    gmm, dec = made.stage("GMM", [0, 1, 2]), made.stage("DEC", [0, 1])
    found = choice(tmp_path, VALUES, gmm, dec)
    assert "K = 3 was selected by BIC; half-samples agree by an adjusted Rand index" in found.text
    assert "; other criteria would select: AIC 5, silhouette 2, " in found.text
    assert [row[2] for row in found.table("Choice")[1:]] == ["3", "5", "2", "–", "3", "4"]
    found = choice(tmp_path, VALUES | {"silhouette": [0.1, 0.2, 0.3, 0.4]}, gmm, dec)
    (text,) = contradictions(read_rows(tmp_path / "selection.csv"), 3, "bic")
    assert found.notes[0] == f"{text[0].upper()}{text[1:]}."
    assert "2 clusters (dec.n_clusters), not the 3 selected" in found.notes[1]
    text = choice(tmp_path, {name: [1] for name in VALUES}, made.stage("GMM", [0, 1])).text
    assert text.startswith("One number of clusters was fitted, K = 2.")
    assert not Section("choice", made.run(made.stage("DEC", [0, 1]))).text
