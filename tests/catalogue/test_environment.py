import numpy as np
import pytest
from scipy.stats import pearsonr

from RISCluster.catalogue.catalogue import Bins
from RISCluster.catalogue.environment import (
    correlate_at_lags,
    critical,
    effective_pairs,
    read_environment,
)
from RISCluster.errors import DataError


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        (tmp_path / "env.csv").write_text(text)
        return read_environment(tmp_path / "env.csv")

    return from_text


def test_values_averages_and_what_can_not_be_read(read, tmp_path):
    found = read(
        "date,x,y,site\n31.01.2016 12:00,1,2,a\n2016-01-03T00:00Z,3,calm,b\n\n"
        "2016-01-02T00:00Z,5,inf,c\n2016-01-02T00:00Z,7,1,d\n2016-01-04T00:00Z,-9999,,\n"
    )
    assert list(found.series) == ["x", "y"]
    assert found.series["x"].tolist()[:3] == [5, 7, 3]
    assert found.notes[1:] == [
        "'y': 2 cells without a finite number left out, the first in line 3: 'calm'.",
        "Column 'site' holds no number and is left out.",
    ]
    bins = Bins.over(np.datetime64("2016-01-01", "us"), np.datetime64("2016-01-04", "us"), "day")
    np.testing.assert_array_equal(found.averages(bins)[:, 0], [np.nan, 6, 3, np.nan])
    with pytest.raises(DataError, match="env.csv: can't be read as a table: it is empty"):
        read("")
    for text in ("time\n2016-01-01\n", "time,x\n2016-01-01,none\n"):
        with pytest.raises(DataError, match="no column of numbers beside the times"):
            read(text)
    with pytest.raises(DataError, match=r"b.csv: can't be read as a table: .* No such file"):
        read_environment(tmp_path / "b.csv")


# ---- correlation ----


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


def red(n, seed, share=0.6):
    x = noise(n + 100, seed)
    for i in range(1, len(x)):
        x[i] += share * x[i - 1]
    return x[100:]


def test_each_lag_is_pearsons_r():
    x, y = noise(40, 1), 1e6 + noise(40, 2)
    x[[3, 20]], y[[5, 21, 22]] = np.nan, np.nan
    found = correlate_at_lags(x, y, 7)
    assert found.lags.tolist() == list(range(-7, 8))
    for lag, r, n in zip(found.lags, found.r, found.n, strict=True):
        pairs = [(x[t], y[t - lag]) for t in range(40) if 0 <= t - lag < 40]
        pairs = np.array([pair for pair in pairs if np.isfinite(pair).all()])
        assert n == len(pairs)
        assert r == pytest.approx(pearsonr(*pairs.T).statistic, abs=1e-9)


def test_positive_lag_is_a_response_that_follows():
    driver = noise(200)
    response = np.r_[noise(4, 9), driver[:-4]]
    found = correlate_at_lags(response, driver, 10)
    assert found.lags[found.best] == 4
    assert found.r[found.best] == pytest.approx(1)
    assert correlate_at_lags(driver, response, 10).best == 6  # lag -4


def test_too_few_bins_constant_series_and_gaps():
    found = correlate_at_lags(noise(12), noise(12, 1), 30)
    assert found.lags.tolist() == [-2, -1, 0, 1, 2]
    assert np.isfinite(found.r).all()
    for x in (noise(1), noise(9), np.full(30, 7.1), np.full(30, np.nan)):
        assert correlate_at_lags(x, noise(len(x)), 5).best is None


def test_critical_values_and_effective_pairs():
    # Tables of Pearson's r at 5 %, two-sided: 0.632 for 10 pairs, 0.197 for 100 (0.1966).
    assert critical(10, 0.95) == pytest.approx(0.6319, abs=1e-4)
    assert critical(100, 0.95) == pytest.approx(0.1966, abs=1e-4)
    # n = 8, one lag, 7 pairs one apart with products 1 -1 1 -1 1 -1 1: rho(1) = 1 / 7 for both.
    square = np.tile([1.0, 1.0, -1.0, -1.0], 2)
    assert effective_pairs(square, square) == pytest.approx(8 / (1 + 2 / 8 * 7 / 49))


def test_levels_hold_for_unrelated_series():
    passed = np.zeros(3)
    for seed in range(150):
        found = correlate_at_lags(red(120, seed), red(120, 1000 + seed), 12)
        best, level = abs(found.r[found.best]), critical(found.effective, 0.95)
        passed += abs(found.r[12]) > level, best > found.level_searched, best > level
    assert passed[0] <= 16  # 5 % of 150 are 7.5, give or take 2.7
    assert passed[1] <= 16
    assert passed[2] >= 40  # not raised for a search
