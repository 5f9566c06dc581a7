import numpy as np
import pytest

from RISCluster.catalogue import peaks
from RISCluster.catalogue.peaks import (
    draw_members,
    largest_value,
    measure_peaks,
    median_error,
    share_out,
)
from RISCluster.data.layouts import open_spectrograms
from tests.conftest import write_samples


@pytest.fixture
def file(tmp_path):
    """Ten samples of 4 x 5 whose largest value is 10 + i, in frequency bin i % 4."""
    x = np.zeros((10, 4, 5), np.float32)
    for i in range(10):
        x[i, i % 4, i % 5] = 10 + i
    with open_spectrograms(write_samples(tmp_path / "x.h5", x)) as opened:
        yield opened


def test_largest_value_and_its_frequency():
    x = np.zeros((2, 3, 4))
    x[0, 2, 1], x[1, 0, 3] = 7, 5
    values, bins = largest_value(x)
    assert (values.tolist(), bins.tolist()) == ([7, 5], [2, 0])
    assert largest_value(-1 - x)[0].tolist() == [-1, -1]  # decibels may all be below 0


def test_quartiles_by_hand(file):
    labels = np.array([0, 0, 0, 1, -1, 0, 0, -1, -1, 3])
    found = measure_peaks(file, labels, np.array([5, 1, 0, 1]), 0)
    assert found.exact
    assert found.read.tolist() == [5, 1, 0, 1]
    # Cluster 0 has 10, 11, 12, 15, 16 in bins 0, 1, 2, 1, 2 of 1.0, 1.5, 2.0, 2.5 Hz.
    assert found.amplitude[0].tolist() == [11, 12, 15]
    assert found.frequency[0].tolist() == [1.5, 1.5, 2.0]
    assert found.amplitude[1].tolist() == [13] * 3
    assert np.isnan(found.amplitude[2]).all()
    assert found.amplitude_error[[0, 1, 3]].tolist() == [0, 0, 0]


def test_a_sample_where_there_are_many(file, monkeypatch):
    monkeypatch.setattr(peaks, "EXACT", 6)
    labels = np.array([0] * 8 + [1] * 2)
    found = measure_peaks(file, labels, np.array([8, 2]), 1)
    assert not found.exact
    assert found.read.tolist() == [4, 2]
    assert found.amplitude[1].tolist() == [18.25, 18.5, 18.75]  # all of it
    assert found.amplitude_error[0] > 0 == found.amplitude_error[1]
    again = measure_peaks(file, labels, np.array([8, 2]), 1)
    assert np.array_equal(found.amplitude, again.amplitude)


def test_shares():
    assert share_out(np.array([3, 100, 0, 50]), 21).tolist() == [3, 9, 0, 9]
    assert share_out(np.array([3, 4]), 100).tolist() == [3, 4]
    labels = np.array([1, 0, 1, -1, 1, 1])
    drawn = draw_members(labels, np.array([1, 2]), 0)
    assert (np.diff(drawn) > 0).all()
    assert sorted(labels[drawn].tolist()) == [0, 1, 1]


def test_error_of_a_median():
    # Of 0..15 the order statistics one standard error (2 ranks) away are 6 and 9.
    assert median_error(np.arange(16.0), 10**12) == pytest.approx(1.5)
    assert median_error(np.arange(16.0), 32) == pytest.approx(1.5 * np.sqrt(0.5))
    assert median_error(np.arange(16.0), 16) == 0
    assert np.isnan(median_error(np.arange(3.0), 9))
