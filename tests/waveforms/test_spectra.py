import numpy as np
import pytest
from scipy import signal

from RISCluster.errors import SettingsError
from RISCluster.settings import load_settings
from RISCluster.waveforms.spectra import make_grid, product_is_faster, spectrograms


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
        scaling="density",
        mode="psd",
    )
    return power[grid.first_row : grid.first_row + grid.n_rows]


def test_the_papers_windows_have_87_by_100_bins():
    grid = grid_of(50.0)
    assert (grid.n_rows, grid.n_columns) == (87, 100)
    assert (grid.segment, grid.hop, grid.before, grid.after) == (20, 2, 9, 9)
    assert grid.frequency[[0, -1]].tolist() == [3.125, 19.921875]
    assert grid.time[[0, -1]] == pytest.approx([0.02, 3.98])


FAST = ("build.segment=2", "build.nfft=128", "build.frequencies=none", "build.overlap=0.5")
ODD = ("build.segment=0.42", "build.overlap=0.8", "build.length=4.1", "build.frequencies=none")


@pytest.mark.parametrize(("words", "product"), [((), True), (FAST, False), (ODD, True)])
def test_scipy_has_the_same(words, product):
    grid = grid_of(50.0, *words)
    assert product_is_faster(grid) == product
    data = np.random.default_rng(0).standard_normal(2000)
    starts = np.array([100, 611, 1500])
    found = spectrograms(grid, data, starts)
    assert found.dtype == np.float32
    assert found.shape == (3, grid.n_rows, grid.n_columns)
    for image, start in zip(found, starts, strict=True):
        np.testing.assert_allclose(image, reference(grid, data, start), rtol=1e-5)


def test_columns_that_windows_share_are_those_of_each_alone():
    grid = grid_of(50.0)
    data = np.random.default_rng(2).standard_normal(3000)
    for starts in (50 + 50 * np.arange(40), np.array([50, 100, 1500, 1550, 2500])):
        together = spectrograms(grid, data, starts)
        alone = [spectrograms(grid, data, starts[[k]])[0] for k in range(len(starts))]
        np.testing.assert_array_equal(together, alone)
    irregular = np.array([50, 101, 150])
    together = spectrograms(grid, data, irregular)
    np.testing.assert_allclose(together[1], reference(grid, data, 101), rtol=1e-5)


def test_power_of_a_sine_and_of_noise():
    grid = grid_of(50.0, "build.frequencies=none", "build.segment=2", "build.nfft=256")
    time = np.arange(2000) / 50
    sine = spectrograms(grid, 3.0 * np.sin(2 * np.pi * 10 * time), np.array([500]))[0]
    assert grid.frequency[sine.mean(axis=1).argmax()] == pytest.approx(10, abs=50 / 256)
    total = sine.sum(axis=0) * 50 / 256
    np.testing.assert_allclose(total, 9 / 2, rtol=0.02)
    noise = np.random.default_rng(3).standard_normal(200_000) * 2.0
    levels = spectrograms(grid, noise, np.arange(200, 190_000, 200))
    assert levels.mean() == pytest.approx(4.0 / 25, rel=0.01)  # variance over the band


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("build.nfft=16", "build.nfft = 16 is less than the 20 samples"),
        ("build.overlap=0.99", "build.overlap = 0.99 leaves no sample"),
        ("build.length=0.3", "longer than a window, build.length = 0.3 s"),
        ("build.segment=0.02", "1 samples at 50 Hz; allowed: 2 or more"),
        ("build.frequencies=3-26", "above the Nyquist frequency, 25 Hz"),
        ("build.frequencies=3-3.5", "2 frequencies x 100 times"),
    ],
)
def test_settings_that_do_not_go_together(word, text):
    with pytest.raises(SettingsError, match=text):
        grid_of(50.0, word)
