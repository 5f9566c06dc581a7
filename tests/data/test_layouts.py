"""Layouts of files: axes, samples and columns, and what is refused."""

import json
import re
from contextlib import suppress
from itertools import permutations

import h5py
import numpy as np
import pytest
import zarr

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError
from tests.conftest import blobs, shared_data, write_samples


def write_ris(path, spectrogram, catalogue):
    n, f, t = spectrogram.shape
    rows = np.zeros((n, f + 1, t + 1), dtype=np.float32)
    rows[:, :f, 1:] = spectrogram
    rows[:, :f, 0] = np.arange(f) + 3.0
    rows[:, f, 1:] = np.arange(t) * 0.04
    with h5py.File(path, "w") as file:
        file["4.0/Spectrogram"] = rows
        file["4.0/Catalogue"] = [json.dumps(row).encode() for row in catalogue]
    return path


def test_samples_layout(small_file):
    with open_spectrograms(small_file) as file:
        assert (file.layout, file.n_samples, file.n_frequencies, file.n_times) == (
            "samples", 96, 16, 20,
        )  # fmt: skip
        np.testing.assert_array_equal(file.read(5, 9), blobs(96)[0][5:9])
        assert file.frequency[1] == 1.5
        assert (file.frequency_unit, file.time_unit) == ("Hz", "s")
        assert file.starttimes()[61] == "2016-01-01T00:01:01.000000Z"
        assert file.trace_ids()[5] == "XH.DR01..HHZ"
        assert file.labels()[4] == 1
        before = file.fingerprint(), file.columns_fingerprint()
    for name, changed in (("spectrogram", 0), ("trace_id", 1)):
        with h5py.File(small_file, "r+") as file:
            file[name][-1] = file[name][0]
        with open_spectrograms(small_file) as file:
            after = file.fingerprint(), file.columns_fingerprint()
        assert [a == b for a, b in zip(before, after, strict=True)] == [changed == 1, changed == 0]
        before = after


def test_fingerprints_are_those_of_finished_runs(tmp_path):
    values = np.arange(3 * 4 * 4, dtype=np.float32).reshape(3, 4, 4)
    path = write_samples(tmp_path / "a.h5", values, labels=[0, 1, 0], trace_id=[b"A", b"B", b"A"])
    with open_spectrograms(path) as file:
        assert file.fingerprint() == "60c92eee4540571b7879e9c2cb87963b"
        assert file.columns_fingerprint() == "ab6519e86156130674e1bb5d036d4d8b"


def test_ris_layout_takes_axes_out_of_the_rows(tmp_path):
    spectrogram, _ = blobs(12)
    row = {"network": "XH", "station": "DR01", "channel": "HHZ", "peak": 12.5, "unit": "m/s"}
    rows = [row | {"DT_ON": "2014-12-02 07:47:16.600"}] * 11 + [{"station": "DR02"}]
    with open_spectrograms(write_ris(tmp_path / "r.h5", spectrogram, rows)) as file:
        assert (file.layout, file.n_frequencies, file.n_times) == ("ris", 16, 20)
        np.testing.assert_array_equal(file.read(0, 12), spectrogram)
        np.testing.assert_array_equal(file.frequency, np.arange(16) + 3.0)
        np.testing.assert_allclose(file.time, np.arange(20) * 0.04, atol=1e-6)
        for times in (file.starttimes(10), file.detection("onset", 10)):
            assert times == ["2014-12-02T07:47:16.600000Z", ""]
        assert file.detection("end") is None
        assert file.trace_ids(10) == ["XH.DR01..HHZ", ".DR02.."]
        assert (file.detection("peak_amplitude", 10), file.waveform_unit) == (["12.5", ""], "m/s")
    rows[1] = ["A"]
    with (
        open_spectrograms(write_ris(tmp_path / "r.h5", spectrogram, rows)) as file,
        pytest.raises(DataError, match="that of sample 1 is none"),
    ):
        file.trace_ids()


def test_damaged_block_is_named(tmp_path):
    path = tmp_path / "gz.h5"
    with h5py.File(path, "w") as file:
        data, keywords = blobs(64)[0], {"chunks": (8, 16, 20), "compression": "gzip"}
        place = file.create_dataset("spectrogram", data=data, **keywords).id.get_chunk_info(3)
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\0" * place.size)
    with open_spectrograms(path) as file:
        file.read(0, 24)
        with pytest.raises(DataError, match="samples 24 to 31 of spectrogram can't be read"):
            file.read(24, 32)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0.0, np.nan, 2.0], [0, -1, 2]),
        ([np.inf, 0, 1], "whole numbers"),
        (np.arange(4), "one value a sample"),
    ],
)
def test_labels(tmp_path, labels, found):
    with open_spectrograms(write_samples(tmp_path / "a.h5", blobs(3)[0], labels=labels)) as file:
        if isinstance(found, list):
            assert file.labels().tolist() == found
        else:
            with pytest.raises(DataError, match=found):
                file.labels()


def test_axes_and_columns_are_unpacked_too(tmp_path):
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["spectrogram"] = np.ones((2, 6, 5), np.float32)
        for name, values, attributes in (
            ("frequency", np.arange(6, dtype="i2"), {"scale_factor": 0.5}),
            ("labels", [0, -99], {"_FillValue": -99}),
            ("starttime", [10, -1], {"units": "s since 2020-01-01", "_FillValue": -1}),
        ):
            file[name] = values
            file[name].attrs.update(attributes)
    with open_spectrograms(tmp_path / "s.h5") as file:
        assert file.frequency.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
        assert file.labels().tolist() == [0, -1]
        assert file.starttimes() == ["2020-01-01T00:00:10.000000Z", ""]


@pytest.mark.parametrize("place", ["/", "labels"])
def test_class_names_as_one_text(tmp_path, place):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0], labels=np.array([0, 2, 1]))
    with h5py.File(path, "r+") as file:
        file[place].attrs["class_names"] = '["ice", "sea", "äther"]'
    with open_spectrograms(path) as file:
        assert file.class_names() == ["ice", "sea", "äther"]


@pytest.mark.parametrize(
    ("name", "shape"), [("rutford_icequakes", (2500, 82, 100)), ("pnw", (679, 77, 100))]
)
def test_real_files(name, shape):
    with open_spectrograms(shared_data(f"{name}.h5")) as file:
        assert (file.n_samples, file.n_frequencies, file.n_times) == shape
        assert np.isfinite(file.read(0, 10)).all()
        if name == "rutford_icequakes":
            assert file.labels() is None
            assert file.starttimes()[0] == "2020-01-01T01:00:41.522000Z"
            assert file.trace_ids()[0] == "A000"


@pytest.mark.parametrize("name", ["labels", "frequency", "spectrogram"])
def test_links_that_lead_nowhere_or_back(small_file, name):
    for link in (h5py.SoftLink(f"/{name}"), h5py.SoftLink("/"), h5py.ExternalLink("no.h5", "/x")):
        with h5py.File(small_file, "r+") as file:
            del file[name]
            file[name] = link
        with suppress(DataError), open_spectrograms(small_file) as file:
            assert (file.labels() is None) == (name == "labels")
            assert (file.frequency_unit == "bin") == (name == "frequency")


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (["2020-01-01T02:00:00+02:00", "2019-12-31T19:00:01-05:00"], {}),
        (1_577_836_800 * 10**9 + np.arange(2) * 10**9, {"units": "ns"}),
        (np.arange(2), {"units": "seconds since 2020-01-01T05:30:00+05:30"}),
        (np.arange(2) * 1000, {"units": "milliseconds since 2020-01-01"}),
    ],
)
def test_times_of_any_form_are_converted(tmp_path, values, attributes, caplog):
    path = write_samples(tmp_path / "a.h5", blobs(2)[0], starttime=values)
    with h5py.File(path, "a") as file:
        file["starttime"].attrs.update(attributes)
    with open_spectrograms(path) as file:
        assert file.starttimes() == ["2020-01-01T00:00:00.000000Z", "2020-01-01T00:00:01.000000Z"]
        assert file.starttimes(1, 2) == ["2020-01-01T00:00:01.000000Z"]
    assert not caplog.messages


def test_times_that_cannot_be_read_are_logged_once_with_the_first(tmp_path, caplog):
    texts = [b"2020-01-01T00:00:00Z", b"yesterday", b"2399-01-01T00:00:00Z", b""]
    path = write_samples(tmp_path / "a.h5", blobs(4)[0], starttime=texts)
    with open_spectrograms(path) as file:
        for start in range(4):
            file.starttimes(start, start + 1)
        assert file.starttimes() == ["2020-01-01T00:00:00.000000Z", "", "", ""]
    assert len(caplog.messages) == 1
    assert "starttime: 2 of 4 are no times" in caplog.text
    assert "(first: 'yesterday')" in caplog.text


def test_unknown_units(tmp_path, caplog):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0], starttime=np.arange(3))
    with h5py.File(path, "a") as file:
        file["time"].attrs["units"] = "furlongs"
        file["starttime"].attrs["units"] = "fortnights since 2020-01-01"
    with open_spectrograms(path) as file:
        assert (file.time[1], file.time_unit, file.starttimes()) == (1, "bin", None)
    assert "unit 'furlongs' is not known" in caplog.text
    assert re.search("unit 'fortnights' is not known.* its times are not used", caplog.text)
    with h5py.File(path, "a") as file:
        file["frequency"].attrs["units"] = "furlongs"
    with pytest.raises(DataError, match="frequency axis is in 'furlongs', which is no known unit"):
        open_spectrograms(path)


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("spectrogram", np.ones((0, 8, 8)), "is empty"),
        ("images", np.ones((3, 16, 20)), r"the file has images \(3, 16, 20\); set"),
        ("spectrogram", np.ones((5, 8)), r"the file has spectrogram \(5, 8\)"),
        ("spectrogram", np.ones((5, 3, 8)), "3 x 8 .* needs 4 x 4"),
        ("spectrogram", np.ones((2, 4, 4), complex), "allowed: real numbers"),
        ("frequency", np.arange(5), r"frequency of shape \(5,\)"),
        ("frequency", np.zeros(16), "finite and ascending"),
        ("frequency", 3.0, r"frequency of shape \(\)"),
        ("frequency", ["a"] * 16, "frequency axis"),
    ],
)
def test_data_sets_that_do_not_fit(tmp_path, name, values, text):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0])
    with h5py.File(path, "a") as file:
        del file["frequency"], file["time"]
        if name in ("images", "spectrogram"):
            del file["spectrogram"]
        file[name] = values
    with pytest.raises(DataError, match=text):
        open_spectrograms(path)


# ---- which axis is which ------------------------------------------------------------------------

CUBE = np.random.default_rng(0).random((12, 6, 5)).astype(np.float32)
ROWS = CUBE.transpose(0, 2, 1)  # sample, frequency, time
COORDINATES = {
    "time": np.arange(12) * 2.0,
    "distance": np.arange(6) * 10.0,
    "frequency": np.arange(5) * 1.5,
}


def write_named(path, kind, values, names, name="data"):
    """An array with names of its dimensions, as one of several libraries writes them."""
    if kind.startswith("zarr"):
        group = zarr.open_group(str(path), mode="w", zarr_format=int(kind[-1]))
        words = {"dimension_names": names} if kind == "zarr3" else {}
        group.create_array(name, data=values, **words).attrs["_ARRAY_DIMENSIONS"] = list(names)
        return path
    with h5py.File(path, "w") as file:
        data = file.create_dataset(name, data=values)
        for axis, dimension in enumerate(names):
            if kind == "labels":
                data.dims[axis].label = dimension
                continue
            n = values.shape[axis]  # netCDF-4: a scale a dimension, some of them sizes alone
            file[dimension] = COORDINATES.get(dimension, np.zeros(n, "f4"))[:n]
            size_alone = "This is a netCDF dimension but not a netCDF variable."
            file[dimension].make_scale(dimension if dimension in COORDINATES else size_alone)
            data.dims[axis].attach_scale(file[dimension])
    return path


def samples_of(path):
    with open_spectrograms(path) as file:
        return file.layout, file.read(0, file.n_samples), file.frequency


@pytest.mark.parametrize("kind", ["netcdf", "labels", "zarr2", "zarr3"])
@pytest.mark.parametrize("cube", [CUBE, CUBE[:5, :5]], ids=["oblong", "square"])
def test_cubes_of_any_order_by_the_names_of_dimensions(tmp_path, kind, cube, caplog):
    caplog.set_level("INFO", "RISCluster")
    names, expected = ("time", "distance", "frequency"), None
    for number, order in enumerate(permutations(range(3))):
        values, dimensions = cube.transpose(order), [names[axis] for axis in order]
        layout, got, _ = samples_of(write_named(tmp_path / f"{number}", kind, values, dimensions))
        assert layout == "cube"
        expected = got if expected is None else expected
        np.testing.assert_array_equal(got, expected)
    assert "is stored as (frequency, time, channel) by its dimension names" in caplog.text


def test_cubes_by_the_lengths_of_their_coordinates(tmp_path, caplog):
    caplog.set_level("INFO", "RISCluster")
    for number, order in enumerate(permutations(range(3))):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["data"] = CUBE.transpose(order)
            for name, values in COORDINATES.items():
                file[name] = values
        layout, got, frequency = samples_of(tmp_path / f"{number}.h5")
        np.testing.assert_array_equal(got[0], CUBE[:4, 0].T)
        np.testing.assert_array_equal(frequency, COORDINATES["frequency"])
    assert "is stored as (channel, time, frequency) by its coordinates" in caplog.text
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["data"], file["frequency"] = ROWS, np.arange(5.0)
    with pytest.raises(DataError, match=r"has shape \(12, 5, 6\), .* unknown; name its"):
        open_spectrograms(tmp_path / "c.h5")


@pytest.mark.parametrize("name", ["data", "spectrogram", "psd"])
@pytest.mark.parametrize("kind", ["netcdf", "zarr3"])
def test_the_names_of_dimensions_give_the_layout(tmp_path, name, kind):
    path = write_named(tmp_path / "c", kind, CUBE, ("time", "channel", "frequency"), name)
    assert samples_of(path)[0] == "cube"
    path = write_named(tmp_path / "s", kind, ROWS, ("event", "frequency", "time_bin"), name)
    layout, got, _ = samples_of(path)
    assert layout == "samples"
    np.testing.assert_array_equal(got, ROWS)


@pytest.mark.parametrize("layout", ["cube", "samples"])
def test_descending_axes_are_read_ascending(tmp_path, layout):
    is_cube = layout == "cube"
    values, name, axes = (CUBE, "data", (0, 2)) if is_cube else (ROWS, "spectrogram", (1, 2))
    seconds, found = np.arange(12 if is_cube else 6) * 2.0, []
    for step in (1, -1):
        with h5py.File(tmp_path / f"{step}.h5", "w") as file:
            file[name] = np.flip(values, axes) if step < 0 else values
            file["frequency"], file["time"] = np.arange(5.0)[::step], seconds[::step]
            if is_cube:
                file["time"].attrs["units"] = "s since 2020-01-01"
        with open_spectrograms(tmp_path / f"{step}.h5") as file:
            found.append((file.read(0, file.n_samples), file.frequency, file.starttimes()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("named", [True, False])
def test_samples_of_another_order(tmp_path, named, caplog):
    caplog.set_level("INFO", "RISCluster")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["spectrogram"] = ROWS.transpose(0, 2, 1)
        file["frequency"] = np.arange(5.0)
        if named:
            file["spectrogram"].attrs["_ARRAY_DIMENSIONS"] = ["sample", "time", "frequency"]
        else:
            file["time"] = np.arange(6.0)
    np.testing.assert_array_equal(samples_of(tmp_path / "s.h5")[1], ROWS)
    assert "is stored as (sample, time, frequency)" in caplog.text
