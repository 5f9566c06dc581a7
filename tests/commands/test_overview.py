import h5py
import numpy as np
import pytest

from RISCluster.commands import overview
from RISCluster.commands.overview import choose, describe, picture, survey
from RISCluster.data.layouts import open_spectrograms
from tests.conftest import blobs, shared_data, write_samples


def text_of(path, train_samples=50_000, **options):
    with open_spectrograms(path, **options) as file:
        return "\n".join(describe(file, survey(file), train_samples))


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name)).split(maxsplit=1)[1]


def known(n=40):
    """Samples of 4 x 5: peak k + 1 in one bin, 0.5 elsewhere."""
    x = np.full((n, 4, 5), 0.5, dtype=np.float32)
    x[:, 1, 2] = np.arange(1, n + 1)
    return x


class TestSurvey:
    def test_unusable_and_negative_samples_are_counted(self, tmp_path, monkeypatch):
        monkeypatch.setattr(overview, "BLOCK", 4)
        x = known()
        x[3, 0, 0], x[4, 0, 0], x[9, 0, 0] = np.nan, np.inf, -np.inf
        x[[6, 7]] = 0
        x[[20, 30, 31], 2, 2] = -1
        with open_spectrograms(write_samples(tmp_path / "x.h5", x)) as file:
            found = survey(file)
        assert found.not_finite == [3, 3]
        assert found.zero == [2, 6]
        assert found.negative == [3, 20]
        assert len(found.measures) == 40 - 5

    def test_measures_are_those_of_each_sample(self, tmp_path):
        with open_spectrograms(write_samples(tmp_path / "x.h5", known())) as file:
            measures = survey(file).measures
        peaks = np.arange(1, 41)
        np.testing.assert_array_equal(measures[:, 0], peaks)
        np.testing.assert_array_equal(measures[:, 1], peaks / 0.5)
        np.testing.assert_array_equal(measures[:, 2], peaks - 0.5)

    def test_a_median_of_zero_is_an_infinite_ratio(self, tmp_path):
        x = np.zeros((5, 4, 5), dtype=np.float32)
        x[:, 0, 0] = 2
        with open_spectrograms(write_samples(tmp_path / "x.h5", x)) as file:
            assert np.isinf(survey(file).measures[:, 1]).all()

    def test_blocks_give_what_the_whole_gives(self, small_file, monkeypatch):
        with open_spectrograms(small_file) as file:
            whole = survey(file)
            monkeypatch.setattr(overview, "BLOCK", 7)
            blocks = survey(file)
        np.testing.assert_array_equal(whole.measures, blocks.measures)
        assert list(whole.traces) == list(blocks.traces)
        np.testing.assert_array_equal(*(np.concatenate(s.times) for s in (whole, blocks)))

    def test_measures_are_bounded(self, tmp_path, monkeypatch):
        monkeypatch.setattr(overview, "MEASURED", 10)
        with open_spectrograms(write_samples(tmp_path / "x.h5", known())) as file:
            measures = survey(file).measures
        np.testing.assert_array_equal(measures[:, 0], np.arange(0, 40, 4) + 1)

    def test_times_and_traces(self, tmp_path):
        times = [b"2016-01-02T00:00:00Z", b"", b"2016-01-01T00:00:00.5Z", b"2016-01-03T00:00:00Z"]
        ids = [b"XH.B..HHZ", b"XH.A..HHZ", b"XH.B..HHZ", b"XH.A..HHZ"]
        path = write_samples(tmp_path / "x.h5", known(4), starttime=times, trace_id=ids)
        text = text_of(path)
        assert line_of(text, "start times").endswith(
            "2016-01-01T00:00:00.500000Z to 2016-01-03T00:00:00.000000Z; 1 sample without"
        )
        assert line_of(text, "traces") == "2: XH.B..HHZ, XH.A..HHZ"

    def test_a_time_years_away_is_apart(self, tmp_path):
        times = [b"2016-01-02T00:00:00Z", b"1980-01-06T00:00:00Z", b"2016-01-03T00:00:00Z"]
        path = write_samples(tmp_path / "x.h5", known(3), starttime=times)
        assert line_of(text_of(path), "start times").endswith(
            "2016-01-02T00:00:00.000000Z to 2016-01-03T00:00:00.000000Z; 1 sample years away, as "
            "of 1980-01-06T00:00:00.000000Z"
        )


class TestText:
    def test_samples(self, small_file):
        text = text_of(small_file, train_samples=50)
        assert line_of(text, "file").endswith("small.h5, layout samples, data set spectrogram")
        assert line_of(text, "samples") == "96 of 16 x 20 (frequency x time), float32"
        assert line_of(text, "frequency") == "1 to 8.5 Hz, step 0.5 Hz"
        assert line_of(text, "time ") == "0 to 1.9 s, step 0.1 s"
        assert line_of(text, "stored").startswith("contiguous, no compression; ")
        assert (
            line_of(text, "traces") == "4: XH.DR00..HHZ, XH.DR01..HHZ, XH.DR02..HHZ, XH.DR03..HHZ"
        )
        assert line_of(text, "classes") == "3: 0 (32), 1 (32), 2 (32)"
        assert line_of(text, "unusable") == "none"
        assert line_of(text, "training").startswith("64 kB of memory for 50 samples")  # 50 16 20 4
        assert "negative" not in text

    def test_compression_classes_and_attributes(self, tmp_path):
        path = tmp_path / "x.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset(
                "spectrogram", data=known(), chunks=(8, 4, 5), compression="gzip", shuffle=True
            )
            data.attrs["units"], data.attrs["nfft"] = "m/s", 256
            file.attrs["source"] = "s" * 300
            labels = file.create_dataset(
                "labels", data=np.r_[np.zeros(30), np.ones(10)].astype(int)
            )
            labels.attrs["class_names"] = ["ice", "sea"]
        text = text_of(path)
        assert line_of(text, "stored").startswith("chunks of 8 x 4 x 5, gzip 4 with shuffle; ")
        assert line_of(text, "amplitude") == "m/s"
        assert line_of(text, "classes") == "2: ice (30), sea (10)"
        assert line_of(text, "frequency") == "0 to 3 bin, step 1 bin"
        assert "  nfft = 256" in text
        assert max(map(len, text.splitlines())) < 140 + len(str(path))

    def test_quantiles(self, tmp_path):
        text = text_of(write_samples(tmp_path / "x.h5", known()))
        assert line_of(text, "peak ").split() == ["1", "2", "20", "38", "40"]
        assert line_of(text, "peak/median").split() == ["2", "4", "40", "76", "80"]

    def test_decibels_have_a_range_and_a_hint(self, tmp_path):
        text = text_of(write_samples(tmp_path / "x.h5", known() - 10))
        assert line_of(text, "largest-least").split()[-1] == "39.5"
        assert "peak/median" not in text
        assert line_of(text, "negative").startswith("40 samples with values below 0 (first: sam")

    def test_uneven_axes(self, tmp_path):
        path = write_samples(tmp_path / "x.h5", known())
        with h5py.File(path, "r+") as file:
            file["frequency"][:] = [1, 2, 4, 8]
            file["time"][:] = [0, 1.01, 2, 3, 4]
        text = text_of(path)
        assert line_of(text, "frequency") == "1 to 8 Hz, steps of 1 to 4 Hz"
        assert line_of(text, "time ") == "0 to 4 s, step about 1 s"

    def test_all_unusable(self, tmp_path):
        text = text_of(write_samples(tmp_path / "x.h5", np.zeros((3, 4, 5), np.float32)))
        assert line_of(text, "unusable") == "3 all zero (first: sample 0)"
        assert "peak" not in text

    def test_cube_and_zarr(self, tmp_path):
        zarr = pytest.importorskip("zarr")
        x = np.random.default_rng(0).random((40, 6, 8)).astype(np.float32)
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("data", data=x, chunks=(10, 6, 8), compression="lzf")
            file["metadata/freq_coords"] = np.arange(8) * 2.0
        group = zarr.open_group(str(tmp_path / "x.zarr"), mode="w")
        group.create_array("data", data=x, chunks=(10, 6, 8))
        hdf5, folder = text_of(tmp_path / "x.h5"), text_of(tmp_path / "x.zarr")
        for text in (hdf5, folder):
            assert line_of(text, "samples") == "60 of 8 x 4 (frequency x time), float32"
            assert line_of(text, "traces").startswith("6: channel 0, channel 1, ")
        assert line_of(hdf5, "frequency") == "0 to 14 Hz, step 2 Hz"
        assert line_of(hdf5, "stored").startswith("chunks of 10 x 6 x 8, lzf; ")
        assert line_of(folder, "stored").startswith("chunks of 10 x 6 x 8, zstd; ")

    def test_icequakes(self):
        text = text_of(shared_data("rutford_icequakes.h5"))
        assert line_of(text, "samples") == "2,500 of 82 x 100 (frequency x time), float32"
        assert line_of(text, "traces") == "16: A000, AS11, AS12, AS13, AS21, ... (R203)"
        assert "2020-01-01T01:00:02.465000Z to 2020-01-01T01:59:58.533000Z" in text


class TestPicture:
    def test_rows_of_classes_or_of_the_file(self, small_file, tmp_path):
        with open_spectrograms(small_file) as file:
            rows = choose(file)
            assert [name for name, _ in rows] == ["0", "1", "2"]
            labels = file.labels()
            assert all(set(labels[row]) == {number} for number, (_, row) in enumerate(rows))
            assert rows[0][1][0] == 0
            assert rows[2][1][-1] == 95
        with open_spectrograms(write_samples(tmp_path / "x.h5", known())) as file:
            assert choose(file)[0] == ("", [0, 3, 7, 10])
            assert choose(file)[-1][1][-1] == 39
        with open_spectrograms(write_samples(tmp_path / "two.h5", known(2))) as file:
            assert choose(file) == [("", [0, 1])]

    def test_panels_hold_the_samples(self, small_file):
        with open_spectrograms(small_file) as file:
            figure = picture(file, choose(file))
            x = file.read(0, 1)[0]
        first = figure.axes[0]
        shown = np.asarray(first.collections[0].get_array()).reshape(x.shape)
        np.testing.assert_allclose(
            shown, np.maximum(np.log10(x / x.max()), -4), rtol=1e-5, atol=1e-6
        )
        assert first.get_title() == "sample 0  XH.DR00..HHZ\n2016-01-01T00:00:00Z"
        assert first.get_ylabel() == "0"
        assert figure.get_supxlabel() == "Time (s)"
        assert figure.get_supylabel() == "Frequency (Hz)"
        assert first.get_ylim() == (0.75, 8.75)
        assert "log10" in figure.axes[-1].get_ylabel()
        assert figure.get_suptitle() == "small.h5: 12 of 96 samples, some of each class"

    def test_decibels_are_drawn_as_they_are(self, tmp_path):
        path = write_samples(tmp_path / "x.h5", known() - 10)
        with open_spectrograms(path) as file:
            figure = picture(file, choose(file))
        shown = np.asarray(figure.axes[0].collections[0].get_array()).reshape(4, 5)
        np.testing.assert_array_equal(shown, known()[0] - 10)
        assert figure.axes[-1].get_ylabel() == "amplitude"

    def test_unusable_samples_are_said_to_be(self, tmp_path):
        x, _ = blobs(3)
        x[0], x[1, 0, 0] = 0, np.nan
        path = write_samples(tmp_path / "x.h5", x)
        with open_spectrograms(path) as file:
            figure = picture(file, choose(file))
            figure.savefig(tmp_path / "x.png")
        assert [text.get_text() for axes in figure.axes[:3] for text in axes.texts] == [
            "unusable",
            "unusable",
        ]

    def test_a_name_with_dollar_signs_is_no_formula(self, tmp_path):
        x, classes = blobs(6)
        path = write_samples(tmp_path / "a$b^$.h5", x, trace_id=[b"$x^$"] * 6, labels=classes)
        with h5py.File(path, "r+") as file:
            file["labels"].attrs["class_names"] = ["$q_$", "$r^$", "s"]
        with open_spectrograms(path) as file:
            picture(file, choose(file)).savefig(tmp_path / "x.png")

    def test_nothing_overlaps(self):
        """Titles stay within the columns of their panels, for long names and times."""
        with open_spectrograms(shared_data("rutford_icequakes.h5")) as file:
            figure = picture(file, choose(file))
        figure.canvas.draw()
        panels = [axes for axes in figure.axes if axes.get_title()]
        assert len(panels) == 12
        for row in (panels[0:4], panels[4:8], panels[8:12]):
            boxes = [axes.title.get_window_extent() for axes in row]
            assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
