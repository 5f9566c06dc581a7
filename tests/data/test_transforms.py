import numpy as np
import pytest
import torch

from RISCluster.data.transforms import Preparation, check_sign
from RISCluster.errors import DataError

X = torch.tensor([[[1.0, 4.0], [9.0, 0.0]]])


@pytest.mark.parametrize(
    ("amplitude", "transform", "expected"),
    [
        ("linear", "none", [1, 4, 9, 0]),
        ("sqrt", "none", [1, 2, 3, 0]),
        ("linear", "sample_normalization", [1 / 9, 4 / 9, 1, 0]),
        ("linear", "sample_norm_cent", [-2.5 / 9, 0.5 / 9, 5.5 / 9, -3.5 / 9]),
        ("sqrt", "vec_norm", np.array([1, 2, 3, 0]) / np.sqrt(14)),
        ("log", "none", [4 + np.log10(1 / 9), 4 + np.log10(4 / 9), 4, 0]),
    ],
)
def test_values_by_hand(amplitude, transform, expected):
    prepared = Preparation(amplitude, transform)(X)
    assert prepared.shape == X.shape
    np.testing.assert_allclose(prepared.flatten(), expected, rtol=1e-6, atol=1e-7)


def test_standardize_and_back():
    mean = torch.tensor([[0.5, 1.0], [2.0, 0.0]])
    preparation = Preparation("linear", "none", mean, 2.0)
    prepared = preparation(X)
    np.testing.assert_allclose(prepared.flatten(), [0.25, 1.5, 3.5, 0.0])
    np.testing.assert_allclose(preparation.undo_standardize(prepared), X)


@pytest.mark.parametrize("factor", [1e-30, 1e30, 3e38])
@pytest.mark.parametrize("transform", ["sample_normalization", "sample_norm_cent", "vec_norm"])
def test_scaling_takes_any_amplitude(factor, transform):
    x = torch.rand(3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    x = x / x.amax()
    expected = Preparation("linear", transform)(x.float())
    scaled = Preparation("linear", transform)((x * factor).float())
    np.testing.assert_allclose(scaled, expected, rtol=2e-5, atol=1e-6)


def test_negative_values_need_linear_amplitude():
    x = torch.stack([torch.ones(4, 4), -torch.ones(4, 4)])
    check_sign(x, np.array([5, 8]), "linear", "f.h5")
    with pytest.raises(DataError, match="f.h5: sample 8 has negative values.*amplitude = linear"):
        check_sign(x, np.array([5, 8]), "sqrt", "f.h5")
