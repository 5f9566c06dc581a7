"""The three stages on a cube, and the map of its clusters."""

import csv

import h5py
import numpy as np
import pytest
import zarr

from RISCluster import io
from RISCluster.__main__ import main
from RISCluster.data import cube_file as cubefile
from RISCluster.data.layouts import open_spectrograms
from RISCluster.errors import RunError
from RISCluster.runs.cluster_map import read_cluster_map, write_cluster_map
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import blobs, write_samples

N_STEPS, N_CHANNELS, WINDOW = 200, 6, 20


def classes_of_the_map():
    """Which of three classes is at (window, channel): one moves over the channels."""
    window, channel = np.mgrid[0 : N_STEPS // WINDOW, 0:N_CHANNELS]
    return (window + channel) % 3


def cube_of_blobs():
    """A cube whose windows are `blobs` of those classes; a window of NaN at (3, 2)."""
    truth = classes_of_the_map()
    spectrogram, classes = blobs(3 * truth.size)
    left = {known: list(np.flatnonzero(classes == known)) for known in range(3)}
    cube = np.empty((N_STEPS, N_CHANNELS, 16), dtype=np.float32)
    for (window, channel), known in np.ndenumerate(truth):
        sample = spectrogram[left[known].pop()]
        cube[window * WINDOW : (window + 1) * WINDOW, channel] = sample.T
    cube[3 * WINDOW + 5, 2] = np.nan
    return cube


@pytest.fixture(scope="module", params=["h5", "zarr"])
def cube(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / f"c.{request.param}"
    root = h5py.File(path, "w") if request.param == "h5" else zarr.open_group(str(path), mode="w")
    create = root.create_dataset if request.param == "h5" else root.create_array
    create("data", data=cube_of_blobs(), chunks=(40, 2, 16))
    create("metadata/loc_coords", data=np.arange(6) * 16.8)
    create("metadata/freq_coords", data=np.arange(16) + 1.0)
    time = create("metadata/time_coords", data=1.6e9 + 0.5 * np.arange(N_STEPS))
    time.attrs["units"] = "seconds since 1970-01-01T00:00:00Z"
    if request.param == "h5":
        root.close()
    return path


WORDS = ("data.layout=cube", f"cube.window={WINDOW}", f"cube.stride={WINDOW}", "gmm.n_clusters=3",
         "aec.n_epochs=25")  # fmt: skip


def test_the_map_shows_the_classes_where_they_are(cube, make_settings, monkeypatch, tmp_path):
    monkeypatch.setattr(io, "BLOCK_ROWS", 7)
    monkeypatch.setattr(cubefile, "TILE_BYTES", 40 * 2 * 16 * 4)  # bands of two channels
    settings = make_settings(f"data.file={cube}", *WORDS, "run.figures=yes")
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)
    truth = classes_of_the_map()
    folder = settings.run_folder
    for stage in ("GMM", "DEC"):
        with h5py.File(folder / stage / "labels.h5") as file:
            labels, probability = file["label"][:], file["probability"][:]
            np.testing.assert_allclose(file["distance"][:], np.arange(6) * 16.8)
            np.testing.assert_allclose(np.diff(file["time"]), WINDOW * 0.5)
            assert file["time"].attrs["units"] == "seconds since 1970-01-01T00:00:00Z"
        assert labels[3, 2] == -1
        assert probability[3, 2] == 0
        known = labels >= 0
        assert known.sum() == truth.size - 1
        pairs = set(zip(truth[known].tolist(), labels[known].tolist(), strict=True))
        assert len(pairs) == 3, "each class is one cluster"
        with (folder / stage / "labels.csv").open() as file:
            rows = list(csv.DictReader(file))
        with open_spectrograms(cube, cube=settings.cube) as opened:
            window, channel = opened.place(np.arange(len(rows)))
        for row, at, place in zip(rows, window, channel, strict=True):
            assert int(row["label"]) == labels[at, place]
            assert row["trace_id"] == f"channel {place}"
        assert (folder / f"figures/{stage}_map.png").stat().st_size > 5000
    assert rows[0]["starttime"] == "2020-09-13T12:26:40.000000Z"
    words = ["predict", str(cube), "--run", str(folder), "-o", str(tmp_path / "p.csv")]
    assert main([*words, "run.figure_format=svg"]) == 0
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_array_equal(file["label"][:], labels)
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    assert not (tmp_path / "p.png").exists()
    copy = tmp_path / "same.h5"
    if cube.suffix == ".h5":
        copy.write_bytes(cube.read_bytes())
        words = ["predict", str(copy), "--run", str(folder), "--overwrite"]
        assert main([*words, "-o", str(tmp_path / "same.csv")]) == 2
        assert copy.read_bytes() == cube.read_bytes(), "the file that is labelled stays"


def test_another_window_is_another_data_set(cube, make_settings):
    words = (f"data.file={cube}", *WORDS, "aec.n_epochs=1")
    run_aec(make_settings(*words))
    with pytest.raises(RunError, match=r"cube.stride was 20, is 10"):
        run_gmm(make_settings(*words, "cube.stride=10"))


def test_settings_of_cubes_do_not_matter_elsewhere(small_file, make_settings, capsys):
    run_aec(make_settings(f"data.file={small_file}"))
    run_aec(make_settings(f"data.file={small_file}", "cube.window=9"))
    assert "done already" in capsys.readouterr().out


def test_map_has_the_samples_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(cubefile, "TILE_BYTES", 40 * 4 * 16 * 4)  # bands of four and of two
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("data", data=cube_of_blobs(), chunks=(40, 2, 16))
    with open_spectrograms(tmp_path / "c.h5") as file:
        index = np.arange(file.n_samples)
        write_cluster_map(tmp_path / "m.h5", file, index.astype(np.int16), index / 1000)
        window, channel = file.place(index)
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["label"][:][window, channel], index)
        np.testing.assert_allclose(file["probability"][:][window, channel], index / 1000)


def test_large_maps_show_the_most_frequent_label_of_a_cell(tmp_path, monkeypatch):
    from RISCluster.runs import cluster_map

    monkeypatch.setattr(cluster_map, "LARGEST_IMAGE", (20, 4))
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["data"] = cube_of_blobs()  # windows of four: 50 x 6
    labels = np.full((50, 6), 2)
    labels[0:3, 0:2] = [[0, 1], [1, 1], [-1, -1]]
    labels[48:, 4:] = [[-1, -1], [-1, 0]]
    labels[3:6, 2:4] = -1
    with open_spectrograms(tmp_path / "c.h5") as file:
        write_cluster_map(tmp_path / "m.h5", file, labels.ravel(), np.ones(labels.size))
    image = read_cluster_map(tmp_path / "m.h5")
    assert image.cell == (3, 2)
    expected = np.full((17, 3), 2)
    expected[0, 0], expected[16, 2], expected[1, 1] = 1, 0, -1
    np.testing.assert_array_equal(image.labels, expected)
    assert (image.time_unit, image.position_unit) == ("time step", "channel")
    np.testing.assert_array_equal(image.time, np.arange(17) * 12.0)


def test_rows_files_have_no_map(tmp_path, make_settings):
    data = write_samples(tmp_path / "s.h5", blobs(60)[0])
    settings = make_settings(f"data.file={data}")
    run_aec(settings)
    run_gmm(settings)
    assert not (settings.run_folder / "GMM/labels.h5").exists()
