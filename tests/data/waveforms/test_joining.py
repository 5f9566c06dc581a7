from collections import Counter

import numpy as np
import pytest

from RISCluster.data.waveforms.joining import DISAGREE, NOT_FINITE, Wave, join
from RISCluster.data.waveforms.sources import SECOND, obspy_for_reading

RATE = 10.0
STEP = SECOND // 10


def piece(first, values):
    return Wave(first * STEP, RATE, np.asarray(values))


def spans(waves):
    return [(wave.start // STEP, wave.data.tolist()) for wave in waves]


def test_neighbours_join_in_whatever_order():
    found = join([piece(4, [4, 5]), piece(0, [0, 1, 2, 3])])
    assert spans(found) == [(0, [0, 1, 2, 3, 4, 5])]
    assert found[0].data.dtype == np.float64


def test_a_gap_parts_them():
    assert spans(join([piece(0, [0, 1]), piece(3, [3, 4])])) == [(0, [0, 1]), (3, [3, 4])]


def test_overlaps_that_agree_join_and_others_are_gaps():
    assert spans(join([piece(0, [0, 1, 2]), piece(1, [1, 2, 3])])) == [(0, [0, 1, 2, 3])]
    differ = join([piece(0, [0, 1, 2]), piece(1, [1, 9, 3])])
    assert spans(differ) == [(0, [0]), (3, [3])]


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


def test_values_that_are_not_finite_are_gaps():
    found = join([piece(0, [0.0, np.nan, 2.0, np.inf])])
    assert spans(found) == [(0, [0.0]), (2, [2.0])]


@pytest.mark.parametrize("seed", range(20))
def test_two_traces_merge_as_in_obspy(seed):
    obspy = obspy_for_reading()
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
