import numpy as np
import pytest

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.synthetic import CLASS_NAMES, make_synthetic_set, write_demo


def test_physical_axes_and_columns(tmp_path):
    with open_spectrograms(write_demo(tmp_path / "sub/demo.h5", n_samples=200)) as file:
        assert file.frequency[[0, -1]] == pytest.approx([3.125, 19.92], abs=0.01)
        assert (file.shape, np.diff(file.time)) == ((87, 100), pytest.approx(0.04))
        times = file.column("starttime")
        assert times == sorted(times)
        assert "2016" < times[0] < times[-1] < "2017"
        assert file.class_names() == list(CLASS_NAMES)
        assert np.bincount(file.labels()).tolist() == [25] * 8


def test_classes_are_what_they_are_called():
    samples = make_synthetic_set(400, 20.0, 0)
    power, labels, frequency = (samples[name] for name in ("spectrogram", "labels", "frequency"))
    power = power / power.sum((1, 2), keepdims=True)
    mean = {name: power[labels == label].mean(0) for label, name in enumerate(CLASS_NAMES)}
    peak = {name: frequency[image.argmax(0)] for name, image in mean.items()}
    assert np.ptp(peak["narrow-band tremor"]) < 3
    assert peak["gliding tremor"][90] > peak["gliding tremor"][10] + 6
    assert peak["dispersive arrival"][70] < peak["dispersive arrival"][32] - 5
    assert mean["impulsive burst"].sum(0).argmax() in range(40, 65)
    assert mean["noise"].sum(0).max() < 2 * mean["noise"].sum(0).min()


def test_snr_imbalance_and_seed():
    loud, quiet = (make_synthetic_set(80, snr, 0)["spectrogram"] for snr in (20.0, -10.0))
    contrast = [np.median(x.max((1, 2)) / np.median(x, axis=(1, 2))) for x in (loud, quiet)]
    assert contrast[0] > 3 * contrast[1]
    counts = np.bincount(make_synthetic_set(800, 6.0, 0, imbalance=50)["labels"])
    assert counts[0] / counts[-1] == pytest.approx(50, rel=0.2)
    samples = make_synthetic_set(16, 6.0, 0)
    assert samples["labels"][:8].tolist() == [3, 6, 4, 1, 2, 4, 1, 7]
    assert samples["spectrogram"].sum(dtype=float) == pytest.approx(30094284.93, rel=1e-5)
