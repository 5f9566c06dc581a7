import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.signal

from RISCluster import io
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError, MissingPackage, SettingsError, Stopped
from RISCluster.fibre import make_cube as making
from RISCluster.fibre.joining import open_series
from RISCluster.fibre.make_cube import made_from, make_cube, require_cube_name, tile
from RISCluster.fibre.series import Series
from RISCluster.fibre.spectra import Spectra, spectra_of
from tests.conftest import ROOT, shared_data
from tests.fibre.fibre import RATE, START, noise, record, records_settings, waveforms

SETTINGS = records_settings("window=0.2", "step=0.1")


def content(path: Path) -> dict:
    """Arrays and attributes of a cube of either format."""
    if path.suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        root = zarr.open_group(path, mode="r")
    else:
        root = h5py.File(path)
    arrays = {"data": root["data"], **{name: root["metadata"][name] for name in root["metadata"]}}
    found = {name: np.asarray(array[:]) for name, array in arrays.items()}
    attributes = {name: dict(array.attrs) for name, array in arrays.items()}
    return {"attributes": attributes, **found}


def bits(path: Path) -> bytes:
    return content(path)["data"].tobytes()


@pytest.fixture
def said(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(making.log, level, lines.append)
    return lines


@pytest.fixture
def small_parts(monkeypatch):
    """Many jobs of a few chunks each, read some samples at a time."""
    monkeypatch.setattr(making, "CHUNK_VALUES", 500)
    monkeypatch.setattr(making, "CHUNK_STEPS", 4)
    monkeypatch.setattr(making, "PART_VALUES", 2000)
    monkeypatch.setattr(making, "BLOCK_VALUES", 150)


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_layout(tmp_path, ending, said):
    samples = noise(1000, 4)
    path = record(tmp_path / "a.h5", samples, START + 0.125, dx=2.5, unit="nm/m/s")
    target = tmp_path / f"cube.{ending}"
    if ending == "zarr":
        pytest.importorskip("zarr")
    make_cube([path], target, SETTINGS)
    cube = content(target)
    expected = spectra_of(SETTINGS.records, RATE).calculate(samples)
    np.testing.assert_array_equal(cube["data"], expected)
    assert cube["data"].dtype == np.float32
    assert cube["data"].shape == (99, 4, 11)
    np.testing.assert_allclose(cube["freq_coords"], np.arange(11) * 5)
    np.testing.assert_array_equal(cube["loc_coords"], [0, 2.5, 5, 7.5])
    np.testing.assert_allclose(
        cube["time_coords"] - START, 0.125 + 0.1 * np.arange(99), rtol=0, atol=5e-7
    )
    assert cube["attributes"]["time_coords"]["units"] == "seconds since 1970-01-01T00:00:00Z"
    assert cube["attributes"]["loc_coords"]["units"] == "m"
    assert cube["attributes"]["freq_coords"]["units"] == "Hz"
    attributes = cube["attributes"]["data"]
    assert attributes["units"] == "(nm/m/s)^2/Hz"
    assert list(attributes["dimensions"]) == ["time", "channel", "frequency"]
    if ending == "zarr":
        data = pytest.importorskip("zarr").open_array(target / "data", mode="r")
        assert data.metadata.dimension_names == ("time", "channel", "frequency")
    assert (attributes["window_s"], attributes["step_s"], attributes["sampling_rate"]) == (
        0.2,
        0.1,
        RATE,
    )
    assert (attributes["power"], attributes["records.taper"]) == ("linear", "hann")
    assert made_from(target) == attributes["made_from"]
    assert not (tmp_path / f"cube.{ending}.parts").exists()
    assert any("2020-09-13T12:26:40.125000Z to 2020-09-13T12:26:50.125000Z" in s for s in said)


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_channels_of_an_array_keep_their_names(tmp_path, ending):
    if ending == "zarr":
        pytest.importorskip("zarr")
    samples = (100 * noise(400, 2)).astype(np.int32)
    traces = [("XX.B..HHZ", 0, samples[:, 1], RATE), ("XX.A..HHZ", 1, samples[:300, 0], RATE)]
    target = tmp_path / f"cube.{ending}"
    make_cube([waveforms(tmp_path / "a.mseed", *traces)], target, SETTINGS)
    with open_spectrograms(target) as cube:
        assert cube.trace_ids()[:2] == ["XX.A..HHZ", "XX.B..HHZ"]
        assert cube.amplitude_unit == "(count)^2/Hz"
    values = content(target)["data"]
    expected = spectra_of(SETTINGS.records, RATE).calculate(samples.astype(np.float32))
    np.testing.assert_array_equal(values[:, 1], expected[:, 1])
    np.testing.assert_array_equal(np.isnan(values[:, 0]).all(axis=1), np.arange(39) < 10)
    np.testing.assert_array_equal(values[10:, 0], expected[: 39 - 10, 0])


def test_times_that_are_not_known_count_from_0(tmp_path):
    path = record(tmp_path / "a.h5", noise(200), None)
    make_cube([path], tmp_path / "cube.h5", SETTINGS)
    cube = content(tmp_path / "cube.h5")
    np.testing.assert_allclose(cube["time_coords"], 0.1 * np.arange(19))
    assert cube["attributes"]["time_coords"]["units"] == "s"
    np.testing.assert_array_equal(cube["loc_coords"], [0, 1, 2])
    assert cube["attributes"]["loc_coords"]["units"] == "channel"


def test_three_files_give_the_cube_of_one(tmp_path, small_parts):
    """Bit for bit: windows run across the borders of files."""
    samples = noise(1000, 5)
    make_cube([record(tmp_path / "all.h5", samples)], tmp_path / "one.h5", SETTINGS)
    cuts = [0, 333, 671, 1000]
    paths = [
        record(tmp_path / f"{number}.h5", samples[start:stop], START + start / RATE)
        for number, (start, stop) in enumerate(zip(cuts, cuts[1:], strict=False))
    ]
    make_cube(paths, tmp_path / "three.h5", SETTINGS)
    assert bits(tmp_path / "three.h5") == bits(tmp_path / "one.h5")
    assert np.isfinite(content(tmp_path / "three.h5")["data"]).all()


def test_a_truncated_file_is_a_gap(tmp_path, said):
    samples = noise(300, 3)
    paths = [
        record(tmp_path / f"{n}.h5", samples[100 * n : 100 * n + 100], START + n) for n in range(3)
    ]
    paths[1].write_bytes(paths[1].read_bytes()[:2000])
    make_cube(paths, tmp_path / "cube.h5", SETTINGS)
    missing = np.isnan(content(tmp_path / "cube.h5")["data"]).all(axis=(1, 2))
    starts = 10 * np.arange(29)
    np.testing.assert_array_equal(missing, (starts + 20 > 100) & (starts < 200))
    assert any("1.h5: can't be opened as HDF5" in line for line in said)


KILLED = """
import os, sys
from pathlib import Path
from RISCluster.settings import load_settings
from RISCluster.fibre import make_cube as making
making.CHUNK_VALUES, making.CHUNK_STEPS, making.PART_VALUES = 500, 4, 2000
made, calculate = [], making.calculate_part

def killed(task, path):
    if len(made) == 3:
        path.with_name(path.name + ".partial").write_bytes(b"half")
        os.kill(os.getpid(), 9)
    made.append(path)
    return calculate(task, path)

making.calculate_part = killed
settings = load_settings(None, ["records.window=0.2", "records.step=0.1"])
making.make_cube([Path(sys.argv[1])], Path(sys.argv[2]), settings)
"""


def test_killed_and_run_again_is_as_never_killed(tmp_path, small_parts, monkeypatch):
    path = record(tmp_path / "a.h5", noise(1000, 6))
    target = tmp_path / "cube.h5"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path, target],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert killed.returncode == -9
    assert not target.exists()
    assert len(list((tmp_path / "cube.h5.parts").glob("*.npy"))) == 3
    made, calculate = [], making.calculate_part
    monkeypatch.setattr(
        making, "calculate_part", lambda task, part: made.append(part) or calculate(task, part)
    )
    make_cube([path], target, SETTINGS)
    again = len(made)
    make_cube([path], tmp_path / "whole.h5", SETTINGS)
    assert len(made) == again + again + 3
    assert bits(target) == bits(tmp_path / "whole.h5")


def test_parts_of_other_settings_are_neither_taken_nor_lost(tmp_path, small_parts, monkeypatch):
    path = record(tmp_path / "a.h5", noise(1000, 6))
    other = records_settings("window=0.2", "step=0.1", "taper=tukey")
    target, calculate = tmp_path / "cube.h5", making.calculate_part
    made = []

    def counted(task, part, most=3):
        if len(made) == most:
            raise Stopped("enough", 15)
        made.append(part)
        return calculate(task, part)

    monkeypatch.setattr(making, "calculate_part", counted)
    for settings in (SETTINGS, other):
        made.clear()
        with pytest.raises(Stopped):
            make_cube([path], target, settings)
    made.clear()
    monkeypatch.setattr(making, "calculate_part", lambda *task: counted(*task, most=1000))
    make_cube([path], target, SETTINGS)
    left = len(made)
    make_cube([path], tmp_path / "whole.h5", SETTINGS)
    assert len(made) == left + left + 3
    assert bits(target) == bits(tmp_path / "whole.h5")


@pytest.mark.parametrize("ending", ["h5", "zarr"])
def test_a_target_that_is_there(tmp_path, ending, said, monkeypatch):
    if ending == "zarr":
        pytest.importorskip("zarr")
    path = record(tmp_path / "a.h5", noise(1000))
    target = tmp_path / f"cube.{ending}"
    make_cube([path], target, SETTINGS)
    before = bits(target)
    monkeypatch.setattr(making, "open_series", None)  # nothing is read
    left = target.with_name(target.name + ".parts")  # by a process killed while it removed them
    left.mkdir()
    make_cube([path], target, SETTINGS)
    assert any("done already" in line for line in said)
    assert not left.exists()
    other = records_settings("window=0.2", "step=0.1", "power=log")
    with pytest.raises(DataError, match="made from other files or settings; .* --overwrite"):
        make_cube([path], target, other)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match="made from other files or settings"):
        make_cube([path], target, SETTINGS)
    assert bits(target) == before
    monkeypatch.setattr(making, "open_series", open_series)
    make_cube([path], target, other, overwrite=True)
    assert content(target)["attributes"]["data"]["power"] == "log"


def test_names_of_targets(monkeypatch):
    with pytest.raises(SettingsError, match="ends in .zarr, .h5 or .hdf5"):
        require_cube_name(Path("cube.nc"))

    def missing(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(io.importlib, "import_module", missing)
    with pytest.raises(MissingPackage, match="pip install zarr"):
        require_cube_name(Path("cube.zarr"))
    require_cube_name(Path("cube.h5"))


def test_window_longer_than_the_record(tmp_path):
    path = record(tmp_path / "a.h5", noise(100))
    settings = records_settings("window=2")
    with pytest.raises(DataError, match="window = 2 s is longer than the record of 1 s"):
        make_cube([path], tmp_path / "cube.h5", settings)


@pytest.mark.parametrize("cause", ["window", "source", "zeros"])
def test_a_cube_without_a_value_is_no_result(tmp_path, cause):
    path, target = record(tmp_path / "a.h5", noise(1000)), tmp_path / "cube.h5"
    words = ["window=0.2", "step=0.1"]
    if cause == "window":
        samples = noise(1000)
        samples[::10] = np.nan
        record(path, samples)
    if cause == "zeros":
        record(path, np.zeros((1000, 3), "f4"))
        words.append("power=log")
    if cause == "source":
        layout = h5py.VirtualLayout((1000, 3), "f4")
        layout[:] = h5py.VirtualSource("gone.h5", "data", shape=(1000, 3))
        with h5py.File(path, "w") as file:
            data = file.create_virtual_dataset("data", layout)
            data.attrs.update({"fs": RATE, "dims": "time,channel"})
    reason = (
        "source gone.h5:/data is missing" if cause == "source" else "every window touches a gap"
    )
    with pytest.raises(DataError, match=f"would have no value, and is not written .*{reason}"):
        make_cube([path], target, records_settings(*words))
    assert list(tmp_path.iterdir()) == [path]


def test_a_source_that_came_back_is_read(tmp_path, said):
    samples, target = noise(1000), tmp_path / "cube.h5"
    layout = h5py.VirtualLayout((1000, 3), "f4")
    for number in (0, 1):
        part = slice(500 * number, 500 * (number + 1))
        with h5py.File(tmp_path / f"s{number}.h5", "w") as file:
            file["d"] = samples[part]
        layout[part] = h5py.VirtualSource(f"s{number}.h5", "d", shape=(500, 3))
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        data = file.create_virtual_dataset("data", layout)
        data.attrs.update({"fs": RATE, "dims": "time,channel"})
    (tmp_path / "s1.h5").rename(tmp_path / "away")
    make_cube([path], target, SETTINGS)
    assert np.isnan(content(target)["data"][50:]).all()
    assert any("source s1.h5:/d is missing" in line for line in said)
    (tmp_path / "away").rename(tmp_path / "s1.h5")
    with pytest.raises(DataError, match="made from other files"):
        make_cube([path], target, SETTINGS)
    make_cube([path], target, SETTINGS, overwrite=True)
    assert np.isfinite(content(target)["data"]).all()


# ---- memory -------------------------------------------------------------------------------------


def test_many_channels_are_read_in_blocks(tmp_path, small_parts, monkeypatch):
    samples = noise(60, 400)
    path = record(tmp_path / "a.h5", samples)
    read, shapes = Series.read, []

    def watched(self, *box):
        values, lost = read(self, *box)
        shapes.append(values.shape)
        return values, lost

    monkeypatch.setattr(Series, "read", watched)
    make_cube([path], tmp_path / "cube.h5", SETTINGS)
    assert max(rows * columns for rows, columns in shapes) <= 150
    assert max(columns for _, columns in shapes) == 7  # whole windows of 20 samples
    expected = spectra_of(SETTINGS.records, RATE).calculate(samples)
    np.testing.assert_array_equal(content(tmp_path / "cube.h5")["data"], expected)


@pytest.mark.parametrize(
    ("n_steps", "n_channels", "window", "step"),
    [
        (10**6, 10_000, 1000, 500),
        (10**5, 8, 256, 128),
        (75, 512, 128, 32),
        (1, 1, 16, 8),
        (10**4, 100_000, 16, 4),
        (3, 5, 10**7, 10**6),
        (10**7, 3, 100, 10**5),
    ],
)
def test_chunks_and_jobs_are_bounded_and_aligned(n_steps, n_channels, window, step):
    spectra = Spectra(RATE, window, step, "hann", 0, window // 2 + 1, False)
    (steps, channels), (job_steps, job_channels) = tile(n_steps, n_channels, spectra)
    rows = spectra.n_frequencies
    assert steps * channels * rows <= max(making.CHUNK_VALUES, rows)
    assert min(n_steps, job_steps) * job_channels * rows <= max(making.PART_VALUES, rows)
    assert job_steps % steps == 0
    assert job_channels % channels == 0 or job_channels == n_channels


# ---- real records -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [
        ("valencia_febus_example", (38, 100, 33), 16.8),
        ("decimated_optodas", (77, 51, 65), 51.06500953873183),
        ("dispersion_event", (8, 101, 257), 1.0),
        ("prodml_2_0", (95, 512, 26), 1.0209519863128662),
    ],
)
def test_real_fibre(tmp_path, name, shape, spacing):
    path = shared_data("das/das.h5")
    settings = records_settings(f"dataset={name}/data", "window=0.256", "step=0.128")
    make_cube([path], tmp_path / "cube.h5", settings)
    cube = content(tmp_path / "cube.h5")
    assert cube["data"].shape == shape
    assert np.isfinite(cube["data"]).all()
    assert cube["loc_coords"][1] == spacing
    with h5py.File(path) as file:
        samples, rate = file[f"{name}/data"][:, -1], file[name].attrs["fs"]
    window, step = round(0.256 * rate), round(0.128 * rate)
    _, _, expected = scipy.signal.spectrogram(samples, rate, "hann", window, window - step)
    scale = expected.max()
    np.testing.assert_allclose(cube["data"][:, -1] / scale, expected.T / scale, atol=1e-5, rtol=0)
