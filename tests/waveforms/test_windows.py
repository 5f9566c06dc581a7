from collections import Counter

import numpy as np
import pytest
from scipy import signal

from RISCluster.errors import SettingsError
from RISCluster.settings import load_settings
from RISCluster.waveforms.process import Wave
from RISCluster.waveforms.windows import StationDay, cut, make_grid, spectrograms
from tests.waveforms.waves import MIDNIGHT, RATE, SECOND, eventful, settings


def windows(seconds, events, *words, start=MIDNIGHT, edge=100):
    """Windows of a day in a wave with events, how many were left out, and the wave."""
    wave = Wave(start, RATE, eventful(seconds, events).astype(np.float64), edge)
    counts, words = Counter(), settings(*(f"build.{word}" for word in words)).build
    found = cut(wave, StationDay("", MIDNIGHT, RATE, (), 0), make_grid(words, RATE), counts)
    return found, counts["edge"], wave


@pytest.mark.parametrize("trigger", ["recursive", "classic", "z on=1 off=0.5"])
def test_windows_are_centred_on_the_peaks(trigger):
    found, n_out, _ = windows(120, (30, 60.4, 90), *f"trigger={trigger}".split())
    assert (found.peak.tolist(), n_out) == ([1500, 3020, 4500], 0)
    assert found.start.tolist() == [1400, 2920, 4400]
    assert ((found.onset <= found.peak) & (found.peak <= found.end)).all()


# The window of the event at 118.6 s reaches 0.5 s over the end, that at 117 s into the taper.
@pytest.mark.parametrize(("events", "dead_time", "edge", "peaks", "n"), [
    ((30, 36, 60), 4, 100, [1500, 1800, 3000], 0),
    ((30, 36, 60), 10, 100, [1500, 3000], 0),  # no event begins in the dead time of another
    ((30, 114.5, 118.6), 1, 0, [1500, 5725], 1),
    ((30, 117), 1, 100, [1500], 1),
])  # fmt: skip
def test_windows_that_are_left_out(events, dead_time, edge, peaks, n):
    found, n_out, _ = windows(120, events, f"dead_time={dead_time}", edge=edge)
    assert (found.peak.tolist(), n_out) == (peaks, n)


def test_sliding_windows_lie_on_the_grid_of_the_day():
    start = MIDNIGHT + 10 * SECOND + 4_000_000  # 4 ms after a step
    found, n_out, wave = windows(60, (), "method=slide", "step=2.5", start=start)
    times = [wave.time(int(sample)) - MIDNIGHT - 4_000_000 for sample in found.start]
    # Those from 10 s and 67.5 s on need samples beyond the ends, that from 65 s tapered ones.
    assert times == [round(second * SECOND) for second in np.arange(12.5, 63, 2.5)]
    assert n_out == 3


def grid_of(*words):
    return make_grid(load_settings(None, [f"build.{word}" for word in words]).build, RATE)


def test_the_papers_windows_have_87_by_100_bins():
    grid = grid_of()
    assert (len(grid.rows), len(grid.time)) == (87, 100)
    assert (grid.segment, grid.hop, grid.before, grid.after) == (20, 2, 9, 9)
    assert grid.frequency[[0, -1]].tolist() == [3.125, 19.921875]
    assert grid.time[[0, -1]] == pytest.approx([0.02, 3.98])


LONG = ("segment=2", "nfft=128", "frequencies=none", "overlap=0.5")
ODD = ("segment=0.42", "overlap=0.8", "length=4.1", "frequencies=none")


@pytest.mark.parametrize("words", [(), LONG, ODD])
def test_scipy_has_the_same(words):
    starts, grid = [50, 101, 150, 1500], grid_of(*words)
    data = np.random.default_rng(0).standard_normal(2000)
    found = spectrograms(grid, data, np.array(starts))
    assert (found.dtype, found.shape[1:]) == (np.float32, (len(grid.frequency), len(grid.time)))
    options = {"nperseg": grid.segment, "noverlap": grid.segment - grid.hop, "detrend": False}
    options |= {"window": ("kaiser", 5.7), "nfft": grid.settings.nfft}
    for image, start in zip(found, starts, strict=True):
        part = data[start - grid.before : start + grid.n_samples + grid.after]
        power = signal.spectrogram(part, RATE, **options)[2]
        np.testing.assert_allclose(image, power[grid.rows], rtol=1e-5)


@pytest.mark.parametrize("word", ["nfft=16", "overlap=0.99", "length=0.3", "frequencies=3-3.5"])
def test_sizes_that_contradict_each_other(word):
    with pytest.raises(SettingsError, match="at 50 Hz a window has .* change length, segment"):
        grid_of(word)
