import numpy as np
import pytest
from scipy import signal

from RISCluster.errors import SettingsError
from RISCluster.settings import load_settings
from RISCluster.waveforms.spectra import make_grid, spectrograms


def grid_of(rate, *words):
    return make_grid(load_settings(None, words).build, rate)


def reference(grid, data, start):
    """scipy's spectrogram of the samples that a window's columns need."""
    part = data[start - grid.before : start + grid.n_samples + grid.after]
    _, _, power = signal.spectrogram(
        part,
        fs=grid.sampling_rate,
        window=("kaiser", grid.beta),
        nperseg=grid.segment,
        noverlap=grid.segment - grid.hop,
        nfft=grid.nfft,
        detrend=False,
    )
    return power[grid.first_row : grid.first_row + grid.n_rows]


def test_the_papers_windows_have_87_by_100_bins():
    grid = grid_of(50.0)
    assert (grid.n_rows, grid.n_columns) == (87, 100)
    assert (grid.segment, grid.hop, grid.before, grid.after) == (20, 2, 9, 9)
    assert grid.frequency[[0, -1]].tolist() == [3.125, 19.921875]
    assert grid.time[[0, -1]] == pytest.approx([0.02, 3.98])


LONG = ("build.segment=2", "build.nfft=128", "build.frequencies=none", "build.overlap=0.5")
ODD = ("build.segment=0.42", "build.overlap=0.8", "build.length=4.1", "build.frequencies=none")


@pytest.mark.parametrize("words", [(), LONG, ODD])
@pytest.mark.parametrize("starts", [[100, 611, 1500], [50, 100, 150, 1500], [50, 101, 150]])
def test_scipy_has_the_same(words, starts):
    grid = grid_of(50.0, *words)
    data = np.random.default_rng(0).standard_normal(2000)
    found = spectrograms(grid, data, np.array(starts))
    assert found.dtype == np.float32
    assert found.shape == (len(starts), grid.n_rows, grid.n_columns)
    for image, start in zip(found, starts, strict=True):
        np.testing.assert_allclose(image, reference(grid, data, start), rtol=1e-5)


def test_power_of_a_sine_and_of_noise():
    grid = grid_of(50.0, "build.frequencies=none", "build.segment=2", "build.nfft=256")
    time = np.arange(2000) / 50
    sine = spectrograms(grid, 3.0 * np.sin(2 * np.pi * 10 * time), np.array([500]))[0]
    assert grid.frequency[sine.mean(axis=1).argmax()] == pytest.approx(10, abs=50 / 256)
    np.testing.assert_allclose(sine.sum(axis=0) * 50 / 256, 9 / 2, rtol=0.02)
    noise = np.random.default_rng(3).standard_normal(100_000) * 2.0
    levels = spectrograms(grid, noise, np.arange(200, 90_000, 200))
    assert levels.mean() == pytest.approx(4.0 / 25, rel=0.01)  # variance over the band


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("build.nfft=16", "build.segment = 0.4 s is 20 samples at 50 Hz; .* build.nfft = 16"),
        ("build.overlap=0.99", "build.overlap = 0.99 leaves no sample"),
        ("build.length=0.3", "allowed: from 2 to the 15 samples of build.length"),
        ("build.segment=0.02", "1 samples at 50 Hz; allowed: from 2"),
        ("build.frequencies=3-3.5", "2 frequencies x 100 times"),
    ],
)
def test_settings_that_contradict_each_other(word, text):
    with pytest.raises(SettingsError, match=text):
        grid_of(50.0, word)
