"""Spectra of windows, and cubes of them in HDF5 and Zarr."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.signal

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError, SettingsError, Stopped
from RISCluster.fibre import make_cube as making
from RISCluster.fibre.make_cube import (
    TAPERS,
    Spectra,
    made_from,
    make_cube,
    spectra_of,
)
from RISCluster.fibre.series import Series, open_series
from tests.conftest import shared_data
from tests.fibre.fibre import RATE, START, noise, record, records_settings, virtual, waveforms

WORDS = "window=0.2", "step=0.1"
SETTINGS = records_settings(*WORDS)


def spectra(*words, rate=RATE):
    return spectra_of(records_settings(*words).records, rate)


def content(path: Path) -> dict:
    """Arrays and attributes of a cube of either format."""
    if path.suffix == ".zarr":
        root = pytest.importorskip("zarr").open_group(path, mode="r")
    else:
        root = h5py.File(path)
    arrays = {"data": root["data"], **{name: root["metadata"][name] for name in root["metadata"]}}
    found = {name: np.asarray(array[:]) for name, array in arrays.items()}
    return {"attributes": {name: dict(x.attrs) for name, x in arrays.items()}, **found}


def bits(path: Path) -> bytes:
    return content(path)["data"].tobytes()


@pytest.fixture
def small_parts(monkeypatch):
    """Many jobs of a few chunks each."""
    monkeypatch.setattr(making, "CHUNK_VALUES", 500)
    monkeypatch.setattr(making, "CHUNK_STEPS", 4)
    monkeypatch.setattr(making, "PART_VALUES", 2000)


@pytest.fixture(params=["h5", "zarr"])
def target(request, tmp_path):
    if request.param == "zarr":
        pytest.importorskip("zarr")
    return tmp_path / f"cube.{request.param}"


# ---- spectra ------------------------------------------------------------------------------------


@pytest.mark.parametrize("taper", TAPERS)
@pytest.mark.parametrize(("window", "step"), [(64, 16), (65, 40), (50, 75)])
def test_spectra_as_of_scipy(taper, window, step):
    samples = noise(1000, 20) + 3
    ours = Spectra(RATE, window, step, taper, 0, window // 2 + 1, False)
    power = ours.calculate(samples)
    # scipy takes overlaps of less than a window: its steps of 1 are thinned instead.
    frequency, _, expected = scipy.signal.spectrogram(
        samples.T.astype(float), RATE, TAPERS[taper], window, window - 1
    )
    expected = expected[..., ::step].transpose(2, 0, 1)
    np.testing.assert_allclose(ours.frequency, frequency)
    assert power.dtype == np.float32
    scale = expected.max(axis=2, keepdims=True)
    np.testing.assert_allclose(power / scale, expected / scale, rtol=0, atol=1e-5)


def test_bands_and_logarithms_are_those_of_the_whole():
    samples = noise(500)
    samples[:, 1] = 5.0
    whole, band = spectra().calculate(samples), spectra("band=3-20")
    np.testing.assert_array_equal(band.frequency, np.arange(3, 21))
    np.testing.assert_array_equal(band.calculate(samples), whole[..., 3:21])
    np.testing.assert_array_equal(spectra("band=40-50").frequency, np.arange(40, 51))
    logarithm = spectra("power=log").calculate(samples)
    np.testing.assert_allclose(logarithm[:, 0], np.log10(whole[:, 0]), rtol=1e-5)
    assert np.isnan(logarithm[:, 1]).all()
    assert (whole[:, 1] == 0).all()


def test_windows_with_missing_samples_are_missing():
    samples = noise(1000, 20)
    samples[250, 7], samples[700, 8] = np.nan, np.inf
    samples[:100, 9] *= np.float32(1e30)  # more power than float32 holds
    power = spectra().calculate(samples)  # windows of 100, step 50
    expected = np.zeros((19, 20), dtype=bool)
    expected[[4, 5], 7], expected[[13, 14], 8], expected[[0, 1], 9] = True, True, True
    np.testing.assert_array_equal(np.isnan(power).any(axis=2), expected)
    assert not np.isinf(power).any()
    whole = spectra().calculate(noise(1000, 20))
    np.testing.assert_array_equal(power[~expected], whole[~expected])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("window=0.07",), "window = 0.07 s is 7 samples at 100 Hz; allowed: 8 or more, 0.08 s"),
        (("step=0.001",), "step = 0.001 s is 0.1 samples at 100 Hz; allowed: 1 or more"),
        (("band=20-80",), "band = 20-80 has .* up to 50 Hz, half the sampling rate"),
        (("band=3-5",), "band = 3-5 has 3 rows"),
    ],
)
def test_settings_that_do_not_fit_the_rate(words, line):
    with pytest.raises(SettingsError, match=line):
        spectra(*words)


def test_windows_in_whole_samples():
    ours = spectra("window=0.256", "step=0.1", rate=50.0)
    assert (ours.window, ours.step, ours.n_steps(13), ours.n_steps(22)) == (13, 5, 1, 2)
    with pytest.raises(DataError, match="window = 0.26 s is longer than the record of 0.24 s"):
        ours.n_steps(12)


# ---- cubes --------------------------------------------------------------------------------------


def test_layout(tmp_path, target, lines):
    samples = noise(1000, 4)
    path = record(tmp_path / "a.h5", samples, START + 0.125, dx=2.5, unit="nm/m/s")
    make_cube([path], target, SETTINGS)
    cube = content(target)
    np.testing.assert_array_equal(cube["data"], spectra(*WORDS).calculate(samples))
    assert (cube["data"].shape, cube["data"].dtype) == ((99, 4, 11), np.float32)
    np.testing.assert_allclose(cube["freq_coords"], np.arange(11) * 5)
    np.testing.assert_array_equal(cube["loc_coords"], [0, 2.5, 5, 7.5])
    seconds = 0.125 + 0.1 * np.arange(99)
    np.testing.assert_allclose(cube["time_coords"] - START, seconds, rtol=0, atol=5e-7)
    assert {name: values["units"] for name, values in cube["attributes"].items()} == {
        "data": "(nm/m/s)^2/Hz",
        "time_coords": "seconds since 1970-01-01T00:00:00Z",
        "loc_coords": "m",
        "freq_coords": "Hz",
    }
    data = cube["attributes"]["data"]
    assert list(data["dimensions"]) == ["time", "channel", "frequency"]
    assert (data["window_s"], data["step_s"], data["sampling_rate"]) == (0.2, 0.1, RATE)
    assert (data["power"], data["records.taper"]) == ("linear", "hann")
    assert made_from(target) == data["made_from"]
    if target.suffix == ".zarr":
        stored = pytest.importorskip("zarr").open_array(target / "data", mode="r")
        assert stored.metadata.dimension_names == ("time", "channel", "frequency")
    assert sorted(tmp_path.iterdir()) == [path, target]
    assert any("2020-09-13T12:26:40.125000Z to 2020-09-13T12:26:50.125000Z" in s for s in lines)


def test_unknown_times_count_from_0(tmp_path):
    make_cube([record(tmp_path / "a.h5", noise(200), None)], tmp_path / "cube.h5", SETTINGS)
    cube = content(tmp_path / "cube.h5")
    np.testing.assert_allclose(cube["time_coords"], 0.1 * np.arange(19))
    np.testing.assert_array_equal(cube["loc_coords"], [0, 1, 2])
    units = [cube["attributes"][name]["units"] for name in ("time_coords", "loc_coords")]
    assert units == ["s", "channel"]


def test_channels_of_an_array_have_their_names(tmp_path, target):
    samples = (100 * noise(400, 2)).astype(np.int32)
    traces = [("XX.B..HHZ", 0, samples[:, 1], RATE), ("XX.A..HHZ", 1, samples[:300, 0], RATE)]
    make_cube([waveforms(tmp_path / "a.mseed", *traces)], target, SETTINGS)
    with open_spectrograms(target) as cube:
        assert cube.column("trace_id")[:2] == ["XX.A..HHZ", "XX.B..HHZ"]
        assert cube.amplitude_unit == "(count)^2/Hz"
    values = content(target)["data"]
    expected = spectra(*WORDS).calculate(samples.astype(np.float32))
    np.testing.assert_array_equal(values[:, 1], expected[:, 1])
    np.testing.assert_array_equal(np.isnan(values[:, 0]).all(axis=1), np.arange(39) < 10)
    np.testing.assert_array_equal(values[10:, 0], expected[: 39 - 10, 0])


def test_three_files_give_the_cube_of_one(tmp_path, small_parts, monkeypatch):
    """Bit for bit, in blocks of limited size: windows run across the borders of files."""
    samples, cuts, shapes, read = noise(1000, 5), [0, 333, 671, 1000], [], Series.read
    make_cube([record(tmp_path / "all.h5", samples)], tmp_path / "one.h5", SETTINGS)
    paths = [
        record(tmp_path / f"{number}.h5", samples[start:stop], START + start / RATE)
        for number, (start, stop) in enumerate(zip(cuts[:-1], cuts[1:], strict=True))
    ]

    def watched(self, *box):
        values, lost = read(self, *box)
        shapes.append(values.shape)
        return values, lost

    monkeypatch.setattr(Series, "read", watched)
    monkeypatch.setattr(making, "BLOCK_VALUES", 150)
    make_cube(paths, tmp_path / "three.h5", SETTINGS)
    assert bits(tmp_path / "three.h5") == bits(tmp_path / "one.h5")
    assert max(rows * columns for rows, columns in shapes) <= 150
    paths[1].write_bytes(paths[1].read_bytes()[:2000])  # a gap
    make_cube(paths, tmp_path / "gap.h5", SETTINGS)
    missing = np.isnan(content(tmp_path / "gap.h5")["data"]).all(axis=(1, 2))
    starts = 10 * np.arange(99)
    np.testing.assert_array_equal(missing, (starts + 20 > 333) & (starts < 671))


def test_parts_of_other_settings_are_neither_taken_nor_lost(tmp_path, small_parts, monkeypatch):
    path, target = record(tmp_path / "a.h5", noise(1000, 6)), tmp_path / "cube.h5"
    made, most, calculate = [], 3, making.calculate_part

    def counted(task, part):
        if len(made) == most:
            raise Stopped("enough", 15)
        made.append(part)
        return calculate(task, part)

    monkeypatch.setattr(making, "calculate_part", counted)
    for settings in (SETTINGS, records_settings(*WORDS, "taper=tukey")):
        made.clear()
        with pytest.raises(Stopped):
            make_cube([path], target, settings)
    made, most = [], 1000
    make_cube([path], target, SETTINGS)
    again = len(made)
    make_cube([path], tmp_path / "whole.h5", SETTINGS)
    assert len(made) == again + again + 3
    assert bits(target) == bits(tmp_path / "whole.h5")


def test_a_target_that_is_there(tmp_path, target, lines, monkeypatch):
    path = record(tmp_path / "a.h5", noise(1000))
    make_cube([path], target, SETTINGS)
    before = bits(target)
    monkeypatch.setattr(making, "open_series", None)  # nothing is read
    left = target.with_name(target.name + ".parts")  # by a process killed while it removed them
    left.mkdir()
    make_cube([path], target, SETTINGS)
    assert any("done already" in line for line in lines)
    assert not left.exists()
    other = records_settings(*WORDS, "power=log")
    with pytest.raises(DataError, match="made from other files or settings; .* --overwrite"):
        make_cube([path], target, other)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match="made from other files or settings"):
        make_cube([path], target, SETTINGS)
    assert bits(target) == before
    monkeypatch.setattr(making, "open_series", open_series)
    make_cube([path], target, other, overwrite=True)
    assert content(target)["attributes"]["data"]["power"] == "log"


def test_a_source_that_came_back_is_read(tmp_path, lines):
    (path, _), target = virtual(tmp_path, noise(1000)), tmp_path / "cube.h5"
    (tmp_path / "s1.h5").rename(tmp_path / "away")
    with pytest.raises(DataError, match="source s1.h5:/d is missing"):
        make_cube([path], target, SETTINGS)
    (tmp_path / "away").rename(tmp_path / "s1.h5")
    make_cube([path], target, SETTINGS)
    os.utime(tmp_path / "s1.h5", (0, 0))
    with pytest.raises(DataError, match="made from other files"):
        make_cube([path], target, SETTINGS)
    assert np.isfinite(content(target)["data"]).all()


@pytest.mark.parametrize(("step", "value"), [(10, np.nan), (1, 0)])
def test_a_cube_without_a_value_is_not_written(tmp_path, step, value):
    samples = noise(1000)
    samples[::step] = value
    path, settings = record(tmp_path / "a.h5", samples), records_settings(*WORDS, "power=log")
    with pytest.raises(DataError, match="would have no value, .*every window touches a gap"):
        make_cube([path], tmp_path / "cube.h5", settings)
    assert not list(tmp_path.glob("cube*"))


@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [("valencia_febus_example", (38, 100, 33), 16.8), ("dispersion_event", (8, 101, 257), 1.0),
     ("decimated_optodas", (77, 51, 65), 51.06500953873183),
     ("prodml_2_0", (95, 512, 26), 1.0209519863128662)],
)  # fmt: skip
def test_real_fibre(tmp_path, name, shape, spacing):
    path = shared_data("das/das.h5")
    settings = records_settings(f"dataset={name}/data", "window=0.256", "step=0.128")
    make_cube([path], tmp_path / "cube.h5", settings)
    cube = content(tmp_path / "cube.h5")
    assert (cube["data"].shape, cube["loc_coords"][1]) == (shape, spacing)
    with h5py.File(path) as file:
        samples, rate = file[f"{name}/data"][:, -1], file[name].attrs["fs"]
    window, step = round(0.256 * rate), round(0.128 * rate)
    _, _, expected = scipy.signal.spectrogram(samples, rate, "hann", window, window - step)
    values, scale = cube["data"][:, -1], expected.max()
    np.testing.assert_allclose(values / scale, expected.T / scale, atol=1e-5, rtol=0)
