"""The first screen, the cards, samples to look at, and the data of the script."""

import base64
import io

import h5py
import numpy as np
import pytest
from PIL import Image

from RISCluster.report import overview, samples
from RISCluster.report.figures import Results
from RISCluster.report.overview import chosen_samples
from RISCluster.runs.run import open_run
from tests.report.html import Section
from tests.report.test_sections import change_metrics


def test_three_sentences(run_folder):
    change_metrics(run_folder, "DEC", accuracy=0.98765, event_agreement=0.5)
    with open_run(run_folder) as run:
        texts, sizes = Section("overview", run).context["sentences"], run.final.sizes
    assert len(texts) == 3
    assert texts[0].startswith(
        "Deep embedded clustering sorted 95 samples of 4 stations from 2016-01-01 00:00 UTC on, "
    )
    assert f"into 3 clusters, from {sizes.min()} (cluster " in texts[0]
    assert texts[0].endswith("; 1 unusable sample without a label.")
    assert texts[1].startswith("K = ")
    assert "; within 1 of it: " in texts[1]
    assert "agreement within events 0.50; accuracy 0.99" in texts[2]


def test_warnings(run_folder, monkeypatch):
    change_metrics(run_folder, "AEC", dead_features=[0, 2])
    change_metrics(run_folder, "DEC", refined=False)
    monkeypatch.setattr(overview, "SMALL", 200)
    monkeypatch.setattr(overview, "UNCERTAIN", -1)
    with open_run(run_folder) as run:
        notes = " ".join(Section("overview", run).notes)
        run.final.table["trace_id"] = "XH.DR00..HHZ"
        run.final.table.loc[run.final.labels == 0, "trace_id"] = "XH.DR01..HHZ"
        run.final.table["trace_id"] = run.final.table["trace_id"].astype("category")
        monkeypatch.setattr(overview, "SMALL", 5)
        monkeypatch.setattr(overview, "ONE_STATION", 0)
        assert (
            "100.0% of cluster 0 are from station XH.DR01 alone." in Section("overview", run).notes
        )
    for text in (
        "Few samples: 95 for 3 clusters.", "Refinement separated neighbours",
        "Fewer than 200 samples are in cluster 0, 1, 2.", "2 dead latent features",
        "of the labels have a probability below 0.5.",
    ):  # fmt: skip
        assert text in notes


def test_what_is_missing_is_noted(run_folder):
    (run_folder / "DEC").rename(run_folder / "away")
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        found = Section("overview", run)
        assert found.notes[0].startswith("Outputs") or "there is no DEC stage" in found.notes[0]
        assert any("nowhere.h5" in text for text in found.notes)
        cards = Section("clusters", run)
        assert "Without the data there are no spectrograms" in cards.notes[0]
    (run_folder / "GMM").rename(run_folder / "away2")
    with open_run(run_folder) as run:
        assert "No sample is labelled yet" in Section("overview", run).text


def test_paths_of_notes_are_as_they_are(run_folder):
    with open_run(run_folder) as run:
        run.notes.append("out/names.csv: line 2: 'x' is no cluster.")
        assert "out/names.csv: line 2: 'x' is no cluster." in Section("overview", run).notes


def test_cards_have_all_facts(run_folder):
    with h5py.File(data_of(run_folder)) as file:
        x, frequency = file["spectrogram"][:], file["frequency"][:]
    with open_run(run_folder) as run:
        found, labels = Section("clusters", run), run.final.labels
        mine = x[labels == 0].reshape((labels == 0).sum(), -1)
        peak, where = np.median(mine.max(1)), np.median(frequency[mine.argmax(1) // 20])
        facts = dict(found.context["cards"][0]["facts"])
        assert float(facts["Peak amplitude"].split()[0]) == pytest.approx(peak, rel=0.01)
        assert facts["Peak frequency"].startswith(f"{where:.3g}"[:3])
        assert facts["Stations"].startswith("4 of 4, most at XH.DR")
        assert facts["Stations"].count("XH.DR") == 3
        assert facts["Nearest clusters"].count("(") == 2
        assert "In brackets after peak frequency" in found.text
        assert "from 20 to 6 h UTC" in facts["Hour of day"]
        assert len([a for a in found.of("button") if a["class"] == "sample"]) == 18


def data_of(run_folder):
    with open_run(run_folder) as run:
        return run.file.path


def test_events_and_samples_to_look_at(run_folder):
    with open_run(run_folder) as run:
        run.final.table["event_id"] = np.arange(96) // 4
        found = Section("overview", run)
        assert "in 24 events" in found.text
        facts = dict(Section("clusters", run).context["cards"][0]["facts"])
        n = (run.final.table.groupby("event_id")["label"].agg(lambda x: x.mode()[0]) == 0).sum()
        assert facts["Events"] == f"{n}, at 4 stations (median; quartiles 4 to 4)"
        run.final.table.loc[:, "label"] = np.where(np.arange(96) % 4 == 3, 1, 0).astype("i2")
        chosen = dict(chosen_samples(Results(run)))
        assert len(chosen) <= 20
        assert list(chosen.values()).count("3 of 4 records of its event are in 0") >= 6


def test_data_of_the_script(run_folder, monkeypatch):
    with open_run(run_folder) as run:
        results = Results(run)
        overview.cards_section(results)
        data, n = results.data, 95
        kind, text = data["columns"]["label"]
        assert kind == "Int16Array"
        labels = np.frombuffer(base64.b64decode(text), "i2")
        assert labels.tolist() == run.final.labels[run.final.labels >= 0].tolist()
        sheet = Image.open(io.BytesIO(base64.b64decode(data["tile"]["source"].split(",")[1])))
        rows = sheet.size[1] // data["tile"]["height"]
        assert rows * data["tile"]["columns"] >= n
        assert sheet.size[0] == data["tile"]["columns"] * data["tile"]["width"]
        assert np.shape(data["clusters"][0]["spectrum"]) == (3, 16)
        monkeypatch.setattr(samples, "POINTS", 30)
        few = Results(run)
        overview.cards_section(few)
        drawn = {sample for sample, _ in few.look}
        assert drawn < set(few.measured.index.tolist())
        assert 30 <= len(few.measured.index) < n


def test_waveforms(tmp_path, run_folder):
    with open_run(run_folder) as run:
        assert samples.waveforms_of(run.file) is None
    path = data_of(run_folder)
    other = tmp_path / "with.h5"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "a") as file:
        file["trace"] = np.random.default_rng(0).normal(size=(96, 200)).astype("f4")
        file["trace"].attrs.update(sampling_rate=100.0, units="m/s")
    with open_run(run_folder, [f"data.file={other}"]) as run:
        results = Results(run)
        overview.cards_section(results)
        trace = results.data["trace"]
        assert (trace["rate"], trace["unit"], trace["length"]) == (100, "m/s", 200)
        assert trace["faster"] == round(1500 / 8.5)
        values = np.frombuffer(base64.b64decode(trace["values"]), "i1").reshape(-1, 200)
        assert len(values) == len(trace["rows"]) == len(trace["peaks"])
        assert np.abs(values.astype(int)).max(1).tolist() == [127] * len(values)
