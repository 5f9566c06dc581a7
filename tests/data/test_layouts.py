import json
from contextlib import suppress

import h5py
import numpy as np
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import DataError
from tests.conftest import blobs, shared_data, write_samples


def error_of(path, **keywords) -> str:
    with pytest.raises(DataError) as caught:
        open_spectrograms(path, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_ris(path, spectrogram, catalogue=None, group="4.0"):
    n, f, t = spectrogram.shape
    rows = np.zeros((n, f + 1, t + 1), dtype=np.float32)
    rows[:, :f, 1:] = spectrogram
    rows[:, :f, 0] = np.arange(f) + 3.0
    rows[:, f, 1:] = np.arange(t) * 0.04
    with h5py.File(path, "w") as file:
        file[f"{group}/Spectrogram"] = rows
        if catalogue is not None:
            file[f"{group}/Catalogue"] = [json.dumps(row).encode() for row in catalogue]
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


def test_ris_layout_takes_axes_out_of_the_rows(tmp_path):
    spectrogram, _ = blobs(12)
    rows = [
        {"network": "XH", "station": "DR01", "channel": "HHZ", "dt_on": "2014-12-02 07:47:16.600"}
    ] * 12
    with open_spectrograms(write_ris(tmp_path / "r.h5", spectrogram, rows)) as file:
        assert (file.layout, file.n_frequencies, file.n_times) == ("ris", 16, 20)
        np.testing.assert_array_equal(file.read(0, 12), spectrogram)
        np.testing.assert_array_equal(file.frequency, np.arange(16) + 3.0)
        np.testing.assert_allclose(file.time, np.arange(20) * 0.04, atol=1e-6)
        assert file.starttimes()[0] == "2014-12-02T07:47:16.600000Z"
        assert file.trace_ids()[0] == "XH.DR01..HHZ"


def test_damaged_block_is_named(tmp_path):
    path = tmp_path / "gz.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "spectrogram", data=blobs(64)[0], chunks=(8, 16, 20), compression="gzip"
        )
        place = file["spectrogram"].id.get_chunk_info(3)
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
    path = write_samples(tmp_path / "a.h5", blobs(3)[0], labels=labels)
    with open_spectrograms(path) as file:
        if isinstance(found, list):
            assert file.labels().tolist() == found
        else:
            with pytest.raises(DataError, match=found):
                file.labels()


@pytest.mark.parametrize("place", ["/", "labels"])
def test_class_names_as_one_text(tmp_path, place):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0], labels=np.array([0, 2, 1]))
    with h5py.File(path, "r+") as file:
        file[place].attrs["class_names"] = '["ice", "sea", "äther"]'
    with open_spectrograms(path) as file:
        assert file.class_names() == ["ice", "sea", "äther"]
        assert file.labels().tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("rutford_icequakes", (2500, 82, 100)), ("pnw", (679, 77, 100)), ("esc10", (400, 80, 100))],
)
def test_real_files(name, shape):
    with open_spectrograms(shared_data(f"{name}.h5")) as file:
        assert (file.n_samples, file.n_frequencies, file.n_times) == shape
        assert np.isfinite(file.read(0, 10)).all()
        assert (np.diff(file.frequency) > 0).all()
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
            assert file.labels() is None


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (["2020-01-01T02:00:00+02:00", "2019-12-31T19:00:01-05:00"], {}),
        (1_577_836_800 * 10**9 + np.arange(2) * 10**9, {"units": "ns"}),
        (np.arange(2), {"units": "seconds since 2020-01-01T05:30:00+05:30"}),
        (np.arange(2) * 1000, {"units": "milliseconds since 2020-01-01"}),
        (np.arange(2), {"units": "s since 2019-12-19", "calendar": "julian"}),
    ],
)
def test_times_of_any_form_are_converted(tmp_path, values, attributes, caplog):
    path = write_samples(tmp_path / "a.h5", blobs(2)[0])
    with h5py.File(path, "a") as file:
        file["starttime"] = values
        file["starttime"].attrs.update(attributes)
    with open_spectrograms(path) as file:
        assert file.starttimes() == ["2020-01-01T00:00:00.000000Z", "2020-01-01T00:00:01.000000Z"]
        assert file.starttimes(1, 2) == ["2020-01-01T00:00:01.000000Z"]
    assert not caplog.messages


def test_times_that_cannot_be_read_are_said_once_with_the_first(tmp_path, caplog):
    texts = [b"2020-01-01T00:00:00Z", b"yesterday", b"2399-01-01T00:00:00Z", b""]
    path = write_samples(tmp_path / "a.h5", blobs(4)[0], starttime=texts)
    with open_spectrograms(path) as file:
        for start in range(4):
            file.starttimes(start, start + 1)
        assert file.starttimes() == ["2020-01-01T00:00:00.000000Z", "", "", ""]
    assert len(caplog.messages) == 1
    assert "/starttime: 2 of 4 are no times" in caplog.text
    assert "(first: 'yesterday')" in caplog.text
    with h5py.File(path, "a") as file:
        del file["starttime"]
        file["starttime"] = np.arange(4)
        file["starttime"].attrs["units"] = "fortnights since 2020-01-01"
    with open_spectrograms(path) as file:
        assert file.starttimes() is None
    assert "unit 'fortnights' is not known" in caplog.messages[-1]
    assert "its times are not used" in caplog.messages[-1]


def test_axes_of_unknown_units(tmp_path, caplog):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0])
    with h5py.File(path, "a") as file:
        file["time"].attrs["units"] = "furlongs"
    with open_spectrograms(path) as file:
        assert (file.time[1], file.time_unit) == (1, "bin")
    assert "unit 'furlongs' is not known" in caplog.text
    with h5py.File(path, "a") as file:
        file["frequency"].attrs["units"] = "furlongs"
    assert "frequency axis is in 'furlongs', which is no known unit" in error_of(path)


def test_a_row_of_the_catalogue_that_is_no_object_is_named(tmp_path):
    path = write_ris(tmp_path / "r.h5", blobs(3)[0], [{"station": "A"}, ["A"], {"station": "A"}])
    with open_spectrograms(path) as file, pytest.raises(DataError, match="that of sample 1 is"):
        file.trace_ids()


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("spectrogram", np.ones((0, 8, 8)), "is empty"),
        ("spectrogram", np.ones((5, 8)), r"it has spectrogram \(5, 8\)"),
        ("spectrogram", np.ones((5, 3, 8)), "3 x 8 .* needs 4 x 4"),
        ("spectrogram", np.ones((2, 4, 4), complex), "allowed: real numbers"),
        ("frequency", np.arange(5), r"has shape \(5,\)"),
        ("frequency", np.zeros(16), "finite and ascending"),
        ("frequency", 3.0, "frequency axis"),
        ("frequency", ["a"] * 16, "frequency axis"),
    ],
)
def test_data_sets_that_do_not_fit(tmp_path, name, values, text):
    path = write_samples(tmp_path / "a.h5", blobs(3)[0])
    with h5py.File(path, "a") as file:
        del file["frequency"], file["time"]
        file.pop(name, None)
        file[name] = values
    with pytest.raises(DataError, match=text):
        open_spectrograms(path)
