from collections import Counter

import numpy as np
import pytest
from scipy import signal

from RISCluster.errors import SettingsError
from RISCluster.settings import load_settings
from RISCluster.waveforms.process import Wave
from RISCluster.waveforms.windows import StationDay, cut, make_grid, spectrograms
from tests.waveforms.waves import DAY, MIDNIGHT, RATE, SECOND, eventful, settings


def wave_with(seconds, events, start=MIDNIGHT, edge=100):
    return Wave(start, RATE, eventful(seconds, events).astype(np.float64), edge)


def windows(wave, *words, day=MIDNIGHT):
    """Windows of a day, and how many were left out."""
    counts, grid = Counter(), make_grid(settings(*words).build, RATE)
    return cut(wave, StationDay("", day, RATE, (), 0), grid, counts), counts["edge"]


@pytest.mark.parametrize("trigger", ["recursive", "classic", "z"])
def test_windows_are_centred_on_the_peaks(trigger):
    words = ("build.trigger=z", "build.on=1", "build.off=0.5") if trigger == "z" else ()
    found, n_out = windows(wave_with(120, (30, 60.4, 90)), f"build.trigger={trigger}", *words)
    assert found.peak.tolist() == [1500, 3020, 4500]
    assert found.start.tolist() == [1400, 2920, 4400]
    assert (found.onset <= found.peak).all()
    assert (found.peak <= found.end).all()
    assert n_out == 0


@pytest.mark.parametrize(
    ("seconds", "peaks"), [(4, [1500, 1800, 3000]), (10, [1500, 3000])]
)  # fmt: skip
def test_no_event_begins_in_the_dead_time_of_another(seconds, peaks):
    found, _ = windows(wave_with(120, (30, 36, 60)), f"build.dead_time={seconds}")
    assert found.peak.tolist() == peaks


# The window of the last event reaches 0.5 s over the end, of that before into the taper.
@pytest.mark.parametrize(
    ("events", "edge", "peaks"),
    [((30, 114.5, 118.6), 0, [1500, 5725]), ((30, 117), 100, [1500])],
)
def test_windows_at_edges_are_left_out(events, edge, peaks):
    found, n_out = windows(wave_with(120, events, edge=edge), "build.dead_time=1")
    assert (n_out, found.peak.tolist()) == (1, peaks)


def test_a_detection_belongs_to_the_day_of_its_peak():
    wave = wave_with(120, (30, 60, 90), start=MIDNIGHT - 60 * SECOND)
    assert windows(wave, day=MIDNIGHT - DAY)[0].peak.tolist() == [1500]
    assert windows(wave, day=MIDNIGHT)[0].peak.tolist() == [3000, 4500]


def test_sliding_windows_lie_on_the_grid_of_the_day():
    start = MIDNIGHT + 10 * SECOND + 4_000_000  # 4 ms after a step
    wave = wave_with(60, (), start=start)
    found, n_out = windows(wave, "build.method=slide", "build.step=2.5")
    times = [wave.time(int(sample)) - MIDNIGHT for sample in found.start]
    # Those from 10 s and 67.5 s on need samples beyond the ends, that from 65 s tapered ones.
    assert times[0] == 12.5 * SECOND + 4_000_000
    assert np.diff(times).tolist() == [2.5 * SECOND] * (len(times) - 1)
    assert times[-1] == 62.5 * SECOND + 4_000_000
    assert n_out == 3


def grid_of(*words):
    return make_grid(load_settings(None, words).build, RATE)


def test_the_papers_windows_have_87_by_100_bins():
    grid = grid_of()
    assert (len(grid.rows), len(grid.time)) == (87, 100)
    assert (grid.segment, grid.hop, grid.before, grid.after) == (20, 2, 9, 9)
    assert grid.frequency[[0, -1]].tolist() == [3.125, 19.921875]
    assert grid.time[[0, -1]] == pytest.approx([0.02, 3.98])


LONG = ("build.segment=2", "build.nfft=128", "build.frequencies=none", "build.overlap=0.5")
ODD = ("build.segment=0.42", "build.overlap=0.8", "build.length=4.1", "build.frequencies=none")


@pytest.mark.parametrize("words", [(), LONG, ODD])
def test_scipy_has_the_same(words):
    starts, grid = [50, 101, 150, 1500], grid_of(*words)
    data = np.random.default_rng(0).standard_normal(2000)
    found = spectrograms(grid, data, np.array(starts))
    assert found.dtype == np.float32
    assert found.shape == (len(starts), len(grid.frequency), len(grid.time))
    options = {"nperseg": grid.segment, "noverlap": grid.segment - grid.hop, "detrend": False}
    options |= {"window": ("kaiser", 5.7), "nfft": grid.settings.nfft}
    for image, start in zip(found, starts, strict=True):
        part = data[start - grid.before : start + grid.n_samples + grid.after]
        power = signal.spectrogram(part, RATE, **options)[2]
        np.testing.assert_allclose(image, power[grid.rows], rtol=1e-5)


@pytest.mark.parametrize("word", ["nfft=16", "overlap=0.99", "length=0.3", "frequencies=3-3.5"])
def test_sizes_that_contradict_each_other(word):
    with pytest.raises(SettingsError, match="at 50 Hz a window has .* change length, segment"):
        grid_of(f"build.{word}")
