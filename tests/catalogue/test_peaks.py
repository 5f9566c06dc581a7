import numpy as np
import pytest

from RISCluster.catalogue import peaks
from RISCluster.catalogue.peaks import measure_peaks, median_error, share_out
from RISCluster.data.layouts import open_spectrograms
from tests.conftest import write_samples


@pytest.fixture
def file(tmp_path):
    """Ten samples of 4 x 5 whose largest value is i - 20, in frequency bin i % 4."""
    x = np.full((10, 4, 5), -100, np.float32)
    for i in range(10):
        x[i, i % 4, i % 5] = i - 20
    with open_spectrograms(write_samples(tmp_path / "x.h5", x)) as opened:
        yield opened


def test_quartiles_by_hand(file):
    labels = np.array([0, 0, 0, 1, -1, 0, 0, -1, -1, 3])
    found = measure_peaks(file, labels, np.array([5, 1, 0, 1]), 0)
    assert found.exact
    assert found.read.tolist() == [5, 1, 0, 1]
    # Cluster 0 has 0, 1, 2, 5, 6 less 20 in bins 0, 1, 2, 1, 2 of 1.0, 1.5, 2.0, 2.5 Hz.
    assert found.amplitude[0].tolist() == [-19, -18, -15]
    assert found.frequency[0].tolist() == [1.5, 1.5, 2.0]
    assert found.amplitude[1].tolist() == [-17] * 3
    assert np.isnan(found.amplitude[2]).all()
    assert found.amplitude_error[[0, 1, 3]].tolist() == [0, 0, 0]


def test_a_sample_where_there_are_many(file, monkeypatch):
    monkeypatch.setattr(peaks, "EXACT", 6)
    labels = np.array([0] * 8 + [1] * 2)
    found = measure_peaks(file, labels, np.array([8, 2]), 1)
    assert not found.exact
    assert found.read.tolist() == [4, 2]
    assert found.amplitude[1].tolist() == [-11.75, -11.5, -11.25]  # all of it
    assert found.amplitude_error[0] > 0 == found.amplitude_error[1]
    assert share_out(np.array([3, 100, 0, 50]), 21).tolist() == [3, 9, 0, 9]
    assert share_out(np.array([3, 4]), 100).tolist() == [3, 4]


def test_error_of_a_median():
    # Of 0..15 the order statistics one standard error (2 ranks) away are 6 and 9.
    assert median_error(np.arange(16.0), 10**12) == pytest.approx(1.5)
    assert median_error(np.arange(16.0), 32) == pytest.approx(1.5 * np.sqrt(0.5))
    assert median_error(np.arange(16.0), 16) == 0
    assert np.isnan(median_error(np.arange(3.0), 9))
