"""Cubes as files of spectrograms, in HDF5 and in both formats of Zarr."""

import warnings

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data import cube_file as cubefile
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError
from RISCluster.settings import CubeSettings, load_settings

SHAPE = (50, 7, 5)


def values(shape=SHAPE, dtype="f4"):
    rng = np.random.default_rng(0)
    return (100 * rng.random(shape)).astype(dtype)


def settings(**keys) -> CubeSettings:
    return load_settings(None, [f"cube.{key}={value}" for key, value in keys.items()]).cube


def write_hdf5(path, cube, chunks=None, **coordinates):
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=cube, chunks=chunks)
        for name, numbers in coordinates.items():
            file[f"metadata/{name}_coords"] = numbers
    return path


def write_zarr(path, cube, chunks, zarr_format):
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    group.create_array("data", data=cube, chunks=chunks)
    group.create_array("metadata/freq_coords", data=np.arange(5) * 2.0)
    return path


def by_hand(cube, window, stride, channels=slice(None), times=slice(None)):
    """Every sample as {(window, position of the channel): spectrogram}."""
    cube = cube[times][:, channels]
    starts = range(0, len(cube) - window + 1, stride)
    return {
        (number, channel): cube[start : start + window, channel].T
        for number, start in enumerate(starts)
        for channel in range(cube.shape[1])
    }


def check(file, expected):
    assert file.n_samples == len(expected)
    index = np.arange(file.n_samples)
    window, channel = file.place(index)
    assert set(zip(window.tolist(), channel.tolist(), strict=True)) == set(expected)
    wanted = np.stack([expected[pair] for pair in zip(window, channel, strict=True)])
    blocks = list(file.read_blocks(index))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in blocks]), index)
    got = np.concatenate([rows for _, rows in blocks])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, wanted.astype(np.float32))
    for share in (0.1, 0.5, 0.9):
        some = np.flatnonzero(np.random.default_rng(1).random(len(index)) < share)
        got = np.concatenate([file.read(0, 1), *(rows for _, rows in file.read_blocks(some))])
        np.testing.assert_array_equal(got[1:], wanted[some].astype(np.float32))
    np.testing.assert_array_equal(file.read(3, 9), wanted[3:9].astype(np.float32))


@pytest.mark.parametrize("tile", [1, 600, 2**20])
@pytest.mark.parametrize("chunks", [None, (8, 3, 5), (50, 1, 5)])
@pytest.mark.parametrize(
    ("window", "stride", "channels", "times"),
    [(4, 4, ":", ":"), (4, 1, ":", ":"), (5, 3, "1:6:2", "3:"), (4, 6, "-2:", "::3")],
)
def test_samples_are_windows_whatever_the_tiles(
    tmp_path, monkeypatch, tile, chunks, window, stride, channels, times
):
    monkeypatch.setattr(cubefile, "TILE_BYTES", tile)
    monkeypatch.setattr(cubefile, "BLOCK_BYTES", max(1, tile // 4))
    cube = values()
    path = write_hdf5(tmp_path / "c.h5", cube, chunks)
    chosen = settings(window=window, stride=stride, channels=channels, times=times)
    as_slice = [slice(*(int(x) if x else None for x in t.split(":"))) for t in (channels, times)]
    with open_spectrograms(path, cube=chosen) as file:
        assert file.layout == "cube"
        check(file, by_hand(cube, window, stride, *as_slice))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(tmp_path, zarr_format):
    path = write_zarr(tmp_path / "c.zarr", values(), (8, 3, 5), zarr_format)
    with open_spectrograms(path) as file:
        check(file, by_hand(values(), 4, 4))
        np.testing.assert_array_equal(file.frequency, np.arange(5) * 2.0)
        assert file.chunks == (8, 3, 5)


def test_cryocube_with_its_days_for_times(tmp_path, caplog):
    """What CryoCube writes: Zarr of float64, metres, hertz, and times cut to days."""
    group = zarr.open_group(str(tmp_path / "c.zarr"), mode="w", zarr_format=2)
    cube = values((40, 7, 5), "f8")
    group.create_array("data", data=cube, chunks=(20, 7, 5))
    group.create_array("metadata/loc_coords", data=np.arange(7) * 4)
    group.create_array("metadata/freq_coords", data=np.arange(5.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        days = np.full(40, "2020-07-24", dtype="M8[D]")
        group.create_array("metadata/time_coords", data=days)
    with caplog.at_level("WARNING", "RISCluster"), open_spectrograms(tmp_path / "c.zarr") as file:
        check(file, by_hand(cube, 4, 4))
        assert file.starttimes() is None
        np.testing.assert_array_equal(file.distance, np.arange(7) * 4.0)
        assert file.distance_unit == "m"
    assert "does not ascend" in caplog.text


def test_times_names_and_distances(tmp_path):
    seconds = 1.6e9 + 0.5 * np.arange(50)
    path = write_hdf5(tmp_path / "c.h5", values(), time=seconds, loc=np.arange(7) * 16.8)
    with h5py.File(path, "a") as file:
        file["metadata/time_coords"].attrs["units"] = "seconds since 1970-01-01T00:00:00Z"
        file["metadata/channel_names"] = [f"6L.A{n:03d}..GHZ".encode() for n in range(7)]
    with open_spectrograms(path, cube=settings(channels="2:4", times="10:")) as file:
        assert file.starttimes(2, 5) == [
            "2020-09-13T12:26:47.000000Z", "2020-09-13T12:26:47.000000Z",
            "2020-09-13T12:26:49.000000Z",
        ]  # fmt: skip
        assert file.trace_ids(0, 3) == ["6L.A002..GHZ", "6L.A003..GHZ", "6L.A002..GHZ"]
        np.testing.assert_allclose(file.distance, [33.6, 50.4])
        np.testing.assert_allclose(file.time, [0, 0.5, 1.0, 1.5])
        assert file.time_unit == "s"


def test_every_step_is_read_once_in_order(tmp_path, monkeypatch):
    """Overlapping windows do not read shared steps again, and tiles are whole chunks."""
    monkeypatch.setattr(cubefile, "TILE_BYTES", 2 * 8 * 7 * 5 * 4)
    path = write_hdf5(tmp_path / "c.h5", values(), (8, 7, 5))
    with open_spectrograms(path, cube=settings(window=5, stride=1)) as file:
        asked, read = [], file._read_box
        file._read_box = lambda *box: asked.append(box) or read(*box)
        n = sum(len(part) for part, _ in file.read_blocks(np.arange(file.n_samples)))
        assert n == file.n_samples
    assert [box[:2] for box in asked] == [(0, 20), (20, 36), (36, 50)]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"channels": "3:9"}, r"channels = 3:9 is out of range: the cube has 7 channels, 0 to 6"),
        ({"times": "60:"}, "times = 60: is out of range: the cube has 50 times"),
        ({"window": 20, "times": "::3"}, "window = 20 is longer than the 17 time steps"),
    ],
)
def test_settings_beyond_the_cube(tmp_path, keys, text):
    with pytest.raises(DataError, match=text):
        open_spectrograms(write_hdf5(tmp_path / "c.h5", values()), cube=settings(**keys))


@pytest.mark.parametrize(
    ("coordinates", "text"),
    [
        ({"time": np.arange(49)}, r"time_coords has shape \(49,\), and /data \(50, 7, 5\)"),
        ({"freq": np.zeros(5)}, "finite and ascending"),
        ({"loc": np.array([1, 2, np.nan, 4, 5, 6, 7])}, "loc_coords must hold finite numbers"),
        ({"loc": h5py.Empty("f4")}, r"loc_coords has shape \(\), and /data"),
    ],
)
def test_coordinates_that_do_not_fit(tmp_path, coordinates, text):
    with pytest.raises(DataError, match=text):
        open_spectrograms(write_hdf5(tmp_path / "c.h5", values(), **coordinates))


def test_several_data_sets_of_three_dimensions(tmp_path):
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["a"], file["b"] = values(), values()
    with pytest.raises(DataError, match=r"the file has a \(50, 7, 5\), b"):
        open_spectrograms(tmp_path / "c.h5", "cube")
    with open_spectrograms(tmp_path / "c.h5", "cube", "b") as file:
        check(file, by_hand(values(), 4, 4))
