import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from RISCluster.models.autoencoder import AEC, NetworkShape, initialise, n_parameters
from RISCluster.models.features import (
    SMOOTHING,
    FixedFeatures,
    FixedFeatureSizes,
    modulation_spectrum,
    possible_sizes,
)

F, T = 12, 40
SIZES = FixedFeatureSizes(3, 2)


def bursts(n=60, seed=0):
    """Bursts in one of three bands, at any time, with noise: (n, 1, F, T)."""
    rng = np.random.default_rng(seed)
    x = np.abs(rng.normal(0, 0.1, (n, F, T)))
    for i in range(n):
        band, start = i % 3, rng.integers(4, 28)
        x[i, 4 * band : 4 * band + 3, start : start + 8] += rng.uniform(0.5, 1.5)
    return torch.from_numpy(x[:, None].astype(np.float32))


@pytest.fixture(scope="module")
def fitted():
    x = bursts()
    mean = x.mean(0)[0]
    standard = (x - mean) / 0.5
    features = FixedFeatures(F, T, SIZES)
    features.fit(standard, mean, 0.5, spread=2.0, seed=0)
    return features, x, standard


def smoothed(x):
    """Spectrograms (n, 1, f, t) smoothed by a Gaussian, (n, f, t)."""
    widths = (0, SMOOTHING[0] * x.shape[2], SMOOTHING[1] * x.shape[3])
    return gaussian_filter(x[:, 0].numpy(), widths, mode="nearest")


def assert_components(z, values, atol=1e-4):
    """Features (n, P) are principal components of values, up to sign and scale."""
    n = z.shape[1]
    expected = PCA(n, svd_solver="full").fit_transform(values.reshape(len(values), -1))
    correlation = np.abs(np.corrcoef(z.T, expected.T)[:n, n:])
    np.testing.assert_allclose(np.diag(correlation), 1, atol=atol)


def test_components_of_the_smoothed_spectrogram_and_of_it_over_the_background(fitted):
    features, x, standard = fitted
    smooth = smoothed(standard)
    background = np.median(x[:, 0].numpy().transpose(0, 2, 1).reshape(-1, F), axis=0)
    copies = [
        copy.reshape(60, -1) / np.sqrt(copy.var(axis=0).sum())
        for copy in (smooth, smooth / background[:, None])
    ]
    assert_components(features(standard)[:, :3].numpy(), np.hstack(copies))


def test_components_of_the_modulation_spectrum(fitted):
    features, x, standard = fitted
    spectra = np.sqrt(np.abs(np.fft.rfft(x[:, 0].numpy(), axis=2)[:, :, : T // 4]))
    z = features(standard).double()
    assert_components(z[:, 3:].numpy(), spectra, atol=1e-3)
    for part in (z[:, :3], z[:, 3:]):  # both have the spread that was asked for, about 0
        assert float(part.mean(0).abs().max()) < 1e-4
        assert float(part.var(0).sum().sqrt()) == pytest.approx(2.0, rel=1e-3)


def test_smoothing_repeats_the_edges():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 1, 90, 60)).astype(np.float32)
    x[:, :, :2] *= rng.uniform(5, 20, (30, 1, 1, 1))  # most of it lies on two edges
    x[:, :, :, -2:] *= rng.uniform(5, 20, (30, 1, 1, 1))
    x = torch.from_numpy(x)
    features = FixedFeatures(90, 60, FixedFeatureSizes(3, 1))
    features.fit(x, None, 1.0, spread=1.0, seed=0)
    assert_components(features(x)[:, :3].numpy(), smoothed(x), atol=2e-4)


def test_modulation_spectrum():
    x = torch.tensor([[[3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0]]])
    assert torch.allclose(modulation_spectrum(x), torch.tensor([[[4.0, 0.0]]]), atol=1e-3)
    x = bursts()[:, 0]
    later = torch.roll(x, 5, dims=2)
    assert torch.allclose(modulation_spectrum(x), modulation_spectrum(later), atol=1e-3)
    assert not torch.allclose(modulation_spectrum(x), modulation_spectrum(x.flip(1)), atol=0.1)


@pytest.mark.parametrize(
    ("wanted", "n", "expected"), [(10, 500, (10, 8)), (10, 6, (5, 5)), (0, 500, (0, 0))]
)
def test_no_more_components_than_possible(wanted, n, expected):
    assert possible_sizes(wanted, 4, 4, n) == FixedFeatureSizes(*expected)


def test_equal_samples_and_no_samples():
    features = FixedFeatures(F, T, SIZES)
    x = torch.ones(5, 1, F, T)
    features.fit(x, None, 1.0, 1.0, 0)
    assert not features(x).any()
    assert features(x[:0]).shape == (0, SIZES.total)


def test_fixed_features_follow_the_latents_and_change_no_reconstruction():
    plain, model = (AEC(NetworkShape(F, T, 4, "linear", *more)) for more in ((), (SIZES,)))
    for network in (plain, model):
        initialise(network, 3)
    model.encoder.fixed.fit(bursts(), None, 1.0, 1.0, 0)
    x = bursts(8, seed=1)
    assert n_parameters(model) == n_parameters(plain)
    with torch.no_grad():
        z = model.encoder(x)
        assert z.shape == (8, model.shape.n_latents) == (8, 9)
        assert torch.equal(z[:, :4], plain.encoder(x))
        assert torch.equal(z[:, 4:], model.encoder.fixed(x))
        assert torch.equal(model.decoder(z), plain.decoder(z[:, :4]))
        assert torch.equal(model(x)[0], plain(x)[0])
