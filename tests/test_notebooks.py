"""The notebooks of the documentation, run with small settings on small inputs."""

import json

import h5py
import numpy as np
import pytest

from tests.conftest import ROOT

SMALL = (
    "run.device=cpu run.figures=no aec.n_features=3 aec.n_epochs=1 gmm.n_clusters=2 gmm.n_init=2 "
    "gmm.n_resamples=none dec.n_epochs=1"
)


def run_cells(name, **words):
    """Run all code cells in one namespace, with other values of the variables in capitals."""
    cells, known = json.loads((ROOT / f"docs/{name}.ipynb").read_text())["cells"], {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            exec(compile("".join(cell["source"]), name, "exec"), known)
            known |= {key: value for key, value in words.items() if key in known}
    return known


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


def test_aftershocks(tmp_path):
    obspy = pytest.importorskip("obspy")
    rng, rate, start = np.random.default_rng(0), 50, obspy.UTCDateTime(2019, 12, 24, 19)
    time = np.arange(20 * rate) / rate
    for station, delay in (("CHI", 0), ("PRA", 3)):
        x = rng.normal(size=900 * rate)
        for number, at in enumerate(range(60, 860, 40)):
            wave = 100 * np.exp(-time / 3) * np.sin(2 * np.pi * (3 + 5 * (number % 2)) * time)
            x[(at + delay) * rate :][: len(wave)] += wave
        codes = {"network": "CM", "station": station, "location": "00", "channel": "HHZ"}
        header = codes | {"sampling_rate": rate, "starttime": start}
        obspy.Trace(x.astype("f4"), header).write(f"{station}.mseed", format="MSEED")
    known = run_cells("aftershocks", WAVEFORMS="*.mseed", INVENTORY="none", SETTINGS=SMALL)
    assert 18 <= len(known["both"]) <= 20
    assert known["rate"].to_numpy().sum() >= 38
    assert (tmp_path / "Outputs/mesetas/DEC/labels.csv").exists()


def test_fibre():
    rng, rate = np.random.default_rng(0), 500
    x = rng.normal(size=(3 * rate, 16))
    time = np.arange(len(x)) / rate
    x[:, 8:] += 5 * np.sin(2 * np.pi * 60 * time)[:, None]  # a source near the end
    with h5py.File("record.h5", "w") as file:
        file["data"] = x.astype("f4")
        file.attrs.update(fs=rate, dx_m=2.0)
    reading = "records.order=time,channel records.window=0.1 records.step=0.02"
    reading += " records.sampling_rate=500 records.channel_spacing=2"
    known = run_cells("fibre", RECORDS="record.h5", READING=reading, SETTINGS=SMALL)
    label = known["label"]
    assert label.shape[1] == 16
    left, right = (
        np.bincount(part.ravel()[part.ravel() >= 0]).argmax()
        for part in (label[:, :6], label[:, 10:])
    )
    assert left != right
    assert known["section"].shape[1] == len(known["frequency"])
