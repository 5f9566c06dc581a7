from collections import Counter

import numpy as np
import pytest

from RISCluster.waveforms.joining import (
    CONSTANT,
    DISAGREE,
    NOT_FINITE,
    Wave,
    constant_runs,
    join,
    without_marks,
)
from RISCluster.waveforms.read import SECOND, import_obspy
from tests.conftest import shared_data

RATE = 10.0
STEP = SECOND // 10


def piece(first, values):
    return Wave(first * STEP, RATE, np.asarray(values))


def spans(waves):
    return [(wave.start // STEP, wave.data.tolist()) for wave in waves]


def test_a_piece_within_another():
    long = piece(0, range(8))
    assert spans(join([long, piece(3, [3, 4])])) == [(0, list(range(8)))]
    assert spans(join([long, piece(3, [3, 9])])) == [(0, [0, 1, 2]), (5, [5, 6, 7])]
    # What follows the long one still joins it.
    assert spans(join([long, piece(3, [3, 4]), piece(8, [8])])) == [(0, list(range(9)))]


def test_less_than_half_a_sample_off_is_no_gap():
    late = Wave(2 * STEP + STEP // 3, RATE, np.array([2, 3]))
    assert spans(join([piece(0, [0, 1]), late])) == [(0, [0, 1, 2, 3])]
    later = Wave(2 * STEP + 2 * STEP // 3, RATE, np.array([2, 3]))
    found = join([piece(0, [0, 1]), later])
    assert [wave.start for wave in found] == [0, later.start]


@pytest.mark.parametrize("seed", range(20))
def test_two_traces_merge_as_in_obspy(seed):
    obspy = import_obspy()
    rng = np.random.default_rng(seed)
    truth = rng.integers(-50, 50, 60)
    pieces, stream = [], obspy.Stream()
    for _ in range(2):
        first = int(rng.integers(0, 40))
        values = truth[first : first + int(rng.integers(2, 20))].astype(np.int32)
        if rng.random() < 0.5:
            values[rng.integers(len(values))] += 1
        pieces.append(piece(first, values))
        trace = obspy.Trace(values.copy(), {"sampling_rate": RATE})
        trace.stats.starttime = obspy.UTCDateTime(ns=first * STEP)
        stream.append(trace)
    expected = [
        (trace.stats.starttime.ns // STEP, trace.data.tolist())
        for trace in stream.merge(method=0).split()
    ]
    assert spans(join(pieces)) == expected


def test_what_is_taken_for_a_gap_is_counted():
    taken_out = Counter()
    join([piece(0, [0, 1, 2, 3]), piece(2, [2, 9, 4])], taken_out)
    assert taken_out == Counter({DISAGREE: 2})
    taken_out = Counter()
    join([piece(0, [0.0, np.nan, 2.0])], taken_out)
    assert taken_out == Counter({NOT_FINITE: 1})


# ---- rates that are rounded ---------------------------------------------------------------------


def test_times_are_those_of_the_files_where_a_rate_is_rounded():
    """A day at 99.9995 Hz is 43 samples shorter at 100 Hz; the next day starts where it ends."""
    n, true = 86_400, 99.9995 / 100
    first = Wave(0, 1.0, np.arange(n), drift=1 / true - 1)
    second = Wave(first.end, 1.0, np.arange(n, 2 * n), drift=1 / true - 1)
    assert first.end == round(n * SECOND / true)
    (wave,) = join([first, second])
    assert len(wave.data) == 2 * n
    assert abs(wave.time(n) - second.start) < 1000
    assert abs(wave.end - second.end) < 1000
    whole = join([Wave(5, 1.0, np.arange(10)), Wave(5 + 10 * SECOND, 1.0, np.arange(10))])[0]
    assert whole.drift == 0


# ---- gaps that are filled -----------------------------------------------------------------------


def level(seconds=60, size=200.0, offset=5000, seed=0):
    rng = np.random.default_rng(seed)
    return np.rint(offset + size * rng.standard_normal(round(100 * seconds)))


@pytest.mark.parametrize(
    ("offset", "size", "value", "n"),
    [
        (5000, 200, 0, 150),
        (0, 200, 0, 150),  # no step that the noise has not
        (0, 2, 0, 1500),  # of few counts
        (0, 200, 77, 150),
        (5000, 200, -12345, 8),
        (0, 0.3, -1e20, 150),
        (5000, 200, 4999, 100),
    ],
)
def test_a_run_of_one_value_is_a_gap(offset, size, value, n):
    data = level(size=size, offset=offset)
    if size < 1:
        data = np.random.default_rng(0).standard_normal(len(data))
    data[2000 : 2000 + n] = value
    data[4500:5900] = value  # less than a second before the end
    found = constant_runs(data, 100.0, 1.0)
    # A neighbour may have the same value by chance.
    assert len(found) == 2
    assert abs(np.array(found) - [[2000, 2000 + n], [4500, 5900]]).max() <= 1
    assert constant_runs(data, 100.0, None) == []
    taken_out = Counter()
    waves = join([Wave(0, 100.0, data)], taken_out, constant=1.0)
    assert len(waves) == 3
    assert list(taken_out)[-1] == f"{CONSTANT} {value:g}"


def test_fills_close_to_each_other_and_at_the_ends():
    data = level()
    for first, last in ((0, 500), (2000, 3000), (3030, 3500), (5800, 6000)):
        data[first:last] = 0
    found = constant_runs(data, 100.0, 1.0)
    assert found == [(0, 500), (2000, 3000), (3030, 3500), (5800, 6000)]


def quiet(kind):
    """Runs of one value that are measured."""
    rng = np.random.default_rng(1)
    time = np.arange(60_000) / 100
    if kind == "few counts":  # long waves below the noise of a count
        return np.rint(0.8 * np.sin(0.3 * time) + 0.1 * rng.standard_normal(len(time)))
    if kind == "hardly a count":
        data = np.zeros(len(time))
        data[rng.integers(0, len(data), 40)] = 1
        return data
    if kind == "a shock in the silence":
        data = np.rint(300 * np.exp(-(time % 200) / 2) * np.sin(40 * time))
        data[5000::900] += 1  # now and then a count
        return np.roll(data, 21_000)
    if kind == "square pulses":
        return np.rint(10 * rng.standard_normal(len(time))) * (time < 300) + np.where(
            time < 300, 0, 5000.0 * (-1) ** (time // 5)
        )
    if kind == "held":
        return np.repeat(rng.standard_normal(300), 200)
    if kind == "clipped with noise":
        data = 5000 * np.sin(0.4 * np.pi * time) + 20 * rng.standard_normal(len(time))
        return np.clip(data, -3000, 3000)
    return np.clip(1000 * np.sin(0.5 * time), -500, 500)  # clipped


KINDS = (
    "few counts",
    "hardly a count",
    "a shock in the silence",
    "square pulses",
    "held",
    "clipped",
    "clipped with noise",
)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_that_are_measured_stay(kind):
    data = quiet(kind)
    longest = np.diff(np.flatnonzero(np.diff(data))).max()
    assert longest >= 100
    assert constant_runs(data, 100.0, 1.0) == []


def test_a_wave_of_one_value_stays_one():
    waves = join([Wave(0, 100.0, np.zeros(500))], constant=1.0)
    assert [len(wave.data) for wave in waves] == [500]


@pytest.mark.parametrize("name", ["rutford/2020001_010000_A000_GHZ.msd", "mesetas"])
def test_real_data_stay(name):
    """At their own gain, and as instruments of ever fewer counts would have them."""
    place = shared_data(name)
    path = place if place.is_file() else sorted(place.rglob("*.mseed"))[0]
    trace = import_obspy().read(str(path))[0]
    data = trace.data[: 2**19].astype(float)
    typical = np.median(np.abs(data - np.median(data)))
    for factor in (1 / typical, 0.5, 1, 3, 10, 30, 100):
        counts = np.floor(data / (factor * typical))
        assert constant_runs(counts, trace.stats.sampling_rate, 1.0) == []


def test_marks_of_missing_samples():
    ints = np.array([1, -(2**31), 3], np.int32)
    np.testing.assert_array_equal(without_marks(ints), [1, np.nan, 3])
    np.testing.assert_array_equal(without_marks(ints.astype(float)), [1, np.nan, 3])
    long = np.array([1, np.iinfo(np.int64).min], np.int64)
    np.testing.assert_array_equal(without_marks(long), [1, np.nan])
    masked = np.ma.masked_array([1, 2], [False, True])
    np.testing.assert_array_equal(without_marks(masked), [1, np.nan])
    clipped = np.array([1, -(2**15)], np.int16)  # what 16 bits can measure
    assert without_marks(clipped) is clipped
