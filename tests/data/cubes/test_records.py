import h5py
import numpy as np
import pytest

from RISCluster.data.cubes.records import BadRecord, read_header
from RISCluster.errors import DataError

from .fibre import noise, record, records_settings

AUTO = records_settings().records


def header_of(path, samples=None, settings=AUTO, place="data", **attributes):
    """Header of a file whose attributes lie on the data set, a group or the file."""
    with h5py.File(path, "w") as file:
        file["raw/zone/data"] = noise(50, 4) if samples is None else samples
        names = {"data": "raw/zone/data", "group": "raw/zone", "outer": "raw", "file": "/"}
        file[names[place]].attrs.update(attributes)
    return read_header(path, settings)


@pytest.mark.parametrize("place", ["data", "group", "outer", "file"])
@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({"fs": 500.0}, 500.0),
        ({"sampling_rate": "200"}, 200.0),
        ({"SamplingFrequency[Hz]": 1000}, 1000.0),
        ({"samplingFrequency": np.array([25.0])}, 25.0),
        ({"PulseRate": 2000.0}, 2000.0),
        ({"PulseRate": 2000.0, "OutputDataRate": 200.0}, 200.0),
        ({"DT": 0.004}, 250.0),
    ],
)
def test_sampling_rate_under_its_many_names(tmp_path, place, attributes, rate):
    assert header_of(tmp_path / "a.h5", place=place, **attributes).sampling_rate == rate


def test_nearest_place_counts(tmp_path):
    path = tmp_path / "a.h5"
    header_of(path, fs=100.0)
    with h5py.File(path, "a") as file:
        file.attrs["sampling_rate"] = 7.0
    assert read_header(path, AUTO).sampling_rate == 100.0


def test_values_that_lie_in_small_data_sets(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = noise(50, 4)
        file["header/dt"], file["header/dx"] = 0.01, 4.0
        file["RawDataTime"] = np.arange(50) * 10_000 + 1_600_000_000_000_000
    header = read_header(path, AUTO)
    assert (header.sampling_rate, header.spacing) == (100.0, 4.0)
    assert header.start == 1_600_000_000 * 10**9


def test_no_rate_is_an_error_that_names_what_is_there(tmp_path):
    path = record(tmp_path / "a.h5", noise(50), fs="fast", gauge=10.0)
    with pytest.raises(DataError, match="there are .*gauge.*set records.sampling_rate"):
        read_header(path, AUTO)
    settings = records_settings("sampling_rate=40").records
    assert read_header(path, settings).sampling_rate == 40.0


def test_a_start_that_is_no_time(tmp_path):
    path = record(tmp_path / "a.h5", noise(50), start="noon")
    with pytest.raises(DataError, match="'noon' is neither .* set records.starttime"):
        read_header(path, AUTO)
    assert read_header(path, records_settings("starttime=2020-01-01").records).start is None


@pytest.mark.parametrize(
    ("dims", "axis"),
    [
        ("time,channel", 0),
        ("channel, time", 1),
        (["locus", "time"], 1),
        ("(distance, time)", 1),
        ("x y", None),
    ],
)
def test_order(tmp_path, dims, axis):
    assert header_of(tmp_path / "a.h5", fs=1.0, Dimensions=dims).time_axis == axis
    chosen = records_settings("order=channel,time").records
    assert header_of(tmp_path / "b.h5", settings=chosen, fs=1.0, dims=dims).time_axis == 1


def test_the_largest_data_set_unless_others_are_comparable(tmp_path):
    path = record(tmp_path / "a.h5", noise(100, 10))
    with h5py.File(path, "a") as file:
        file["small"] = noise(9, 10)
        file["text"] = np.full((200, 10), b"x")
        file["cube"] = np.zeros((30, 30, 30))
    assert read_header(path, AUTO).dataset == "data"
    with h5py.File(path, "a") as file:
        file["other"] = noise(20, 10)
    with pytest.raises(DataError, match=r"records.dataset to one of data \(100, 10\), other"):
        read_header(path, AUTO)
    chosen = records_settings("dataset=other", "sampling_rate=5").records
    assert read_header(path, chosen).shape == (20, 10)
    with pytest.raises(BadRecord, match="'nothing' is no data set .* it has data"):
        read_header(path, records_settings("dataset=nothing").records)


def test_files_that_cost_themselves(tmp_path):
    whole = record(tmp_path / "a.h5", noise(1000, 10)).read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.h5").write_bytes(b"")
    for name in ("short.h5", "empty.h5"):
        with pytest.raises(BadRecord, match=f"{name}: can't be read as HDF5"):
            read_header(tmp_path / name, AUTO)
    with h5py.File(tmp_path / "line.h5", "w") as file:
        file["data"] = np.zeros(10)
    with pytest.raises(BadRecord, match="no numeric data set with two dimensions"):
        read_header(tmp_path / "line.h5", AUTO)


def test_a_unit_that_is_an_array_is_none(tmp_path):
    assert header_of(tmp_path / "a.h5", fs=100.0, unit=["m", "s"]).unit == ""
