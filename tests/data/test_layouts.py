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
        assert (file.layout, file.n_samples, file.shape) == ("samples", 96, (16, 20))
        np.testing.assert_array_equal(file.read(5, 9), blobs(96)[0][5:9])
        assert (file.frequency[1], file.frequency_unit, file.time_unit) == (1.5, "Hz", "s")
        assert file.column("starttime")[61] == "2016-01-01T00:01:01.000000Z"
        assert file.column("trace_id", 5, 6) == ["XH.DR01..HHZ"]
        assert file.column("event_id") is file.column("rms") is None
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
        for times in (file.column("starttime", 10), file.column("onset", 10)):
            assert times == ["2014-12-02T07:47:16.600000Z", ""]
        assert file.column("end") is None
        assert file.column("trace_id", 10) == ["XH.DR01..HHZ", ".DR02.."]
        np.testing.assert_array_equal(file.column("peak_amplitude", 10), [12.5, np.nan])
        assert file.waveform_unit == "m/s"
    rows[1] = ["A"]
    with (
        open_spectrograms(write_ris(tmp_path / "r.h5", spectrogram, rows)) as file,
        pytest.raises(DataError, match="Catalogue must hold one JSON object a sample"),
    ):
        file.column("trace_id")


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
        assert file.column("starttime") == ["2020-01-01T00:00:10.000000Z", ""]


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
        assert (file.n_samples, *file.shape) == shape
        assert np.isfinite(file.read(0, 10)).all()
        if name == "rutford_icequakes":
            assert file.labels() is None
            assert file.column("starttime")[0] == "2020-01-01T01:00:41.522000Z"
            assert file.column("trace_id")[0] == "A000"


@pytest.mark.parametrize("name", ["labels", "frequency", "spectrogram"])
def test_links_are_left_out(small_file, name):
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
        (np.arange(2) * 1000, {"units": "milliseconds since 2020-01-01"}),
    ],
)
def test_times_of_any_form_are_converted(tmp_path, values, attributes, caplog):
    path = write_samples(tmp_path / "a.h5", blobs(2)[0], starttime=values)
    with h5py.File(path, "a") as file:
        file["starttime"].attrs.update(attributes)
    with open_spectrograms(path) as file:
        times = ["2020-01-01T00:00:00.000000Z", "2020-01-01T00:00:01.000000Z"]
        assert (file.column("starttime"), file.column("starttime", 1, 2)) == (times, times[1:])
    assert not caplog.messages


def test_times_that_cannot_be_read_are_logged_once_with_the_first(tmp_path, caplog):
    texts = [b"2020-01-01T00:00:00Z", b"yesterday", b"2399-01-01T00:00:00Z", b""]
    path = write_samples(tmp_path / "a.h5", blobs(4)[0], starttime=texts)
    with open_spectrograms(path) as file:
        for start in range(4):
            file.column("starttime", start, start + 1)
        assert file.column("starttime") == ["2020-01-01T00:00:00.000000Z", "", "", ""]
    assert len(caplog.messages) == 1
    assert "starttime: 2 of 4 are no times" in caplog.text
    assert "(first: 'yesterday')" in caplog.text


def test_unknown_units(tmp_path, caplog):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0], starttime=np.arange(3))
    with h5py.File(path, "a") as file:
        file["time"].attrs["units"] = "furlongs"
        file["starttime"].attrs["units"] = "fortnights since 2020-01-01"
    with open_spectrograms(path) as file:
        assert (file.time[1], file.time_unit, file.column("starttime")) == (1, "bin", None)
    assert "unit 'furlongs' is not known" in caplog.text
    assert re.search("unit 'fortnights' is not known.* its times are not used", caplog.text)
    with h5py.File(path, "a") as file:
        file["frequency"].attrs["units"] = "furlongs"
    with pytest.raises(DataError, match="frequency axis is in 'furlongs', which is no known unit"):
        open_spectrograms(path)


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("spectrogram", np.ones((0, 8, 8)), "holds 0 samples of 8 x 8"),
        ("images", np.ones((3, 16, 20)), r"the file has images \(3, 16, 20\); set"),
        ("spectrogram", np.ones((5, 8)), r"the file has spectrogram \(5, 8\)"),
        ("spectrogram", np.ones((5, 3, 8)), "3 x 8 .* allowed: real numbers, samples of 4 x 4"),
        ("spectrogram", np.ones((2, 4, 4), complex), "complex128; allowed: real numbers"),
        ("frequency", np.arange(5), r"frequency of shape \(5,\); it needs one value a step"),
        ("frequency", np.zeros(16), "finite and ascending"),
        ("frequency", np.arange(16)[::-1], "finite and ascending"),
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


@pytest.mark.parametrize(("name", "values"), [("data", ROWS), ("spectrogram", CUBE)])
def test_another_order_without_names_is_refused(tmp_path, name, values):
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file[name], file["frequency"] = values, np.arange(5.0)
    with pytest.raises(DataError, match=r"frequency of shape \(5,\).*name the dimensions"):
        open_spectrograms(tmp_path / "c.h5")


@pytest.mark.parametrize("name", ["data", "spectrogram", "psd"])
@pytest.mark.parametrize("kind", ["netcdf", "zarr3"])
def test_the_names_of_dimensions_give_the_layout(tmp_path, name, kind):
    path = write_named(tmp_path / "c", kind, CUBE, ("time", "channel", "frequency"), name)
    assert samples_of(path)[0] == "cube"
    path = write_named(tmp_path / "s", kind, CUBE, ("event", "time_bin", "frequency"), name)
    layout, got, _ = samples_of(path)
    assert layout == "samples"
    np.testing.assert_array_equal(got, ROWS)
