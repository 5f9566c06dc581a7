"""Samples of three components through the stages and commands that read a set."""

import h5py
import numpy as np

from RISCluster.__main__ import main
from RISCluster.data.layouts import open_spectrograms
from RISCluster.models.checkpoint import load_model
from tests.conftest import blobs, write_samples
from tests.stages.conftest import FAST, column, run_all

N = 90


def test_all_commands(make_settings, tmp_path, capsys):
    """Events of one class, alike but for the component that they are on."""
    rng = np.random.default_rng(1)
    event, on = blobs(3 * N)[0][::3], np.arange(N) % 3
    x = 0.05 * rng.random((N, 3, 16, 20)).astype(np.float32)
    x[np.arange(N), on] += event
    times = [f"2016-01-01T00:{i // 60:02d}:{i % 60:02d}Z".encode() for i in range(N)]
    data = write_samples(tmp_path / "three.h5", x, starttime=times)
    with h5py.File(data, "a") as file:
        file["spectrogram"].attrs["components"] = ["Z", "N", "E"]
        trace = file.create_dataset("trace", data=rng.standard_normal((N, 3, 40)))
        trace.attrs["sampling_rate"] = 20.0
    words = (f"data.file={data}", *FAST, "aec.n_epochs=10", "aec.lr=0.003", "gmm.n_clusters=3")
    folder = run_all(make_settings(*words))
    labels = column(folder / "DEC/labels.csv", "label")
    assert len(set(zip(on.tolist(), labels, strict=True))) == 3, "each class is one cluster"
    model = load_model(folder / "AEC/model.pt", "AEC").model
    assert model.encoder.encoder[0].weight.shape == (8, 3, 3, 3)
    assert main(["info", str(data), "--picture", str(tmp_path / "p.png")]) == 0
    assert "90 of 3 components of 16 x 20" in capsys.readouterr().out
    predict = ["predict", "--run", str(folder), "-o"]
    assert main([*predict, str(tmp_path / "p.csv"), str(data)]) == 0
    assert column(tmp_path / "p.csv", "label") == labels
    late = ["data.after=2016-01-01T00:00:40", "-o", str(tmp_path / "subset.h5")]
    assert main(["subset", str(data), *late]) == 0
    with open_spectrograms(data) as file, open_spectrograms(tmp_path / "subset.h5") as subset:
        assert (subset.components, subset.n_samples) == (("Z", "N", "E"), N - 40)
        np.testing.assert_array_equal(subset.read(0, 3), file.read(40, 43))
    single = write_samples(tmp_path / "one.h5", blobs(20)[0])
    assert main([*predict, str(tmp_path / "s.csv"), str(single)]) == 2
    error = capsys.readouterr().err
    assert "its samples have one component, 16 frequency bins from 1 to 8.5 Hz, " in error
    assert "was trained on Z, N, E, 16 frequency bins" in error
