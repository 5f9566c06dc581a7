import h5py
import numpy as np
import pytest
import zarr

from RISCluster.catalogue.associate import associate, associate_file, clock_offsets, link, reach_of
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.times import SECOND, nanoseconds_to_iso
from RISCluster.errors import DataError
from RISCluster.settings import load_settings
from tests.conftest import write_samples
from tests.data.test_cube_file import write_cube

START = 1_451_606_400 * 10**9  # 2016-01-01


def ns(seconds):
    """Nanoseconds since 1970 of seconds after `START`."""
    return START + np.rint(np.asarray(seconds, dtype=float) * 1e9).astype(np.int64)


def test_coincidence_by_hand():
    # Stations 0 to 3; an event at 10 s with a repeated onset of station 1, one at 20 s at two
    # stations, and one at 30 s whose onset at station 3 is too late.
    seconds = [10.0, 10.1, 10.2, 10.15, 20.0, 20.1, 30.0, 30.1, 30.2, 30.3]
    station, reach = np.array([0, 1, 1, 2, 0, 3, 0, 1, 2, 3]), np.full((4, 4), 0.25)
    found = associate(ns(seconds), station, reach, 3)
    assert found.tolist() == [0, 0, 0, 0, -1, -1, 1, 1, 1, -1]
    shuffled = np.random.default_rng(0).permutation(10)
    again = associate(ns(seconds)[shuffled], station[shuffled], reach, 3)
    assert again.tolist() == found[shuffled].tolist()
    assert associate(ns(seconds), station, reach, 2)[4:6].tolist() == [1, 1]
    reach[0, 3] = 0.3
    assert associate(ns(seconds), station, reach, 3)[-1] == 1
    assert associate(ns([]), np.zeros(0, int), reach, 2).tolist() == []
    # With the first window of 0.25 s, the onset at 9.9 s would be an event with stations 1 and 2.
    found = associate(ns([9.9, 10.0, 10.1, 10.2, 10.22]), np.arange(5), np.full((5, 5), 0.25), 3)
    assert found.tolist() == [-1, 0, 0, 0, 0]


def test_neighbouring_channels():
    # A front along ten channels, 0.2 s from one to the next, and a single onset far away.
    seconds, channel = [*np.arange(10) * 0.2, 1.0], np.array([*range(10), 40])
    assert link(ns(seconds), channel, 1, 0.25 * SECOND, 4).tolist() == [0] * 10 + [-1]
    assert (link(ns(seconds), channel, 1, 0.1 * SECOND, 4) == -1).all()
    gap = np.delete(np.arange(11), 4)  # without channel 4
    found = link(ns(seconds)[gap], channel[gap], 1, 0.25 * SECOND, 5)
    assert found.tolist() == [-1] * 4 + [0] * 5 + [-1]
    assert (link(ns(seconds)[gap], channel[gap], 2, 0.45 * SECOND, 5)[:9] == 0).all()
    # Two events in turn, of which the second begins on the first channel; equal onsets of one.
    times, channel = np.array([5, 6, 7, 20, 21, 21, 6]), np.array([3, 4, 5, 0, 1, 1, 7])
    assert link(times, channel, 1, 2, 2).tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert link(times[:0], channel[:0], 1, 2, 2).tolist() == []


def test_clock_offsets():
    rng = np.random.default_rng(0)
    origins, late = np.sort(rng.uniform(0, 3600, 200)), np.array([0, 0, 0, 3.5, 0])
    onsets = ns((origins[:, None] + late + rng.uniform(0, 0.2, (200, 5))).ravel())
    station = np.tile(np.arange(5), 200)
    found = clock_offsets(onsets, station, 5, 10.0, 0.25)
    assert found[[0, 1, 2, 4]].tolist() == [0] * 4
    assert found[3] == pytest.approx(3.5, abs=0.1)
    assert clock_offsets(onsets, station, 5, 0.0, 0.25).tolist() == [0] * 5
    assert clock_offsets(ns(rng.uniform(0, 3600, 1000)), station, 5, 10, 0.25).tolist() == [0] * 5


@pytest.fixture
def path(tmp_path):
    """Thirty events at four stations 0.3 s apart, station D 5 s late."""
    seconds = (60.0 + 30 * np.arange(30)[:, None] + np.array([0, 0.3, 0.6, 5.9])).ravel()
    times = [text.encode() for text in nanoseconds_to_iso(ns(seconds))]
    ids = [f"XH.{name}..HHZ".encode() for name in "ABCD"] * 30
    image = np.ones((120, 4, 4), np.float32)
    path = write_samples(tmp_path / "x.h5", image, onset=times, starttime=times, trace_id=ids)
    stations = "net,sta,lat,lon\nXH,A,0,0\nXH,B,0,0.01\nXH,C,0,0.02\nXH,D,0,0.03\n"
    (tmp_path / "st.csv").write_text(stations)
    return path


def test_file(path, tmp_path):
    place = f"events.stations={tmp_path / 'st.csv'}"
    line = associate_file(path, load_settings(None, [place]))
    assert line.endswith("30 events at 4 or more of 4 stations, with 120 of 120 samples")
    with open_spectrograms(path) as file:
        assert file.column("event_id", 2, 6).tolist() == [0, 0, 1, 1]
    with h5py.File(path) as file:
        assert file["event_id"].attrs["events.slowness"] == "0.5"
    line = associate_file(path, load_settings(None, [place, "events.clock_offset=0"]))
    assert " 0 events " in line
    line = associate_file(path, load_settings(None, ["events.window=0.5", "events.min_stations=2"]))
    assert line.endswith("30 events at 2 or more of 4 stations, with 90 of 120 samples")
    with h5py.File(path, "a") as file:
        file["onset"][5] = b""
    line = associate_file(path, load_settings(None, [place]))
    assert line.endswith("29 events at 4 or more of 4 stations, with 116 of 120 samples")
    words = [place, "events.slowness=2", "events.tolerance=0.5"]
    reach = reach_of(["XH.A", "XH.C"], load_settings(None, words))  # distance times slowness
    assert reach[0, 1] == pytest.approx(0.02 * 111.195 * 2 + 0.5, rel=1e-4)
    assert reach[0, 0] == reach[1, 0] == reach[0, 1]


def test_data_that_do_not_allow_it(path, tmp_path):
    settings = load_settings(None, ["events.window=1"])
    bare = write_samples(tmp_path / "bare.h5", np.ones((5, 4, 4), np.float32))

    def refused(place, text, settings=settings):
        with pytest.raises(DataError, match=text):
            associate_file(place, settings)

    refused(path, "auto: no coordinates of XH.A, XH.B, XH.C, XH.D: set", load_settings(None, []))
    refused(bare, "needs an onset or the start time of a detection")
    with h5py.File(path, "a") as file:
        file["event_id"] = np.arange(120)
    refused(path, "event ids of another source; give --overwrite")
    assert "events at 4" in associate_file(path, settings, overwrite=True)
    with h5py.File(path, "a") as file:
        file.attrs["build.method"] = "slide"
    refused(path, "give a data set of build.method=detect")


@pytest.mark.parametrize("suffix", ["h5", "zarr"])
def test_cube(tmp_path, suffix):
    # A front over channels 2 to 7 in two windows, and a single loud sample.
    power = np.random.default_rng(0).uniform(0.9, 1.1, (40, 12, 5)).astype(np.float32)
    power[8:12, 2:5], power[12:16, 5:8], power[28:32, 10] = 20, 20, 20
    path = tmp_path / f"x.{suffix}"
    if suffix == "h5":
        write_cube(path, power)
    else:
        zarr.open_group(str(path), mode="w").create_array("data", data=power)
    settings = load_settings(None, [])
    for _ in range(2):  # and again
        line = associate_file(path, settings)
    assert line.endswith("1 event at 4 or more of 12 channels, with 6 of 120 samples")
    with open_spectrograms(path, cube=settings.cube) as file:
        windows, channels = file.place(np.flatnonzero(file.column("event_id") == 0))
    places = [(2, 2), (2, 3), (2, 4), (3, 5), (3, 6), (3, 7)]
    assert sorted(zip(windows.tolist(), channels.tolist(), strict=True)) == places
    other = load_settings(None, ["cube.window=8"]).cube
    with open_spectrograms(path, cube=other) as file:  # other samples
        assert file.column("event_id") is None
