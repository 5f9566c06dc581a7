import h5py
import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.commands import info
from RISCluster.commands.info import describe, picture, survey
from RISCluster.data.layouts import open_spectrograms
from tests.conftest import blobs, write_samples

pytestmark = pytest.mark.usefixtures("here")


def lines_of(path):
    """Text about a file, by the name of its line."""
    with open_spectrograms(path) as file:
        lines = describe(file, *survey(file), 50_000)
    return {line[:14].strip(): line[14:] for line in lines}


def drawn(path):
    with open_spectrograms(path) as file:
        return picture(file)


def known(n=40):
    """Samples of 4 x 5: peak k + 1 in one bin, 0.5 elsewhere."""
    x = np.full((n, 4, 5), 0.5, dtype=np.float32)
    x[:, 1, 2] = np.arange(1, n + 1)
    return x


def test_text_picture_and_settings(small_file, here, capsys):
    assert main(["info", str(small_file), "--picture", "new/x.svg"]) == 0
    out = capsys.readouterr().out
    assert "96 of 16 x 20 (frequency x time), float32" in out
    assert out.endswith("figure: new/x.svg\n")
    assert (here / "new/x.svg").read_text().startswith("<?xml")
    (here / "mine.ini").write_text(f"[data]\nfile = {small_file}\ntrain_samples = 50\n")
    assert main(["info", "--config", "mine.ini"]) == 0
    out = capsys.readouterr().out
    assert "0.064 MB of memory for 50 samples" in out
    assert "figure:" not in out
    with h5py.File("cube.h5", "w") as file:
        file["data"] = np.random.default_rng(0).random((40, 3, 8)).astype(np.float32)
    assert main(["info", str(small_file), "cube.h5", "cube.window=10", "cube.stride=5"]) == 0
    assert "21 of 8 x 10 (frequency x time)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["missing.h5"], "DataError: missing.h5: no such file"),
        (["text.h5"], "DataError: text.h5: is neither HDF5 nor Zarr"),
        (["small.h5", "data.dataset=nothing"], "no data set 'nothing'"),
        (["small.h5", "x.h5", "--picture", "x.png"], "--picture is of one file"),
        (["small.h5", "--picture", "small.h5/x.png"], "can't be written"),
        (["small.h5", "--picture", "x.gif"], "x.gif is not allowed; allowed: a name that ends"),
    ],
)
def test_errors_are_one_line(small_file, here, refused, words, text):
    (here / "text.h5").write_text("no HDF5")
    refused(["info", *words], text)


def test_unusable_samples_and_quantiles(here, monkeypatch):
    x = known()
    text = lines_of(write_samples(here / "x.h5", x))
    assert text["peak"] == "minimum 1, 5 % 2, median 20, 95 % 38, maximum 40"
    x[3, 0, 0], x[4, 0, 0], x[9, 0, 0], x[[6, 7]] = np.nan, np.inf, -np.inf, 0
    x[[20, 30, 31], 2, 2] = -1
    monkeypatch.setattr(info, "BLOCK", 4)
    text = lines_of(write_samples(here / "x.h5", x))
    assert text["unusable"] == (
        "3 not finite (first: sample 3), 2 all zero (first: sample 6), 3 with negative values "
        "(first: sample 20)"
    )
    assert text["peak"] == "minimum 1, 5 % 2, median 23, 95 % 39, maximum 40"
    assert "peak" not in lines_of(write_samples(here / "x.h5", np.zeros((3, 4, 5), "f4")))


def test_times_traces_classes_and_attributes(small_file, here):
    text = lines_of(small_file)
    assert text["file"].endswith("small.h5, layout samples, data set spectrogram")
    assert text["frequency"] == "1 to 8.5 Hz, mean step 0.5 Hz"
    assert text["components"] == "one"
    assert text["traces"] == "4: XH.DR00..HHZ, XH.DR01..HHZ, XH.DR02..HHZ, XH.DR03..HHZ"
    assert (text["classes"], text["unusable"]) == ("3: 0 (32), 1 (32), 2 (32)", "none")
    times = [b"2016-01-02T00:00:00Z", b"", b"2016-01-01T00:00:00.5Z", b"", b""]
    path = write_samples(here / "x.h5", known(5), starttime=times, labels=[0, 0, 0, 1, 1])
    with h5py.File(path, "r+") as file:
        file["spectrogram"].attrs["units"], file["spectrogram"].attrs["nfft"] = "m/s", 256
        file.attrs["source"] = "s" * 300
        file["labels"].attrs["class_names"] = ["ice", "sea"]
    text = lines_of(path)
    first, last = "2016-01-01 00:00:00.500000", "2016-01-02 00:00:00"
    assert text["start times"] == f"{first} to {last} UTC, of 2 samples"
    assert (text["amplitude"], text["classes"]) == ("m/s", "2: ice (3), sea (2)")
    assert text["nfft"] == " 256"
    assert max(len(line) for line in text.values()) < 140 + len(str(path))


def test_a_zarr_cube(here):
    zarr = pytest.importorskip("zarr")
    x = np.random.default_rng(0).random((40, 6, 8)).astype(np.float32)
    group = zarr.open_group(str(here / "x.zarr"), mode="w")
    group.create_array("data", data=x, chunks=(10, 6, 8))
    text = lines_of(here / "x.zarr")
    assert text["samples"] == "60 of 8 x 4 (frequency x time), float32"
    assert text["traces"].startswith("6: channel 0, channel 1, ")
    assert text["start times"] == "none known"


def test_picture_of_classes_or_of_samples_over_the_file(small_file, here):
    figure = drawn(small_file)
    with open_spectrograms(small_file) as file:
        x = file.read(0, 1)[0]
    first = figure.axes[0]
    shown = np.asarray(first.images[0].get_array()).reshape(x.shape)
    np.testing.assert_allclose(shown, np.maximum(np.log10(x / x.max()), -4), rtol=1e-5, atol=1e-6)
    assert first.get_title() == "sample 0  XH.DR00..HHZ\n2016-01-01T00:00:00Z"
    assert (first.get_ylabel(), first.get_ylim()) == ("0", (0.75, 8.75))
    assert figure.get_suptitle() == "small.h5: 12 of 96 samples"
    figure = drawn(write_samples(here / "x.h5", known() - 10))  # decibels
    titles = [axes.get_title() for axes in figure.axes[:12]]
    assert [titles[at] for at in (0, 1, 3, 11)] == [f"sample {n}" for n in (0, 4, 13, 39)]
    shown = np.asarray(figure.axes[0].images[0].get_array()).reshape(4, 5)
    np.testing.assert_array_equal(shown, known()[0] - 10)


def test_unusable_samples_and_names_with_dollar_signs(here):
    x, classes = blobs(6)
    x[0], x[1, 0, 0] = 0, np.nan
    figure = drawn(write_samples(here / "a$b^$.h5", x, trace_id=[b"$x^$"] * 6, labels=classes))
    figure.savefig(here / "x.png")  # not parsed as formulas
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("unusable") == 2
