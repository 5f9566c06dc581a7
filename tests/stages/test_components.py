"""Samples of three components through all commands that read a set."""

import h5py
import numpy as np
import pytest
import torch

from RISCluster.__main__ import main
from RISCluster.data.layouts import open_spectrograms
from RISCluster.models.checkpoint import load_model
from tests.conftest import blobs, write_samples
from tests.stages.conftest import FAST, run_all, table

N = 90


@pytest.fixture
def data(tmp_path):
    """Events of one class, alike but for the component that they are on."""
    rng = np.random.default_rng(1)
    event, on = blobs(3 * N)[0][::3], np.arange(N) % 3
    x = 0.05 * rng.random((N, 3, 16, 20)).astype(np.float32)
    x[np.arange(N), on] += event
    x[7] = 0  # unusable
    times = [f"2016-01-01T00:{i // 60:02d}:{i % 60:02d}Z".encode() for i in range(N)]
    path = write_samples(tmp_path / "three.h5", x, labels=on, starttime=times)
    with h5py.File(path, "a") as file:
        file["spectrogram"].attrs["components"] = ["Z", "N", "E"]
        trace = file.create_dataset("trace", data=rng.standard_normal((N, 3, 40)))
        trace.attrs["sampling_rate"] = 20.0
    return path


def test_all_commands(data, make_settings, tmp_path, capsys):
    words = (f"data.file={data}", *FAST, "aec.n_epochs=10", "aec.lr=0.003", "gmm.n_clusters=3")
    folder = run_all(make_settings(*words))
    labels = np.array([int(row["label"]) for row in table(folder / "DEC/labels.csv")])
    known = labels >= 0
    assert np.flatnonzero(~known).tolist() == [7]
    pairs = set(zip((np.arange(N) % 3)[known].tolist(), labels[known].tolist(), strict=True))
    assert len(pairs) == 3, "each class is one cluster"
    model = load_model(folder / "AEC/model.pt", "AEC").model
    assert model.encoder.encoder[0].weight.shape == (8, 3, 3, 3)
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 16, 20))[0].shape == (2, 3, 16, 20)
    assert main(["info", str(data), "--picture", str(tmp_path / "p.png")]) == 0
    assert "90 of 3 components of 16 x 20" in capsys.readouterr().out
    predict = ["predict", "--run", str(folder), "-o"]
    assert main([*predict, str(tmp_path / "p.csv"), str(data)]) == 0
    assert [int(row["label"]) for row in table(tmp_path / "p.csv")] == labels.tolist()
    single = write_samples(tmp_path / "one.h5", blobs(20)[0])
    assert main([*predict, str(tmp_path / "s.csv"), str(single)]) == 2
    error = capsys.readouterr().err
    assert "its samples have one component, and those that" in error
    assert "was trained on Z, N, E; make the file with the settings of the training set" in error


def test_order_of_axes_and_names(data, tmp_path):
    with open_spectrograms(data) as file:
        assert (file.components, file.shape) == (("Z", "N", "E"), (3, 16, 20))
        expected = file.read(0, 5)
        assert [len(x) for x in (file.frequency, file.time)] == [16, 20]
    other = tmp_path / "other.h5"
    with h5py.File(data) as file, h5py.File(other, "w") as copy:
        copy["x"] = file["spectrogram"][:].transpose(3, 0, 2, 1)
        names = "time", "sample", "frequency", "component"
        for axis, name in zip(copy["x"].dims, names, strict=True):
            axis.label = name
        copy["frequency"], copy["time"] = file["frequency"][:], file["time"][:]
    with open_spectrograms(other) as file:
        assert file.components == ("1", "2", "3")
        np.testing.assert_array_equal(file.read(0, 5), expected)
    with h5py.File(data) as file, h5py.File(other, "w") as copy:
        copy["spectrogram"] = file["spectrogram"][:, :1]
    with open_spectrograms(other) as file:  # a single one is as none
        assert (file.components, file.shape) == (("",), (16, 20))
        np.testing.assert_array_equal(file.read(0, 5), expected[:, 0])


def test_sets_of_files_and_subsets(data, tmp_path, capsys):
    words = ["data.after=2016-01-01T00:00:40", "-o", str(tmp_path / "subset.h5")]
    assert main(["subset", str(data), *words]) == 0
    with open_spectrograms(data) as file, open_spectrograms(tmp_path / "subset.h5") as subset:
        assert (subset.components, subset.n_samples) == (file.components, N - 40)
        np.testing.assert_array_equal(subset.read(0, 3), file.read(40, 43))
        np.testing.assert_allclose(subset.traces([2])[0], file.traces([42])[0], rtol=1e-6)
    single = write_samples(tmp_path / "one.h5", blobs(20)[0])
    assert main(["subset", f"{data},{single}", "-o", str(tmp_path / "x.h5")]) == 2
    assert "files of a set need the same layout, axes, components" in capsys.readouterr().err
