"""The first screen, the cards, samples to look at, and the data of the script."""

import base64
import io
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from RISCluster.report import samples, sections
from RISCluster.report.results import Results
from RISCluster.runs.run import open_run
from tests.report.html import Section


def test_three_sentences(run_folder):
    with open_run(run_folder) as run:
        run.final.metrics.update(accuracy=0.98765, event_agreement=0.5)
        found, sizes = Section("overview", run), run.final.sizes
    for text in (
        "Deep embedded clustering sorted 95 samples of 4 stations from 2016-01-01 00:00:00 to ",
        f" UTC into 3 clusters, from {sizes.min()} (cluster ",
        "K = ", "; other criteria would select: AIC ",
        " of the labels have a probability of 0.9 or more, ",
        "; 1 unusable sample without a label.", "agreement within events 0.50; accuracy 0.99; NMI",
    ):  # fmt: skip
        assert text in found.text
    assert len([a for a in found.of("p") if a["class"] == "lead"]) == 3


def test_warnings(run_folder, monkeypatch):
    with open_run(run_folder) as run:
        run.final.metrics["refined"] = False
        run.notes.append("out/names.csv: line 2: 'x' is no cluster.")
        notes = " ".join(Section("overview", run).notes)
        assert "Few samples: 95 for 3 clusters." in notes
        assert "Refinement separated neighbours" in notes
        run.final.table["trace_id"] = "XH.DR00..HHZ"
        run.final.table.loc[run.final.labels == 0, "trace_id"] = "XH.DR01..HHZ"
        run.final.table["trace_id"] = run.final.table["trace_id"].astype("category")
        monkeypatch.setattr(sections, "ONE_STATION", 0)
        notes = Section("overview", run).notes
        assert "100.0% of cluster 0 are from station XH.DR01 alone." in notes


def test_cards_have_all_facts(run_folder):
    with open_run(run_folder) as run:
        with h5py.File(run.file.path) as file:
            x, frequency = file["spectrogram"][:], file["frequency"][:]
        run.final.table["event_id"] = np.arange(96) // 4
        found, labels = Section("clusters", run), run.final.labels
        mine = x[labels == 0].reshape((labels == 0).sum(), -1)
        peak, where = np.median(mine.max(1)), np.median(frequency[mine.argmax(1) // 20])
        facts = found.facts[0]
        assert float(facts["Peak amplitude"].split()[0]) == pytest.approx(peak, rel=0.01)
        assert facts["Peak frequency"].startswith(f"{where:.3g}"[:3])
        assert facts["Stations"].startswith("4 of 4, most at XH.DR")
        assert facts["Stations"].count("XH.DR") == 3
        assert facts["Nearest clusters"].count("(") == 2
        assert "from 20 to 6 h UTC" in facts["Hour of day"]
        n = (run.final.table.groupby("event_id")["label"].agg(lambda x: x.mode()[0]) == 0).sum()
        assert facts["Events"] == f"{n}, at 4 stations (median; quartiles 4 to 4)"
        assert len([a for a in found.of("button") if a["class"] == "sample"]) == 18
        assert "in 24 events" in Section("overview", run).text


def test_samples_to_look_at(run_folder):
    with open_run(run_folder) as run:
        run.final.table["event_id"] = np.arange(96) // 4
        run.final.table.loc[:, "label"] = np.where(np.arange(96) % 4 == 3, 1, 0).astype("i2")
        chosen = dict(sections.samples_to_look_at(Results(run)))
        assert len(chosen) == sections.MOST
        assert list(chosen.values()).count("3 of 4 records of its event are in 0") >= 6
        assert any("of the training samples are less likely" in why for why in chosen.values())


def test_data_of_the_script(run_folder, monkeypatch):
    with open_run(run_folder) as run:
        results = Results(run)
        sections.cards(results)
        data, n = results.data, 95
        kind, text = data["columns"]["label"]
        assert (kind, data["columns"]["index"][0]) == ("Int16Array", "Uint32Array")
        labels = np.frombuffer(base64.b64decode(text), "i2")
        assert labels.tolist() == run.final.labels[run.final.labels >= 0].tolist()
        assert data["trace"] is None
        sheet = Image.open(io.BytesIO(base64.b64decode(data["tile"]["source"].split(",")[1])))
        rows = sheet.size[1] // data["tile"]["height"]
        assert rows * data["tile"]["columns"] >= n
        assert np.shape(data["clusters"][0]["spectrum"]) == (3, 16)
        monkeypatch.setattr(samples, "POINTS", 30)
        few = Results(run)
        few.chosen = tuple(range(50, 80))
        sections.cards(few)
        assert {*few.chosen, *(sample for sample, _ in few.look)} < set(few.shown.tolist())
        assert 30 <= len(few.shown) < n


def test_waveforms(tmp_path, run_folder):
    with open_run(run_folder) as run:
        other = shutil.copy(run.file.path, tmp_path / "with.h5")
    with h5py.File(other, "a") as file:
        file["trace"] = np.random.default_rng(0).normal(size=(96, 200)).astype("f4")
        file["trace"].attrs.update(sampling_rate=100.0, units="m/s")
    with open_run(run_folder, [f"data.file={other}"]) as run:
        results = Results(run)
        sections.cards(results)
    trace = results.data["trace"]
    assert (trace["rate"], trace["unit"], trace["length"]) == (100, "m/s", 200)
    assert trace["faster"] == round(1500 / 8.5)
    values = np.frombuffer(base64.b64decode(trace["values"]), "i1").reshape(-1, 200)
    assert len(values) == len(trace["rows"]) == len(trace["peaks"])
    assert np.abs(values.astype(int)).max(1).tolist() == [127] * len(values)
