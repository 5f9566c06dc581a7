"""The notebooks of the documentation, run with small settings on small inputs."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.fibre.fibre import record
from tests.waveforms.waves import NOON, noise, with_events, write

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
def _in_a_folder(here):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


def test_aftershocks(tmp_path):
    pytest.importorskip("obspy")
    for station, delay in (("CHI", 0), ("PRA", 3)):
        data = with_events(noise(900, 50, seed=delay), 50, np.arange(60, 860, 40) + delay)
        write(Path(f"{station}.mseed"), (f"CM.{station}.00.HHZ", NOON, 50, data))
    known = run_cells("aftershocks", WAVEFORMS="*.mseed", INVENTORY="none", SETTINGS=SMALL)
    assert 18 <= len(known["both"]) <= 20
    assert known["rate"].to_numpy().sum() >= 38
    assert (tmp_path / "Outputs/mesetas/DEC/labels.csv").exists()


def test_fibre():
    rng, rate = np.random.default_rng(0), 500
    x = rng.normal(size=(3 * rate, 16))
    time = np.arange(len(x)) / rate
    x[:, 8:] += 5 * np.sin(2 * np.pi * 60 * time)[:, None]  # a source near the end
    record(Path("record.h5"), x.astype("f4"))
    reading = "records.order=time,channel records.window=0.1 records.step=0.02"
    reading += " records.sampling_rate=500 records.channel_spacing=2"
    known = run_cells("fibre", RECORDS="record.h5", READING=reading, SETTINGS=SMALL)
    label = known["label"]
    assert label.shape[1] == 16
    left, right = (np.bincount(part[part >= 0]).argmax() for part in (label[:, :6], label[:, 10:]))
    assert left != right
    assert known["section"].shape[1] == len(known["frequency"])
