"""Parts of records and of cubes, labelled axes, and object stores."""

import functools
import http.server
import threading

import h5py
import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.storage import open_storage
from RISCluster.errors import DataError
from RISCluster.fibre import make_cube as making
from RISCluster.fibre.cut import time_in_name
from RISCluster.fibre.make_cube import cut_cube, make_cube
from RISCluster.io import as_path
from tests.fibre.fibre import noise, record, records_settings

WORDS = "window=0.2", "step=0.1", "name_times=%Y%m%d_%H%M%S"
PART = "after=2021-03-04T05:00:05", "before=2021-03-04T05:00:08.1", "section=20-50"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def files(tmp_path):
    """Two files of 5 s and 12 channels, every 5 m, with their times in their names alone."""
    return [
        record(tmp_path / f"X_20210304_0500{5 * k:02d}_1.h5", noise(500, 12, k), None, dx_m=5.0)
        for k in range(2)
    ]


@pytest.fixture(params=["h5", "zarr"])
def cube(request, files, tmp_path):
    if request.param == "zarr":
        pytest.importorskip("zarr")
    path = tmp_path / f"cube.{request.param}"
    make_cube(files, path, records_settings(*WORDS))
    if request.param == "h5":  # values that are not JSON
        with h5py.File(path, "a") as file:
            file["data"].attrs.update(gauge=np.int64(10), maker=np.bytes_(b"X"))
    return path


def opened(path):
    return open_spectrograms(path, "cube")


@pytest.mark.parametrize(
    ("name", "pattern", "time"),
    [
        ("fibre_20210304T050607.tdms", "%Y%m%dT%H%M%S", 1614834367_000000000),
        ("a.2021.063.05h06.h5", "%Y.%j.%Hh%M", 1614834360_000000000),
        ("1_210304_05.06.07.250_9.h5", "%y%m%d_%H.%M.%S.%f", 1614834367_250000000),
        ("20211304_x.h5", "%Y%m%d", None),
        ("x.h5", "%Y", None),
    ],
)
def test_times_in_names(tmp_path, name, pattern, time):
    if time is not None:
        assert time_in_name(tmp_path / name, pattern) == time
        return
    with pytest.raises(DataError, match="its name has no time as records.name_times = %Y"):
        time_in_name(tmp_path / name, pattern)


def test_a_part_of_records_is_that_of_their_cube(files, cube, tmp_path):
    with opened(cube) as file:
        times, whole = file.times, file.stored.read("all")
        assert file.distance.tolist() == [5.0 * k for k in range(12)]
    assert times[0] == 1614834000 * 10**9
    make_cube(files, tmp_path / "part.h5", records_settings(*WORDS, *PART))
    with opened(tmp_path / "part.h5") as file:
        assert file.times[0] == times[50]
        assert file.distance.tolist() == [20, 25, 30, 35, 40, 45, 50]
        np.testing.assert_array_equal(file.stored.read("all"), whole[50:80, 4:11])


@pytest.mark.parametrize("target", ["cut.h5", "cut.zarr"])
def test_a_cube_is_cut_and_rechunked(cube, tmp_path, target):
    words = [f"records.{word}" for word in (*PART, "chunks=7,3,4", "band=5-30")]
    command = ["cube", str(cube), "-o", str(tmp_path / target), *words, "cube.channels=::2"]
    assert main(command) == 0
    with opened(cube) as file, opened(tmp_path / target) as part:
        assert part.times.tolist() == file.times[50:81].tolist()
        assert part.distance.tolist() == [20, 30, 40, 50]
        assert part.frequency.tolist() == [5, 10, 15, 20, 25, 30]
        assert part.chunks == (7, 3, 4)
        assert part.amplitude_unit == file.amplitude_unit
        expected = file.stored.read("all")[50:81, [4, 6, 8, 10], 1:7]
        np.testing.assert_array_equal(part.stored.read("all"), expected)
    assert main(command) == 0  # done already
    assert main([*command, "records.power=log"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["section=60-70"], "no channel is in records.section = 60-70 m; allowed: 0 to 55 m"),
        (["before=2021-03-04"], "allowed: times from 2021-03-04T05:00:00.000000Z to"),
        (["band=70-80"], "records.band = 70-80 takes 0 frequency bins of 0 to 50"),
    ],
)
def test_parts_that_are_not_there_are_named(cube, tmp_path, words, message):
    with pytest.raises(DataError, match=message):
        cut_cube(cube, tmp_path / "cut.h5", records_settings(*words))


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


def test_axes_are_named_in_the_file_and_as_cryocube_has_them(cube):
    place = open_storage(cube, "data.file")
    assert {"data", "time", "channel", "frequency", "distance"} < {*place.arrays}
    array = place.get("data")
    if cube.suffix == ".h5":
        assert [axis[0].name for axis in array.dims] == ["/time", "/channel", "/frequency"]
    else:
        assert [*array.metadata.dimension_names] == ["time", "channel", "frequency"]
        assert place.root.metadata.consolidated_metadata is not None
    assert place.get("time").attrs["units"] == "nanoseconds since 1970-01-01"
    assert place.get("metadata/time_coords")[1] == 1614834000.1
    assert place.get("metadata/freq_coords")[-1] == 50
    assert place.get("metadata/loc_coords")[-1] == 55
    place.close()


def test_large_cubes_have_many_chunks_in_a_file(files, tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    for name, value in (("MANY", 4), ("CHUNK_VALUES", 200), ("PART_VALUES", 1500)):
        monkeypatch.setattr(making, name, value)
    for name in ("a.zarr", "b.h5"):
        make_cube(files, tmp_path / name, records_settings(*WORDS))
    data = zarr.open_array(tmp_path / "a.zarr", path="data", mode="r")
    assert np.prod(data.shards) >= 4 * np.prod(data.chunks)
    with opened(tmp_path / "a.zarr") as file, opened(tmp_path / "b.h5") as other:
        assert file.fingerprint() == other.fingerprint()


def test_cubes_are_read_from_a_server(files, tmp_path, capsys):
    for name in ("zarr", "aiohttp", "fsspec"):
        pytest.importorskip(name)
    make_cube(files, tmp_path / "cube.zarr", records_settings(*WORDS))
    handler = functools.partial(Handler, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with opened(tmp_path / "cube.zarr") as file, opened(f"{url}/cube.zarr") as remote:
            assert str(remote.path) == f"{url}/cube.zarr"
            assert remote.fingerprint() == file.fingerprint()
        assert main(["info", f"{url}/cube.zarr"]) == 0
        assert f"{url}/cube.zarr, layout cube" in capsys.readouterr().out
        assert main(["info", f"{url}/none.zarr"]) == 2
        assert "none.zarr: can't be opened as a Zarr store" in capsys.readouterr().err
    finally:
        server.shutdown()
        server.server_close()


def test_addresses_stay_addresses():
    path = as_path("s3://bucket/a/cube.zarr")
    assert (str(path), path.name) == ("s3://bucket/a/cube.zarr", "cube.zarr")
    assert str(path.parent) == "s3://bucket/a"
