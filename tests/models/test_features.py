import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA

from RISCluster.models.autoencoder import AEC, NetworkShape, initialise, n_parameters
from RISCluster.models.checkpoint import load_initial_weights
from RISCluster.models.features import (
    SMOOTHING,
    FixedFeatures,
    FixedFeatureSizes,
    modulation_spectrum,
    n_modulations,
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


@pytest.fixture
def fitted():
    x = bursts()
    mean = x.mean(0)[0]
    scale = 0.5
    standard = (x - mean) / scale
    views = FixedFeatures(F, T, SIZES)
    views.fit(standard, mean, scale, spread=2.0, seed=0)
    return views, x, standard


def smoothed(x):
    """Spectrograms (n, 1, f, t) smoothed by a Gaussian, (n, f, t)."""
    widths = (0, SMOOTHING[0] * x.shape[2], SMOOTHING[1] * x.shape[3])
    return gaussian_filter(x[:, 0].numpy(), widths, mode="nearest")


def test_the_first_view_is_of_the_smoothed_spectrogram_and_of_it_over_the_background(fitted):
    views, x, standard = fitted
    z = views(standard)[:, :3].numpy()
    smooth = smoothed(standard)
    background = np.median(x[:, 0].numpy().transpose(0, 2, 1).reshape(-1, F), axis=0)
    copies = [
        copy.reshape(60, -1) / np.sqrt(copy.var(axis=0).sum())
        for copy in (smooth, smooth / background[:, None])
    ]
    expected = PCA(3, svd_solver="full").fit_transform(np.hstack(copies))
    correlation = np.abs(np.corrcoef(z.T, expected.T)[:3, 3:])
    np.testing.assert_allclose(np.diag(correlation), 1, atol=1e-4)


def test_an_event_at_a_quiet_frequency_is_seen_beside_loud_noise():
    rng = np.random.default_rng(0)
    level = np.where(np.arange(F) < 4, 10.0, 0.5)[:, None]  # the noise's, by frequency
    x = level * np.abs(rng.normal(0, 1, (200, 1, F, T)))
    event = np.arange(200) % 2 == 0
    x[event, :, 8:10, 10:30] += 1.0
    x = torch.from_numpy(x.astype(np.float32))
    mean = x.mean(0)[0]
    views = FixedFeatures(F, T, FixedFeatureSizes(1, 1))
    views.fit(x - mean, mean, 1.0, spread=1.0, seed=0)
    z = views(x - mean)[:, 0].numpy()
    assert abs(np.corrcoef(z, event)[0, 1]) > 0.9
    loudest = PCA(1).fit_transform(smoothed(x).reshape(200, -1))[:, 0]
    assert abs(np.corrcoef(loudest, event)[0, 1]) < 0.3  # or there is nothing to see here


def test_a_background_of_nothing_weighs_all_frequencies_alike():
    x = torch.zeros(40, 1, F, T)
    for i in range(40):  # strokes on an empty page
        x[i, :, 3 + i % 5, i % 7 : i % 7 + 5] = 1.0
    views = FixedFeatures(F, T, FixedFeatureSizes(3, 1))
    views.fit(x, None, 1.0, spread=1.0, seed=0)
    expected = PCA(3, svd_solver="full").fit_transform(smoothed(x).reshape(40, -1))
    correlation = np.abs(np.corrcoef(views(x)[:, :3].T.numpy(), expected.T)[:3, 3:])
    np.testing.assert_allclose(np.diag(correlation), 1, atol=1e-4)


def test_smoothing_of_the_axes_is_that_of_the_image_up_to_the_edges():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 1, 90, 60)).astype(np.float32)
    x[:, :, :2] *= rng.uniform(5, 20, (30, 1, 1, 1))  # most of it lies on two edges
    x[:, :, :, -2:] *= rng.uniform(5, 20, (30, 1, 1, 1))
    views = FixedFeatures(90, 60, FixedFeatureSizes(3, 1))
    views.fit(torch.from_numpy(x), None, 1.0, spread=1.0, seed=0)
    smooth = smoothed(torch.from_numpy(x)).reshape(30, -1)
    expected = np.abs(PCA(3, svd_solver="full").fit(smooth).components_ @ smooth.T).T
    z = np.abs(views(torch.from_numpy(x))[:, :3].numpy())
    np.testing.assert_allclose(
        z / np.linalg.norm(z), expected / np.linalg.norm(expected), atol=2e-4
    )


def test_the_second_view_is_of_the_modulation_spectrum(fitted):
    views, x, standard = fitted
    z = views(standard)[:, 3:].numpy()
    spectra = np.sqrt(np.abs(np.fft.rfft(x[:, 0].numpy(), axis=2)[:, :, : T // 4]))
    expected = PCA(2, svd_solver="full").fit_transform(spectra.reshape(60, -1))
    correlation = np.abs(np.corrcoef(z.T, expected.T)[:2, 2:])
    np.testing.assert_allclose(np.diag(correlation), 1, atol=1e-3)


def test_each_view_has_the_spread_asked_for_about_zero(fitted):
    views, _, standard = fitted
    z = views(standard).double()
    for part in (z[:, :3], z[:, 3:]):
        assert float(part.mean(0).abs().max()) < 1e-4
        assert float(part.var(0).sum().sqrt()) == pytest.approx(2.0, rel=1e-3)


def test_a_later_event_has_the_same_modulation_spectrum():
    x = bursts()[:, 0]
    later = torch.roll(x, 5, dims=2)
    assert torch.allclose(modulation_spectrum(x), modulation_spectrum(later), atol=1e-3)
    assert not torch.allclose(modulation_spectrum(x), modulation_spectrum(x.flip(1)), atol=0.1)


def test_a_modulation_spectrum_by_hand():
    x = torch.tensor([[[3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0]]])
    assert n_modulations(8) == 2
    assert torch.allclose(modulation_spectrum(x), torch.tensor([[[4.0, 0.0]]]), atol=1e-3)


@pytest.mark.parametrize(
    ("wanted", "n", "expected"),
    [
        (10, 500, FixedFeatureSizes(10, 8)),
        (10, 6, FixedFeatureSizes(5, 5)),
        (0, 500, FixedFeatureSizes(0, 0)),
    ],
)
def test_no_more_components_than_there_can_be(wanted, n, expected):
    assert FixedFeatureSizes.possible(wanted, 4, 4, n) == expected


def test_samples_without_any_difference_have_no_components():
    views = FixedFeatures(F, T, SIZES)
    x = torch.ones(5, 1, F, T)
    views.fit(x, None, 1.0, 1.0, 0)
    assert torch.isfinite(views(x)).all()
    assert not views(x).any()


def test_views_stand_behind_the_latents_and_change_no_reconstruction():
    plain = AEC(NetworkShape(F, T, 4, "linear"))
    model = AEC(NetworkShape(F, T, 4, "linear", SIZES))
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


def test_a_batch_may_be_empty():
    views = FixedFeatures(F, T, SIZES)
    assert views(torch.zeros(0, 1, F, T)).shape == (0, SIZES.total)


def test_shape_comes_back_from_plain_values():
    shape = NetworkShape(F, T, 4, "relu", SIZES)
    assert NetworkShape.from_plain(shape.as_plain()) == shape
    old = {"n_frequencies": F, "n_times": T, "n_features": 4, "latent_activation": "relu"}
    assert NetworkShape.from_plain(old) == NetworkShape(F, T, 4, "relu", FixedFeatureSizes(0, 0))


def test_initial_weights_leave_views_as_they_are(tmp_path):
    source = AEC(NetworkShape(F, T, 4, "linear"))
    initialise(source, 5)
    torch.save(source.state_dict(), tmp_path / "plain.pt")
    model = AEC(NetworkShape(F, T, 4, "linear", SIZES))
    model.encoder.fixed.fit(bursts(), None, 1.0, 1.0, 0)
    before = model.encoder.fixed.smoothed.clone()
    load_initial_weights(model, tmp_path / "plain.pt")
    assert torch.equal(model.encoder.encoder[0].weight, source.encoder.encoder[0].weight)
    assert torch.equal(model.encoder.fixed.smoothed, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_views_on_a_gpu_agree_with_those_on_a_cpu():
    views = FixedFeatures(F, T, SIZES)
    views.fit(bursts(), None, 1.0, 1.0, 0)
    x = bursts(8, seed=1)
    here = views(x)
    assert torch.allclose(here, views.cuda()(x.cuda()).cpu(), rtol=1e-3, atol=1e-4)
