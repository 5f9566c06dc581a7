import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from RISCluster.models import features as fixed
from RISCluster.models.autoencoder import AEC, NetworkShape, initialise, n_parameters
from RISCluster.models.features import SMOOTHING, FixedFeatures, FixedFeatureSizes

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


def assert_components(z, values, atol=1e-4):
    """Features (n, P) are principal components of values, up to sign and scale."""
    n = z.shape[1]
    expected = PCA(n, svd_solver="full").fit_transform(values.reshape(len(values), -1))
    correlation = np.abs(np.corrcoef(z.T, expected.T)[:n, n:])
    np.testing.assert_allclose(np.diag(correlation), 1, atol=atol)


def test_components_of_smoothed_spectrograms_and_of_modulation_spectra():
    x = bursts()
    mean = x.mean(0)[0]
    standard, features = (x - mean) / 0.5, FixedFeatures(F, T, SIZES)
    features.fit(standard, mean, 0.5, spread=2.0, seed=0)
    z = features(standard).double()
    # As it is, and over the background of each frequency.
    background = np.median(x[:, 0].numpy().transpose(0, 2, 1).reshape(-1, F), axis=0)
    widths = (0, SMOOTHING[0] * F, SMOOTHING[1] * T)
    smooth = gaussian_filter(standard[:, 0].numpy(), widths, mode="nearest")
    copies = smooth, smooth / background[:, None]
    flat = [copy.reshape(60, -1) / np.sqrt(copy.var(axis=0).sum()) for copy in copies]
    assert_components(z[:, :3].numpy(), np.hstack(flat))
    spectra = np.sqrt(np.abs(np.fft.rfft(x[:, 0].numpy(), axis=2)[:, :, : T // 4]))
    assert_components(z[:, 3:].numpy(), spectra, atol=1e-3)
    for part in (z[:, :3], z[:, 3:]):  # both have the spread that was asked for, about 0
        assert float(part.mean(0).abs().max()) < 1e-4
        assert float(part.var(0).sum().sqrt()) == pytest.approx(2.0, rel=1e-3)


def test_times_are_aligned():
    x, sums = bursts()[:, 0], fixed.energy_sums(T)
    aligned = fixed.align_times(x, sums)
    torch.testing.assert_close(aligned.norm(dim=(1, 2)), x.norm(dim=(1, 2)))
    alike = [np.corrcoef(each[::3].flatten(1).numpy()).mean() for each in (x, aligned)]
    assert alike[0] < 0.5 < 0.8 < alike[1]  # bursts of one band
    halves = aligned[::3, :3, : T // 2].sum((1, 2)) / aligned[::3, :3].sum((1, 2))
    torch.testing.assert_close(halves, torch.full((20,), 0.5), atol=0.2, rtol=0)
    even = torch.eye(10).repeat(1, T // 10)[None]  # the same energy at all times
    for given, expected in ((even, even), (0 * x, 0 * x), (x * 1e25, aligned * 1e25)):
        torch.testing.assert_close(fixed.align_times(given, sums), expected, atol=1e-4, rtol=1e-2)
    assert fixed.align_times(torch.full((1, F, T), torch.nan), sums).isnan().all()


def test_times_are_aligned_where_spectrograms_are_more_alike_then():
    features, x = FixedFeatures(F, T, SIZES), bursts(180)[::3]
    plain = features.fit(x, None, 1.0, 1.0, 0), features(x)
    assert features.fit(torch.rand(60, 1, F, T), None, 1.0, 1.0, 0, "auto") > 0.85
    assert not features.aligned
    assert features.fit(x * 1e-18, None, 1.0, 1.0, 0, "auto") == pytest.approx(plain[0], rel=1e-5)
    assert features.fit(x, None, 1.0, 1.0, 0, "auto") == plain[0] < 0.8
    copy = FixedFeatures(F, T, SIZES)
    copy.load_state_dict({k: v for k, v in features.state_dict().items() if "_extra" not in k})
    assert not copy.aligned
    copy.load_state_dict(features.state_dict())
    assert copy.aligned
    torch.testing.assert_close(copy(x), features(x), rtol=0, atol=0)
    assert torch.equal(copy(x)[:, 3:], plain[1][:, 3:])  # of the modulation
    shown = fixed.align_times(x[:, 0], features.sums).numpy()
    smooth = gaussian_filter(shown, (0, SMOOTHING[0] * F, SMOOTHING[1] * T), mode="nearest")
    background = np.median(shown.transpose(0, 2, 1).reshape(-1, F), axis=0) / shown.mean()
    copies = smooth, smooth / np.maximum(background, 0.1)[:, None]
    flat = [each.reshape(60, -1) / np.sqrt(each.var(axis=0).sum()) for each in copies]
    assert_components(copy(x)[:, :3].double().numpy(), np.hstack(flat))


def test_modulation_spectrum():
    x = torch.tensor([[[3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0]]])
    torch.testing.assert_close(fixed.modulation_spectrum(x), torch.tensor([[[4.0, 0.0]]]))
    x = bursts()[:, 0]
    of_later = fixed.modulation_spectrum(torch.roll(x, 5, dims=2))
    torch.testing.assert_close(fixed.modulation_spectrum(x), of_later, atol=1e-3, rtol=0)


def test_no_more_components_than_possible_and_none_of_equal_samples():
    for wanted, n, expected in ((10, 500, (10, 8)), (10, 6, (5, 5)), (0, 500, (0, 0))):
        assert fixed.possible_sizes(wanted, 4, 4, n) == FixedFeatureSizes(*expected)
    features, x = FixedFeatures(F, T, SIZES), torch.ones(5, 1, F, T)
    features.fit(x, None, 1.0, 1.0, 0)
    assert not features(x).any()
    assert features(x[:0]).shape == (0, 5)


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
        assert torch.equal(z, torch.cat([plain.encoder(x), model.encoder.fixed(x)], 1))
        assert torch.equal(model(x)[0], plain(x)[0])
