import numpy as np
import pytest
from scipy.stats import pearsonr

from RISCluster.catalogue.environment import correlate_at_lags, critical, effective_pairs


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


def red(n, seed, share=0.9):
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
    assert found.at_zero == found.r[7]


def test_positive_lag_is_a_response_that_follows():
    driver = noise(200)
    response = np.r_[noise(4, 9), driver[:-4]]
    found = correlate_at_lags(response, driver, 10)
    assert found.lags[found.best] == 4
    assert found.r[found.best] == pytest.approx(1)
    assert correlate_at_lags(driver, response, 10).best == 6  # lag -4


@pytest.mark.parametrize("n", [1, 9])
def test_too_few_bins(n):
    found = correlate_at_lags(noise(n), noise(n, 1), 3)
    assert found.best is None
    assert np.isnan(found.at_zero)


def test_ten_bins_and_lags_that_leave_them():
    found = correlate_at_lags(noise(12), noise(12, 1), 30)
    assert found.lags.tolist() == [-2, -1, 0, 1, 2]
    assert np.isfinite(found.r).all()


def test_constant_series_and_gaps_alone():
    assert correlate_at_lags(np.full(30, 7.1), noise(30), 5).best is None
    assert correlate_at_lags(np.full(30, np.nan), noise(30), 5).best is None


def test_critical_values():
    # Tables of Pearson's r at 5 %, two-sided: 0.632 for 10 pairs, 0.197 for 100 (0.1966).
    assert critical(10, 0.95) == pytest.approx(0.6319, abs=1e-4)
    assert critical(100, 0.95) == pytest.approx(0.1966, abs=1e-4)


def test_effective_pairs_by_hand():
    # n = 8, one lag, 7 pairs one apart with products 1 -1 1 -1 1 -1 1: rho(1) = 1 / 7 for both.
    square = np.tile([1.0, 1.0, -1.0, -1.0], 2)
    assert effective_pairs(square, square) == pytest.approx(8 / (1 + 2 / 8 * 7 / 49))


def test_levels_hold_for_unrelated_series():
    passed = {"zero": 0, "searched": 0, "not raised": 0}
    for seed in range(150):
        found = correlate_at_lags(red(120, seed, 0.6), red(120, 1000 + seed, 0.6), 12)
        best = abs(found.r[found.best])
        passed["zero"] += abs(found.at_zero) > found.level
        passed["searched"] += best > found.level_searched
        passed["not raised"] += best > found.level
    assert passed["zero"] <= 16  # 5 % of 150 are 7.5, give or take 2.7
    assert passed["searched"] <= 16
    assert passed["not raised"] >= 40
