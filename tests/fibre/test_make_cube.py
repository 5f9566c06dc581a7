"""Spectra of windows; cubes of them in HDF5 and Zarr, and parts of such cubes."""

import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.signal

from RISCluster.__main__ import main
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.storage import open_storage
from RISCluster.errors import DataError, SettingsError
from RISCluster.fibre import make_cube as making
from RISCluster.fibre.make_cube import TAPERS, Spectra, cut_cube, make_cube, spectra_of
from RISCluster.fibre.series import Series
from RISCluster.waveforms.read import with_copies
from tests.conftest import shared_data
from tests.fibre.fibre import RATE, START, noise, record, records_settings

WORDS = "window=0.2", "step=0.1"
SETTINGS = records_settings(*WORDS)
NAMED = (*WORDS, "name_times=%Y%m%d_%H%M%S")
PART = "after=2021-03-04T05:00:05", "before=2021-03-04T05:00:08.1", "section=20-50"


def spectra(*words):
    return spectra_of(records_settings(*words).records, RATE)


def values_of(path):
    with open_spectrograms(path, "cube") as file:
        return file.stored.read("all")


@pytest.fixture(params=["h5", "zarr"])
def target(request, tmp_path):
    if request.param == "zarr":
        pytest.importorskip("zarr")
    return tmp_path / f"cube.{request.param}"


@pytest.fixture
def files(tmp_path):
    """Two files of 5 s and 12 channels, every 5 m, with their times in their names alone."""
    return [
        record(tmp_path / f"X_20210304_0500{5 * k:02d}_1.h5", noise(500, 12, k), None, dx_m=5.0)
        for k in range(2)
    ]


@pytest.fixture
def cube(target, files):
    make_cube(files, target, records_settings(*NAMED))
    return target


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


def test_settings_that_do_not_fit_the_rate():
    for word, line in (
        ("window=0.07", "window = 0.07, step = 0.5 s are 7 and 50 samples at 100 Hz; allowed"),
        ("step=0.001", "step = 0.001 s are 100 and 0 samples"),
        ("band=20-80", "band = 20-80 has .* up to 50 Hz, half the sampling rate"),
        ("band=3-5", "band = 3-5 has 3 rows"),
    ):
        with pytest.raises(SettingsError, match=line):
            spectra(word)


def test_layout(tmp_path, target, lines):
    """Named axes in the file, as xarray reads them, and as CryoCube has them."""
    samples = noise(1000, 4)
    path = record(tmp_path / "a.h5", samples, START + 0.125, dx=2.5, unit="nm/m/s")
    make_cube([path], target, SETTINGS)
    place = open_storage(target, "data.file")
    data = place.get("data")
    np.testing.assert_array_equal(data[:], spectra(*WORDS).calculate(samples))
    assert (data.shape, data.dtype) == ((99, 4, 11), np.float32)
    for name, unit, expected in (
        ("time", "seconds since 1970-01-01T00:00:00Z", START + 0.125 + 0.1 * np.arange(99)),
        ("freq", "Hz", np.arange(11) * 5),
        ("loc", "m", [0, 2.5, 5, 7.5]),
    ):
        array = place.get(f"metadata/{name}_coords")
        np.testing.assert_allclose(array[:], expected, rtol=0, atol=5e-7)
        assert array.attrs["units"] == unit
    assert place.get("time").attrs["units"] == "nanoseconds since 1970-01-01"
    np.testing.assert_array_equal(place.get("distance")[:], expected)
    attributes = dict(data.attrs)
    assert tuple(attributes["dimensions"]) == ("time", "channel", "frequency")
    assert [attributes[key] for key in ("window_s", "step_s", "sampling_rate")] == [0.2, 0.1, RATE]
    assert (attributes["units"], attributes["power"]) == ("(nm/m/s)^2/Hz", "linear")
    place.close()
    assert sorted(tmp_path.iterdir()) == [path, target]
    assert any("2020-09-13T12:26:40.125000Z to 2020-09-13T12:26:49.925000Z" in s for s in lines)


def test_xarray_finds_labelled_axes(cube):
    xarray = pytest.importorskip("xarray")
    if cube.suffix == ".h5":
        pytest.importorskip("h5netcdf")
        data = xarray.open_dataset(cube, engine="h5netcdf")["data"]
    else:
        data = xarray.open_zarr(cube)["data"]
    assert data.dims == ("time", "channel", "frequency")
    assert data.sel(time="2021-03-04T05:00:03").sizes["time"] == 10
    assert data.sel(frequency=20, channel=3)["distance"] == 15


def test_three_files_give_the_cube_of_one(tmp_path, monkeypatch):
    """Bit for bit, in blocks of limited size: windows run across the borders of files.

    Names are against the order of time, and a clock is off by less than half a sample.
    """
    samples, cuts, sizes, read = noise(1000, 5), [0, 333, 671, 1000], [], Series.read
    make_cube([record(tmp_path / "all.h5", samples)], tmp_path / "one.h5", SETTINGS)
    paths = [
        record(tmp_path / f"{9 - k}.h5", samples[cuts[k] : cuts[k + 1]], START + start)
        for k, start in enumerate((0, 3.334, 6.71))
    ]

    def watched(self, *box):
        sizes.append((box[1] - box[0]) * (box[3] - box[2]))
        return read(self, *box)

    monkeypatch.setattr(Series, "read", watched)
    for name, value in (("CHUNK_VALUES", 500), ("CHUNK_STEPS", 4), ("BLOCK_VALUES", 150)):
        monkeypatch.setattr(making, name, value)
    make_cube(sorted(paths), tmp_path / "three.h5", SETTINGS)
    np.testing.assert_array_equal(values_of(tmp_path / "three.h5"), values_of(tmp_path / "one.h5"))
    assert max(sizes) <= 150


def test_a_target_that_is_there(tmp_path, target, lines, monkeypatch):
    path = record(tmp_path / "a.h5", noise(1000))
    make_cube([path], target, SETTINGS)
    before = values_of(target)
    with monkeypatch.context() as patch:
        patch.setattr(making, "open_series", None)  # nothing is read
        make_cube([path], target, SETTINGS)
        assert any("done already" in line for line in lines)
        os.utime(path, (1, 1))
        with pytest.raises(DataError, match="made from other files or settings; .* --over"):
            make_cube([path], target, SETTINGS)
    other = records_settings(*WORDS, "power=log")
    make_cube([path], target, other, overwrite=True)
    np.testing.assert_allclose(values_of(target), np.log10(before), rtol=1e-5)
    path = record(tmp_path / "a.h5", np.zeros((1000, 3), np.float32))
    with pytest.raises(DataError, match="would have no value, .*every window touches a gap"):
        make_cube([path], tmp_path / "none.h5", other)
    assert not list(tmp_path.glob("none*"))


@pytest.mark.parametrize(("name", "shape", "spacing"), [
    ("valencia_febus_example", (38, 100, 33), 16.8), ("dispersion_event", (8, 101, 257), 1.0),
    ("decimated_optodas", (77, 51, 65), 51.06500953873183),
    ("prodml_2_0", (95, 512, 26), 1.0209519863128662),
])  # fmt: skip
def test_real_fibre(tmp_path, name, shape, spacing):
    path = shared_data("das/das.h5")
    settings = records_settings(f"dataset={name}/data", "window=0.256", "step=0.128")
    make_cube([path], tmp_path / "cube.h5", settings)
    with open_spectrograms(tmp_path / "cube.h5") as cube:
        values = cube.stored.read("all")
        assert (values.shape, cube.distance[1]) == (shape, spacing)
    with h5py.File(path) as file:
        samples, rate = file[f"{name}/data"][:, -1], file[name].attrs["fs"]
    window, step = round(0.256 * rate), round(0.128 * rate)
    _, _, expected = scipy.signal.spectrogram(samples, rate, "hann", window, window - step)
    values, scale = values[:, -1], expected.max()
    np.testing.assert_allclose(values / scale, expected.T / scale, atol=1e-5, rtol=0)


def test_large_cubes_have_many_chunks_in_a_file(tmp_path, files, monkeypatch):
    zarr = pytest.importorskip("zarr")
    for name, value in (("MANY", 4), ("CHUNK_VALUES", 200), ("BLOCK_VALUES", 3000)):
        monkeypatch.setattr(making, name, value)
    make_cube(files, tmp_path / "a.zarr", records_settings(*NAMED))
    data = zarr.open_array(tmp_path / "a.zarr", path="data", mode="r")
    assert np.prod(data.shards) >= 4 * np.prod(data.chunks)
    assert np.isfinite(data[:]).all()


def test_a_cube_is_cut_and_rechunked_as_records_are(files, cube, tmp_path, capsys):
    names = [f"channel {k}" for k in range(4)]
    if cube.suffix == ".h5":
        names = ["A4", "A6", "A8", "A10"]
        with h5py.File(cube, "a") as file:
            file["channel_names"] = [f"A{k}" for k in range(12)]
    target = tmp_path / ("cut.zarr" if cube.suffix == ".h5" else "cut.h5")
    words = [f"records.{word}" for word in (*PART, "chunks=7,3,4", "band=5-30")]
    command = ["cube", str(cube), "-o", str(target), *words, "cube.channels=::2"]
    assert main(command) == 0
    make_cube(files, tmp_path / "part.h5", records_settings(*NAMED, *PART))
    np.testing.assert_array_equal(values_of(tmp_path / "part.h5"), values_of(cube)[50:80, 4:11])
    with open_spectrograms(cube) as file, open_spectrograms(target) as part:
        assert part.times[0] == 1614834005 * 10**9
        assert part.times.tolist() == file.times[50:81].tolist()
        assert part.distance.tolist() == [20, 30, 40, 50]
        assert part.frequency.tolist() == [5, 10, 15, 20, 25, 30]
        assert part.chunks == (7, 3, 4)
        assert part.amplitude_unit == file.amplitude_unit == "power per Hz"
        assert part.channel_names() == names
        expected = file.stored.read("all")[50:81, [4, 6, 8, 10], 1:7]
        np.testing.assert_array_equal(part.stored.read("all"), expected)
    assert main(command) == 2  # exists already
    assert main([*command, "--overwrite"]) == 0
    assert main([*command, "--overwrite", "records.power=log", "records.step=1"]) == 2
    assert "line: records.power, records.step: no effect on " in capsys.readouterr().err
    for words, message in (
        (["section=60-70"], "in records.section = 60-70; allowed: .*; 0 to 55 m"),
        (["before=2021-03-04"], "allowed: 2021-03-04T05:00:00.000000Z to"),
        (["band=70-80"], "records.band = 70-80 takes 0 frequency bins of 0 to 50"),
    ):
        with pytest.raises(DataError, match=message):
            cut_cube(cube, tmp_path / "none.h5", records_settings(*words))


def test_cubes_are_read_from_a_server(files, tmp_path, capsys):
    for name in ("zarr", "aiohttp", "fsspec"):
        pytest.importorskip(name)
    own = tmp_path / "cube.zarr"
    make_cube(files, own, records_settings(*NAMED))
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/cube.zarr"
        with open_spectrograms(own, "cube") as file, open_spectrograms(url, "cube") as remote:
            assert str(remote.path) == url
            assert remote.fingerprint() == file.fingerprint()
        assert main(["info", url]) == 0
        assert f"{url}, layout cube" in capsys.readouterr().out
        assert main(["info", url.replace("cube.zarr", "none.zarr")]) == 2
        assert "; check address, network and credentials; " in capsys.readouterr().err
        server.shutdown()


def test_cubes_and_waveforms_of_a_public_bucket(files, tmp_path, monkeypatch):
    moto, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    own = tmp_path / "cube.zarr"
    make_cube(files, own, records_settings(*NAMED))
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.get_host_and_port()[1]}")
    monkeypatch.setenv("HOME", str(tmp_path))  # without credentials
    public = {"ACL": "public-read"}
    owner = s3fs.S3FileSystem(key="a", secret="b", s3_additional_kwargs=public)
    owner.mkdir("bucket", acl="public-read")
    owner.put(str(own), "bucket/cube.zarr", recursive=True)
    owner.pipe("bucket/day/AAA.HHZ", b"data")
    with (
        open_spectrograms(own, "cube") as file,
        open_spectrograms("s3://bucket/cube.zarr", "cube") as remote,
    ):
        assert remote.fingerprint() == file.fingerprint()
    assert Path(*with_copies(["s3://bucket/day/"], tmp_path)).read_bytes() == b"data"
    server.stop()
