"""The three stages on a cube, and the map of its clusters."""

import h5py
import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from RISCluster import io
from RISCluster.__main__ import main
from RISCluster.data import cube_file
from RISCluster.data.layouts import open_spectrograms
from RISCluster.report import make_report
from RISCluster.runs import cluster_map
from RISCluster.runs.cluster_map import read_cluster_map, read_means
from RISCluster.runs.run import open_run
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from tests.conftest import blobs
from tests.data.test_cube_file import write_cube
from tests.report.html import Section
from tests.stages.conftest import FAST, refused, run_all, table

N_STEPS, N_CHANNELS, WINDOW = 200, 6, 20
WORDS = ("data.layout=cube", f"cube.window={WINDOW}", f"cube.stride={WINDOW}", "gmm.n_clusters=3")


def write_known(path, truth):
    """A cube whose windows are `blobs` of the classes `truth`; a window of NaN at (3, 2)."""
    spectrogram, classes = blobs(3 * truth.size)
    left = {known: list(np.flatnonzero(classes == known)) for known in range(3)}
    cube = np.empty((N_STEPS, N_CHANNELS, 16), dtype=np.float32)
    for (window, channel), known in np.ndenumerate(truth):
        sample = spectrogram[left[known].pop()]
        cube[window * WINDOW : (window + 1) * WINDOW, channel] = sample.T
    cube[3 * WINDOW + 5, 2] = np.nan
    times = 1.6e9 + 0.5 * np.arange(N_STEPS), "seconds since 1970-01-01T00:00:00Z"
    axes = {"distance": np.arange(6) * 16.8, "frequency": np.arange(16) + 1.0, "time": times}
    return write_cube(path, cube, (40, 2, 16), **axes)


def test_map_of_the_classes(make_settings, monkeypatch, tmp_path, empty_figures):
    monkeypatch.setattr(io, "BLOCK_ROWS", 7)
    monkeypatch.setattr(cube_file, "TILE_BYTES", 40 * 2 * 16 * 4)  # bands of two channels
    monkeypatch.setattr(make_report, "write_report", lambda folder: folder)
    truth = np.add.outer(np.arange(N_STEPS // WINDOW), np.arange(N_CHANNELS)) % 3
    cube = write_known(tmp_path / "c.h5", truth)
    words = (f"data.file={cube}", *WORDS, *FAST, "aec.n_epochs=15", "aec.lr=0.003")
    settings = make_settings(*words, "run.figures=yes")
    folder = run_all(settings)
    for stage in ("GMM", "DEC"):
        with h5py.File(folder / stage / "labels.h5") as file:
            labels, probability = file["label"][:], file["probability"][:]
            np.testing.assert_allclose(file["distance"][:], np.arange(6) * 16.8)
            np.testing.assert_allclose(np.diff(file["time"]), WINDOW * 0.5)
            assert file["time"].attrs["units"] == "seconds since 1970-01-01T00:00:00Z"
        assert (labels[3, 2], probability[3, 2], (labels < 0).sum()) == (-1, 0, 1)
        known = labels >= 0
        pairs = set(zip(truth[known].tolist(), labels[known].tolist(), strict=True))
        assert len(pairs) == 3, "each class is one cluster"
        rows = table(folder / stage / "labels.csv")
        with open_spectrograms(cube, cube=settings.cube) as opened:
            window, channel = opened.place(np.arange(len(rows)))
        assert [int(row["label"]) for row in rows] == labels[window, channel].tolist()
        assert [row["trace_id"] for row in rows] == [f"channel {place}" for place in channel]
    assert (folder / "figures/GMM_map.png").stat().st_size > 5000
    with open_run(folder) as run:
        assert Section("stations", run).context["title"] == "Channels"
    assert rows[0]["starttime"] == "2020-09-13T12:26:40.000000Z"
    predict = ["predict", str(cube), "--run", str(folder), "-o"]
    assert main([*predict, str(tmp_path / "p.csv"), "run.figure_format=svg"]) == 0
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_array_equal(file["label"][:], labels)
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    before = cube.read_bytes()  # the map would replace the file that is labelled
    assert main([*predict, str(cube.with_suffix(".csv")), "--overwrite"]) == 2
    assert cube.read_bytes() == before
    assert "cube.stride was 20, is 10" in refused(run_gmm, make_settings(*words, "cube.stride=10"))
    monkeypatch.setattr(cluster_map, "LARGEST_IMAGE", (5, 2))  # read in steps
    image = read_cluster_map(tmp_path / "p.h5")
    np.testing.assert_array_equal(image.labels, labels[::2, ::3])
    with h5py.File(cube) as file, open_spectrograms(cube, cube=settings.cube) as opened:
        means = file["data"][:].reshape(-1, WINDOW, N_CHANNELS, 16).mean(axis=(1, 3))
        np.testing.assert_allclose(read_means(opened), means[::2, ::3], rtol=1e-5)


def test_a_window_over_channels_tells_slowness_and_one_channel_does_not(tmp_path, make_settings):
    """Bursts that run up or down the fibre at one speed, and are the same on each channel."""
    rng, n, n_steps, n_channels, across = np.random.default_rng(0), 60, 16, 16, 8
    up = rng.random((n, n_channels // across)) < 0.5
    channel, step = np.arange(across), np.arange(n_steps)[:, None]
    cube = rng.exponential(0.05, (n * n_steps, n_channels, 8)).astype("f4")
    for (window, group), is_up in np.ndenumerate(up):
        onset = 4 + rng.integers(0, 3) + (channel if is_up else across - 1 - channel)
        burst = rng.uniform(1, 2) * np.exp(-np.maximum(step - onset, 0) / 2) * (step >= onset)
        rows, columns = slice(window * n_steps, None), slice(group * across, None)
        cube[rows, columns][:n_steps, :across] += burst[..., None]
    write_cube(tmp_path / "c.h5", cube)
    for wide, scores in ((across, (0.8, 1)), (1, (0, 0.1))):
        cut = f"cube.window={n_steps}", f"cube.stride={n_steps}", f"cube.window_channels={wide}"
        words = *FAST, *cut, "data.layout=cube", "gmm.n_clusters=2", f"run.name={wide}"
        words = *words, f"cube.stride_channels={wide}", f"data.file={tmp_path / 'c.h5'}"
        settings = make_settings(*words)
        run_aec(settings)
        run_gmm(settings)
        with h5py.File(settings.run_folder / "GMM/labels.h5") as file:
            labels, middle = file["label"][:], file["channel"][:]
        np.testing.assert_array_equal(middle, np.arange(wide // 2, n_channels, wide))
        truth = np.repeat(up, across // wide, axis=1)
        score = normalized_mutual_info_score(truth.ravel(), labels.ravel())
        assert scores[0] <= score <= scores[1]
