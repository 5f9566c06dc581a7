import json
from types import SimpleNamespace

import h5py
import numpy as np
import pandas
import pytest

from RISCluster.catalogue.catalogue import Catalogue
from RISCluster.catalogue.export import Export
from RISCluster.catalogue.templates import stack_of, write_templates
from RISCluster.data.layouts import open_spectrograms
from RISCluster.waveforms.read import import_obspy
from tests.conftest import write_samples

obspy = import_obspy()
RATE, SIZE, ONSET = 100.0, 400, 120
WAVE = np.exp(-np.arange(60) / 15) * np.sin(2 * np.pi * np.arange(60) / 10)


def waveforms(places):
    """Decaying oscillations that begin at places, of different amplitudes, in weak noise."""
    rng = np.random.default_rng(1)
    x = 0.02 * rng.normal(size=(len(places), SIZE))
    for row, place in zip(x, places.tolist(), strict=True):
        row[place : place + 60] += WAVE
    return x * rng.uniform(1, 1000, (len(places), 1))


def similarity(stack, place):
    """Correlation of the first component of a stack with the wave at a place."""
    stack = np.atleast_2d(stack)[0]
    known = np.zeros(SIZE)
    known[place : place + 60] = WAVE
    return float(stack @ known / np.linalg.norm(stack) / np.linalg.norm(known))


def test_alignment_by_onsets_and_by_correlation():
    rng = np.random.default_rng(0)
    places = ONSET + rng.integers(-30, 31, 40)
    stack, at, correlation = stack_of(waveforms(places), places.astype(float), "onset")
    assert at == pytest.approx(np.median(places))
    assert similarity(stack, round(at)) > 0.99
    assert 0.9 < correlation <= 1
    inaccurate = places + rng.integers(-6, 7, 40).astype(float)
    inaccurate[3], inaccurate[4] = np.nan, 1e9  # unknown, and of another clock
    stack, _, correlation = stack_of(waveforms(places), inaccurate, "correlation")
    assert max(similarity(stack, place) for place in range(ONSET - 10, ONSET + 11)) > 0.97
    assert correlation > 0.9
    assert np.isnan(stack_of(waveforms(places), np.full(40, np.nan), "correlation")[1])
    both = np.stack([waveforms(places), np.roll(waveforms(places), 25, axis=1)], 1)
    stack, _, _ = stack_of(both, inaccurate, "correlation")  # shifted together
    best = [max(range(ONSET - 10, ONSET + 40), key=lambda at: similarity(x, at)) for x in stack]
    assert best[1] - best[0] == 25
    assert not stack_of(np.zeros((1, SIZE)), np.full(1, np.nan), "correlation")[0].any()


@pytest.fixture
def export(tmp_path):
    """12 events at two stations, the second 0.5 s later: even ones of cluster 0, odd ones of 2."""
    n, event = 24, np.arange(24) // 2
    onset = np.datetime64("2020-01-01", "us") + 60_000_000 * event + 500_000 * (np.arange(n) % 2)
    label = np.where(event % 2, 2, 0).astype("i2")
    label[0] = -1
    x = 1.0 + np.arange(n)[:, None, None] + np.zeros((n, 16, 20))
    path = write_samples(tmp_path / "x.h5", x, trace=waveforms(np.full(n, ONSET)))
    with h5py.File(path, "a") as file:
        file["trace"].attrs["sampling_rate"] = RATE
    ids = np.array(["XH.DR01..HHZ", "a fibre's channel 7"])[np.arange(n) % 2]
    table = pandas.DataFrame({
        "label": label, "probability": np.float32(0.9), "event_id": event, "onset": onset,
        "starttime": onset - np.timedelta64(1_200_000, "us"), "trace_id": pandas.Categorical(ids),
    })  # fmt: skip
    catalogue = Catalogue(SimpleNamespace(table=table, n_clusters=3))
    with open_spectrograms(path) as file:
        yield Export("run", "DEC", catalogue, {2: "slip"}, [], np.ones(n, bool), file)


@pytest.mark.parametrize(("names", "stored", "last"), [
    (["Z", "N"], {"XH.DR01..HHZ": ["XH.DR01..HHZ", "XH.DR01..HH1"]}, "XH.DR01..HH1"),
    (["Z", "N"], ["damaged"], "XH.DR01..HHN"), (["DR01", "DR02"], {}, "XH.DR02..HHZ"),
])  # fmt: skip
def test_components_have_their_own_ids(export, tmp_path, names, stored, last):
    file, one = export.file, export.file.traces
    file.components, file.attributes = names, {"component_ids": json.dumps(stored)}
    file.traces = lambda index: (np.stack([one(index)[0]] * 2, 1), *one(index)[1:])
    file.read_blocks = lambda index: [(index, np.ones((len(index), 2, 16, 20)))]
    assert write_templates(export, tmp_path / "out") == 4
    table = pandas.read_csv(tmp_path / "out/templates.csv")
    found = sorted(x.id for x in obspy.read(tmp_path / "out/cluster_2.mseed"))
    assert sorted(table["seed_id"][table["label"] == 2]) == found
    assert {*found[2:]} == {"XH.DR01..HHZ", last}


def test_files_of_templates(export, tmp_path):
    out = tmp_path / "templates"
    out.mkdir()
    (out / "cluster_9.mseed").touch()  # of an earlier export
    assert write_templates(export, out) == 4
    names = ["cluster_0.mseed", "cluster_2.mseed", "spectra.csv", "templates.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    table = pandas.read_csv(out / "templates.csv")
    assert table["name"].fillna("").tolist() == ["", "", "slip", "slip"]
    assert table["samples"].tolist() == [5, 6, 6, 6]  # one is unusable
    assert table["moveout"].tolist() == [0, 0.5, 0, 0.5]
    assert table["onset"].tolist() == [1.2] * 4
    assert table["seed_id"].tolist() == ["XH.DR01..HHZ", ".T1.."] * 2
    first, second = obspy.read(out / "cluster_2.mseed").sort(["network"], reverse=True)
    assert (first.id, second.id, first.stats.sampling_rate) == ("XH.DR01..HHZ", ".T1..", RATE)
    assert second.stats.starttime - first.stats.starttime == 0.5
    assert first.stats.starttime + 1.2 == obspy.UTCDateTime(2000, 1, 1)
    assert similarity(first.data, ONSET) > 0.99
    spectra, label = pandas.read_csv(out / "spectra.csv"), export.catalogue.labels
    for k in (0, 2):
        assert np.allclose(spectra[f"cluster_{k}"], 1 + np.flatnonzero(label == k).mean())
