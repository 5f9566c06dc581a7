import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.results.selection import Criteria, gap_statistic, select
from RISCluster.training.gmm import fit_kmeans
from tests.training.test_gmm import three_clouds


def row(k, **values):
    base = {"bic": 0.0, "aic": 0.0, "silhouette": 0.0, "inertia": 0.0, "gap": 0.0, "gap_std": 0.0}
    return Criteria(k, **(base | values))


def test_each_criterion_has_its_rule():
    rows = [
        row(2, bic=5, aic=9, silhouette=0.3, gap=1.0, gap_std=0.1),
        row(3, bic=3, aic=4, silhouette=0.6, gap=1.5, gap_std=0.1),
        row(4, bic=4, aic=3, silhouette=0.5, gap=1.55, gap_std=0.1),
        row(5, bic=6, aic=5, silhouette=0.4, gap=1.9, gap_std=0.1),
    ]
    assert select(rows, "bic") == 3
    assert select(rows, "aic") == 4
    assert select(rows, "silhouette") == 3
    assert select(rows, "gap") == 3  # 1.5 >= 1.55 - 0.1, and 1.0 < 1.5 - 0.1


def test_silhouette_without_value():
    with pytest.raises(DataError, match="silhouette has no value for K = 1"):
        select([row(1, silhouette=np.nan)], "silhouette")
    assert select([row(1, silhouette=np.nan), row(2, silhouette=0.1)], "silhouette") == 2


def test_gap_finds_three_clouds_and_none_in_uniform():
    def rows_of(latents):
        rows = []
        for k in range(1, 6):
            gap, std = gap_statistic(latents, k, fit_kmeans(latents, k, 5, 0).inertia_, 0)
            assert std > 0
            rows.append(row(k, gap=gap, gap_std=std))
        return rows

    assert select(rows_of(three_clouds()[0]), "gap") == 3
    assert select(rows_of(np.random.default_rng(0).uniform(size=(300, 2))), "gap") == 1


def test_gap_is_that_of_the_definition():
    # For K = 1 the inertia of n uniform points in a box is known: n * sum(width^2) / 12.
    rng = np.random.default_rng(1)
    latents = rng.uniform(size=(4000, 2)) * [3.0, 1.0]
    inertia = ((latents - latents.mean(0)) ** 2).sum()
    gap, std = gap_statistic(latents, 1, inertia, 0)
    assert gap == pytest.approx(np.log(4000 * 10 / 12) - np.log(inertia), abs=0.02)
    assert 0 < std < 0.05
