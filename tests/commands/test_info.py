import h5py
import numpy as np

from RISCluster.__main__ import main
from RISCluster.commands import info
from RISCluster.commands.info import describe, picture
from RISCluster.data.layouts import open_spectrograms
from tests.conftest import blobs, write_samples


def opened(path, show):
    with open_spectrograms(path) as file:
        return show(file)


def test_text_picture_and_settings(small_file, here, capsys):
    (here / "mine.ini").write_text(f"[data]\nfile = {small_file}\n")
    assert main(["info", str(small_file), "--no-picture"]) == 0
    assert main(["info", "--config", "mine.ini", "--picture", "new/x.svg"]) == 0
    out = capsys.readouterr().out
    assert "96 of 16 x 20 (frequency x time), float32" in out
    assert out.endswith("figure: new/x.svg\n")
    assert (here / "new/x.svg").read_text().startswith("<?xml")
    with h5py.File("cube.h5", "w") as file:
        file["data"] = np.random.default_rng(0).random((40, 3, 8)).astype(np.float32)
    assert main(["info", str(small_file), "cube.h5", "cube.window=10", "cube.stride=5"]) == 0
    out = capsys.readouterr().out
    assert "21 of 8 x 10 (frequency x time)" in out
    assert "traces        3: channel 0, channel 1, channel 2\n" in out
    assert "start times   none known\n" in out


def test_unusable_samples_times_traces_classes_and_attributes(small_file, here, monkeypatch):
    text = opened(small_file, describe)
    assert text["file"].endswith("small.h5, layout samples, data set spectrogram")
    assert text["frequency"] == "1 to 8.5 Hz, mean step 0.5 Hz"
    assert text["components"] == "one"
    assert text["traces"] == "4: XH.DR00..HHZ, XH.DR01..HHZ, XH.DR02..HHZ, XH.DR03..HHZ"
    assert (text["classes"], text["unusable"]) == ("3: 0 (32), 1 (32), 2 (32)", "none")
    x = np.full((40, 4, 5), 0.5, dtype=np.float32)
    x[[3, 4, 9], 0, 0], x[[6, 7]], x[[20, 30, 31], 2, 2] = (np.nan, np.inf, -np.inf), 0, -1
    times = [b""] * 37 + [b"2016-01-02T00:00:00Z", b"", b"2016-01-01T00:00:00.5Z"]
    path = write_samples(here / "x.h5", x, starttime=times, labels=[0] * 30 + [1] * 10)
    with h5py.File(path, "r+") as file:
        file["spectrogram"].attrs["units"], file["spectrogram"].attrs["nfft"] = "m/s", 256
        file.attrs["source"] = "s" * 300
        file["labels"].attrs["class_names"] = ["ice", "sea"]
    monkeypatch.setattr(info, "COLUMN_ROWS", 4)
    text = opened(path, describe)
    assert text["unusable"] == (
        "3 not finite (first: sample 3), 2 all zero (first: sample 6), 3 with negative values "
        "(first: sample 20)"
    )
    first, last = "2016-01-01T00:00:00.500000Z", "2016-01-02T00:00:00.000000Z"
    assert text["start times"] == f"{first} to {last}, of 2 samples"
    assert (text["amplitude"], text["classes"]) == ("m/s", "2: ice (30), sea (10)")
    assert (text["  nfft"], len(text["  source"])) == (" 256", 101)


def test_picture_of_classes_or_of_samples_over_the_file(small_file, here, monkeypatch):
    with h5py.File(small_file, "r+") as file:
        file["labels"][0], x = 1, file["spectrogram"][62]  # the largest class is 1
    monkeypatch.setattr(info, "N_ROWS", 2)
    figure = opened(small_file, picture)
    third, left = figure.axes[6], figure.axes[4]  # of the second largest class
    shown = np.asarray(third.images[0].get_array()).reshape(x.shape)
    np.testing.assert_allclose(shown, np.maximum(np.log10(x / x.max()), -4), rtol=1e-5, atol=1e-6)
    assert third.get_title() == "sample 62  XH.DR02..HHZ\n2016-01-01T00:01:02Z"
    assert (left.get_ylabel(), left.get_ylim()) == ("2", (0.75, 8.75))
    assert figure.get_suptitle() == "small.h5: 8 of 96 samples"
    path = write_samples(here / "a$b^$.h5", blobs(40)[0], trace_id=[b"$x^$"] * 40)
    figure = opened(path, picture)
    figure.savefig(here / "x.png")  # dollar signs are not parsed as formulas
    titles = [axes.get_title().split()[1] for axes in figure.axes[:12]]
    assert [titles[at] for at in (0, 1, 3, 11)] == ["0", "4", "13", "39"]
