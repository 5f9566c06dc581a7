"""Data sets of several components from waveforms."""

import h5py
import numpy as np
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.measures import measure_waveforms
from RISCluster.errors import DataError, SettingsError
from RISCluster.waveforms.process import Wave, process
from RISCluster.waveforms.windows import make_grid, spectrograms
from tests.waveforms.waves import NOON, SECOND, noise, rows, run, settings, with_events, write

RATE = 50.0
ZNE = "build.components=ZNE"


def data(seed, size=20_000.0):
    return with_events(noise(120, RATE, seed), RATE, (30, 60, 90), size)


@pytest.fixture
def folder(tmp_path):
    """AA, whose E has a gap about the second event and begins 4 s later; BB with 1 and 2 in place
    of N and E; CC without E."""
    place = tmp_path / "in"
    place.mkdir()
    a, e = "XX.AA..HH", data(2, 3000)
    late, gap = slice(200, 2800), slice(3300, None)
    write(place / "1.mseed", (a + "Z", NOON, RATE, data(0)))
    write(place / "2.mseed", (a + "N", NOON, RATE, data(1, 0)))
    write(place / "3.mseed", *(
        (a + "E", NOON + int(part.start / RATE * SECOND), RATE, e[part]) for part in (late, gap)
    ))  # fmt: skip
    both = [(f"XX.BB..HH{name}", NOON, RATE, data(seed)) for seed, name in enumerate("Z12", 3)]
    write(place / "4.mseed", *both)
    write(place / "5.mseed", *((f"XX.CC..HH{name}", NOON, RATE, data(9)) for name in "ZN"))
    return place


def test_windows_of_all_components(folder, tmp_path, logged):
    counts = run(folder, tmp_path / "set.h5", ZNE)
    assert (counts["samples"], counts["component"], counts["traces"]) == (5, 1, 2)
    assert logged("XX.CC..HHN 2016-01-01: left out: no component E")
    assert logged("5 windows of 3 components of 87 x 100 from 2 traces")
    found = rows(tmp_path / "set.csv")
    assert [row["trace_id"] for row in found] == ["XX.AA..HHZ"] * 2 + ["XX.BB..HHZ"] * 3
    assert [row["peak_time"][14:19] for row in found[:2]] == ["00:30", "01:30"]
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert (file.components, file.shape) == (("Z", "N", "E"), (3, 87, 100))
        images, (traces, rate, _) = file.read(0, 5), file.traces(range(5))
    assert (traces.shape, rate) == ((5, 3, 200), RATE)
    words = settings().build
    grid = make_grid(words, RATE)
    for name, values in measure_waveforms(traces[:, 0], RATE).items():  # of the first component
        np.testing.assert_allclose([float(row[name]) for row in found], values, rtol=1e-4)
    for row, part, start in (
        (0, data(0), 4400),
        (1, data(1, 0), 4400),
        (2, data(2, 3000)[3300:], 1100),
    ):
        wave = process(Wave(NOON, RATE, part.astype(float)), words)
        expected = spectrograms(grid, wave.data, np.array([start]))
        np.testing.assert_array_equal(images[1:2, row], expected)
    with h5py.File(tmp_path / "set.h5") as file:
        assert file["spectrogram"].attrs["components"].tolist() == ["Z", "N", "E"]


def test_missing_components_as_zeros(folder, tmp_path, logged):
    counts = run(folder, tmp_path / "set.h5", ZNE, "build.missing_components=zeros")
    assert (counts["samples"], counts["zeros"]) == (9, 4)
    assert logged("4 of 9 windows have zeros in place of a component")
    with open_spectrograms(tmp_path / "set.h5") as file:
        lacking = (file.read(0, 9) == 0).all(axis=(2, 3))
    assert np.argwhere(lacking).tolist() == [[1, 2], [6, 2], [7, 2], [8, 2]]


def test_stations_of_an_array(folder, tmp_path):
    run(folder, tmp_path / "set.h5", "build.components=BB, AA, CC", "build.trace_ids=*Z")
    with open_spectrograms(tmp_path / "set.h5") as file:
        assert (file.components, file.n_samples) == (("BB", "AA", "CC"), 3)
        assert set(file.column("trace_id")) == {"XX.BB..HHZ"}
        images = file.read(0, 3)
    run(folder, tmp_path / "a.h5", "build.trace_ids=*AA..HHZ")
    with open_spectrograms(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(images[:, 1], file.read(0, 3))


def test_errors(folder, tmp_path):
    with pytest.raises(DataError, match="components = Z, X: no trace has all of them on one"):
        run(folder, tmp_path / "set.h5", "build.components=ZX")
    with pytest.raises(SettingsError, match=r"components = Z is not allowed; allowed: none, or"):
        settings("build.components=Z")
