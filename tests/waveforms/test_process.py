from collections import Counter

import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.waveforms.process import (
    CONSTANT,
    DISAGREE,
    NOT_FINITE,
    Wave,
    detrend,
    join,
    process,
    resample,
    taper,
    with_responses,
)
from RISCluster.waveforms.read import SECOND, import_obspy
from tests.conftest import shared_data
from tests.waveforms.waves import settings

RATE = 10.0
STEP = SECOND // 10


def piece(first, values):
    return Wave(round(first * STEP), RATE, np.asarray(values))


LONG, INSIDE = piece(0, range(8)), piece(3, [3, 4])


@pytest.mark.parametrize(
    ("pieces", "expected", "removed"),
    [
        ([LONG, INSIDE], [(0, [0, 1, 2, 3, 4, 5, 6, 7])], {}),
        (
            [LONG, INSIDE, piece(8, [8])],
            [(0, [0, 1, 2, 3, 4, 5, 6, 7, 8])],
            {},
        ),  # joins the long one
        ([LONG, piece(3, [3, 9])], [(0, [0, 1, 2]), (5, [5, 6, 7])], {DISAGREE: 2}),
        ([piece(0, [0.0, np.nan, 2.0])], [(0, [0]), (2, [2])], {NOT_FINITE: 1}),
        # Less than half a sample off is no gap.
        ([piece(0, [0, 1]), piece(2.4, [2, 3])], [(0, [0, 1, 2, 3])], {}),
        ([piece(0, [0, 1]), piece(2.6, [2, 3])], [(0, [0, 1]), (2.6, [2, 3])], {}),
    ],
)
def test_pieces_within_another_or_beside_it(pieces, expected, removed):
    counts = Counter()
    waves = join(pieces, counts, None)
    assert [(wave.start / STEP, wave.data.tolist()) for wave in waves] == expected
    assert +counts == removed


def test_times_are_those_of_the_files():
    """Pieces at 99.9995 Hz that touch, and one whose start is 0.2 samples late."""
    rate, n = 99.9995, 86_400
    first = Wave(0, rate, np.arange(n))
    second = Wave(first.end, rate, np.arange(n, 2 * n))
    (wave,) = join([first, second], Counter(), None)
    assert (len(wave.data), wave.sampling_rate) == (2 * n, rate)
    assert abs(wave.time(n) - second.start) < 1000
    late = Wave(10 * SECOND + SECOND // 5, 1.0, np.arange(10))
    (wave,) = join([Wave(0, 1.0, np.arange(10)), late], Counter(), None)
    assert wave.end == late.end


def constant(data, seconds=1.0, rate=100.0):
    """Number of samples of runs of one value, and first sample and length of the other waves."""
    removed = Counter()
    waves = join([Wave(0, rate, data)], removed, seconds)
    return removed[CONSTANT], [(round(x.start * rate / SECOND), len(x.data)) for x in waves]


@pytest.mark.parametrize(
    ("offset", "size", "value"), [(5000, 200, 0), (0, 200, 0), (5000, 200, -12345), (0, 0.3, -1e20)]
)
def test_runs_of_one_value_are_gaps(offset, size, value):
    data = offset + size * np.random.default_rng(0).standard_normal(6000)
    data = np.rint(data) if size >= 1 else data
    data[2000:2150] = data[2180:2500] = data[4500:] = value
    _, waves = constant(data)
    # A neighbour may have the same value by chance.
    assert abs(np.array(waves) - [[0, 2000], [2150, 30], [2500, 2000]]).max() <= 1
    assert constant(data, None) == (0, [(0, 6000)])


def test_runs_that_are_measured_stay():
    rng, time = np.random.default_rng(1), np.arange(60_000) / 100
    few_counts = np.rint(0.8 * np.sin(0.3 * time) + 0.1 * rng.standard_normal(len(time)))
    held = np.repeat(rng.standard_normal(300), 200)
    quiet_hours = np.rint(np.where(time < 150, 0.2, 100) * rng.standard_normal(len(time)))
    for data in (few_counts, held, quiet_hours, np.zeros(500)):
        assert constant(data) == (0, [(0, len(data))])
    for name, pattern in (("rutford", "*A000_GHZ.msd"), ("mesetas", "CM.PRA*190000Z*")):
        trace = import_obspy().read(str(shared_data(name) / pattern))[0]
        data = trace.data[: 2**18].astype(float)
        typical = np.median(np.abs(data - np.median(data)))
        for factor in (1 / typical, 0.5, 3, 10, 100):  # of instruments of fewer counts
            counts = np.floor(data / (factor * typical))
            assert constant(counts, 1.0, trace.stats.sampling_rate)[0] == 0


def test_detrend_and_taper():
    time = np.linspace(-1, 1, 5000)
    data = np.random.default_rng(0).standard_normal(5000) + 50 * time + 7
    for kind, order in (("demean", 0), ("linear", 1), (2, 2), (5, 5)):
        found = data + 1000 * time**order
        expected = found - np.polynomial.Polynomial.fit(time, found, order)(time)
        detrend(found, kind)
        np.testing.assert_allclose(found, expected, atol=1e-8)
    ones = np.ones(100)
    taper(ones, 10)
    np.testing.assert_array_equal(ones[10:90], 1)
    np.testing.assert_array_equal(ones, ones[::-1])
    assert (np.diff(ones[:11]) > 0).all()


def resampled(frequency, rate):
    """A sine of a minute at a rate, with 5 s of taper, at 50 Hz."""
    data = np.sin(2 * np.pi * frequency * np.arange(round(60 * rate)) / rate)
    taper(data, round(5 * rate))
    return resample(Wave(123 * SECOND, rate, data), 50.0)


@pytest.mark.parametrize("before", [1000.0, 200.0, 40.0, 100.0003])
def test_resampled_sines_keep_amplitude_phase_and_time_and_are_not_folded_back(before):
    for frequency in (0.5, 10.0, 0.8 * min(before, 50.0) / 2 - 0.5):
        wave = resampled(frequency, before)
        assert (wave.start, wave.sampling_rate) == (123 * SECOND, pytest.approx(50.0, rel=1e-5))
        expected = np.sin(2 * np.pi * frequency * np.arange(500, 2500) / wave.sampling_rate)
        np.testing.assert_allclose(wave.data[500:2500], expected, atol=1e-3)
    for frequency in (25.5, 30.0, 45.0) if before > 50 else ():
        middle = resampled(frequency, before).data[500:-500]
        assert np.sqrt((middle**2).mean()) < 3e-4  # 80 dB down, give or take
    with pytest.raises(DataError, match="build.sampling_rate = 50 can't be had from 100.01 Hz"):
        resampled(1.0, 100.01)


def test_ground_motion_is_what_obspys_steps_give():
    """Amplitude spectra of windows of real data agree to 0.2 % of their maximum."""
    folder, obspy = shared_data("mesetas"), import_obspy()
    trace = obspy.read(str(folder / "CM.PRA*190000Z*"))[0]
    trace.data = trace.data[60_000:120_000].astype(np.float64)
    place = f"build.inventory={folder / 'stations.xml'}"
    words = settings("build.sampling_rate=50", "build.taper=5", place).build
    wave = Wave(trace.stats.starttime.ns, 100.0, trace.data.copy())
    ((wave, response, note),) = with_responses([wave], "CM.PRA.00.HHZ", words)
    assert note == "has only a sensitivity: correct where the response is flat"
    wave = process(wave, words, response)
    trace.detrend("linear").taper(max_percentage=None, max_length=5, type="hann")
    trace.data = trace.data / 625853000.0  # counts s/m, from the file
    trace.resample(50.0, window=None, no_filter=True)
    trace.filter("bandpass", freqmin=3, freqmax=20, corners=4, zerophase=True)
    for first in (5000, 15000, 25000):
        ours, theirs = (
            np.abs(np.fft.rfft(found[first : first + 200] * np.hanning(200)))
            for found in (wave.data, trace.data)
        )
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * theirs.max())
