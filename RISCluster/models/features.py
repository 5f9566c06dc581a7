"""Fixed features of a spectrogram that stand beside the latents a network learns.

A few learnt latents keep what a decoder needs to draw a spectrogram, and that is not all by which
an expert tells one kind of event from another. Two plain views of the same sample see other things:
principal components of the smoothed spectrogram, in which noise has been averaged away and quiet
frequencies count for more than their amplitudes would let them, and of its modulation spectrum (how
fast the amplitude at each frequency rises and falls), which does not change when the event comes
earlier or later in its window. Noise confuses each in its own way.

Letters: N spectrograms, F frequency bins, T time bins, M modulation frequencies, P components.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from sklearn.decomposition import PCA
from torch import nn

SMOOTHING = 2 / 87, 4 / 100  # standard deviation along frequency and time, shares of the axis
FAINTEST = 0.1  # of the mean amplitude: a background below it counts as this
FASTEST = 4  # modulations of up to 1 / FASTEST cycles a time bin are kept
FEWEST_MODULATIONS = 2  # bins at least: the mean over time, and whether there is more


@dataclass(frozen=True)
class ViewSizes:
    """Components of each view.

    Attributes
    ----------
    smoothed, modulation : int
        0 for a network without views, as the paper's.
    """

    smoothed: int = 0
    modulation: int = 0

    @classmethod
    def possible(cls, wanted: int, n_frequencies: int, n_times: int, n_samples: int) -> "ViewSizes":
        """As many as wanted, or as that many bins and training samples have components."""
        most = min(wanted, n_samples - 1)
        bins = n_frequencies * n_times, n_frequencies * n_modulations(n_times)
        return cls(*(min(most, n) for n in bins))

    @property
    def total(self) -> int:
        """Features that views add to the latents."""
        return self.smoothed + self.modulation


def n_modulations(n_times: int) -> int:
    """Bins of modulation frequency that are kept, M."""
    return max(FEWEST_MODULATIONS, n_times // FASTEST)


def modulation_spectrum(x: torch.Tensor) -> torch.Tensor:
    """Root of the magnitude of the Fourier transform along time: (N, F, T) to (N, F, M).

    The root keeps the mean over time, which is by far the largest, from deciding alone.
    """
    n = n_modulations(x.shape[-1])
    if not len(x):  # a process's share of a small batch, which libraries for transforms refuse
        return x.new_zeros((*x.shape[:-1], n), dtype=torch.float32)
    return torch.fft.rfft(x.float())[..., :n].abs().sqrt()


class Views(nn.Module):
    """Principal components of smoothed spectrograms and of modulation spectra.

    Nothing here is trained with the network: `fit` fills it once the network is trained.

    Parameters
    ----------
    n_frequencies, n_times : int
    sizes : ViewSizes

    Attributes
    ----------
    smoothed : Tensor, (P, F * T)
        Principal axes, smoothed, weighted by frequency and scaled.
    modulation : Tensor, (P, F * M)
        Principal axes, scaled.
    centre : Tensor, (P,)
        Components of the mean modulation spectrum.
    mean, scale : Tensor, (F, T) and scalar
        By which spectrograms were standardised.
    """

    def __init__(self, n_frequencies: int, n_times: int, sizes: ViewSizes):
        super().__init__()
        bins = n_frequencies * n_times, n_frequencies * n_modulations(n_times)
        self.register_buffer("smoothed", torch.zeros(sizes.smoothed, bins[0]))
        self.register_buffer("modulation", torch.zeros(sizes.modulation, bins[1]))
        self.register_buffer("centre", torch.zeros(sizes.modulation))
        self.register_buffer("mean", torch.zeros(n_frequencies, n_times))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Components (N, P + P) of spectrograms (N, 1, F, T) as the network sees them."""
        x = x[:, 0].float()
        modulation = modulation_spectrum(x * self.scale + self.mean).flatten(1)
        return torch.cat(
            [x.flatten(1) @ self.smoothed.T, modulation @ self.modulation.T - self.centre], 1
        )

    def fit(
        self,
        x: torch.Tensor,
        mean: torch.Tensor | None,
        scale: float,
        spread: float,
        seed: int,
    ) -> None:
        """Take the principal axes of training samples.

        Parameters
        ----------
        x : Tensor, (N, 1, F, T)
            As the network sees them, on the CPU.
        mean : Tensor, (F, T), or None
        scale : float
            By which they were standardised.
        spread : float
            Root mean square distance of a sample's components from their mean, that each view is
            given, so that none decides alone who is whose neighbour.
        seed : int
            Of the randomised decomposition (Halko et al. 2011).
        """
        if mean is not None:
            self.mean.copy_(mean)
        self.scale.fill_(scale)
        images = x[:, 0].float()
        f, t = (_smoothing(n, share) for n, share in zip(images.shape[1:], SMOOTHING, strict=True))
        smooth = f @ images.numpy() @ t.T
        amplitude = images * self.scale + self.mean
        weight = _frequency_weights(smooth, _background(amplitude.numpy()))[:, None]
        axes, _ = _principal_axes(weight * smooth, len(self.smoothed), spread, seed)
        # What an axis takes of a smoothed image, the axis times the same matrices takes of the
        # image itself.
        axes = f.T @ (weight * axes.reshape(-1, *images.shape[1:])) @ t
        self.smoothed.copy_(torch.from_numpy(axes.reshape(len(axes), -1)))
        spectra = modulation_spectrum(amplitude).numpy()
        axes, centre = _principal_axes(spectra, len(self.modulation), spread, seed)
        self.modulation.copy_(torch.from_numpy(axes))
        self.centre.copy_(torch.from_numpy(axes @ centre))


def _smoothing(n: int, share: float) -> np.ndarray:
    """Matrix (n, n) that smooths a column of n values by a Gaussian, edges repeated."""
    return gaussian_filter1d(np.eye(n, dtype=np.float32), share * n, axis=0, mode="nearest")


def _background(amplitude: np.ndarray) -> np.ndarray:
    """Median amplitude at each frequency, (F,), of (N, F, T), in units of the mean amplitude."""
    mean = np.abs(amplitude).mean(dtype=np.float64)
    median = np.array([np.median(amplitude[:, f]) for f in range(amplitude.shape[1])], np.float64)
    return np.maximum(median / (mean or 1.0), FAINTEST)


def _frequency_weights(smooth: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Weight of each frequency, (F,), of smoothed spectrograms (N, F, T).

    Components of the weighted spectrogram are those of two copies of it side by side, of equal
    variance: one as it is, and one relative to the background. The first alone would leave it to
    the loudest frequencies of the noise who is whose neighbour, the second to the emptiest.
    """
    variance = smooth.var(axis=0).sum(axis=1)
    relative = variance.sum() / (variance / background**2).sum() if variance.any() else 1.0
    return np.sqrt(1 + relative / background**2).astype(np.float32)


def _principal_axes(
    values: np.ndarray, n: int, spread: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes (P, bins), scaled to give `spread`; the mean (bins,)."""
    flat = values.reshape(len(values), -1)
    if not n or np.ptp(flat, axis=0).max() == 0:  # all the same
        return np.zeros((n, flat.shape[1]), dtype=np.float32), flat[0]
    found = PCA(n, svd_solver="randomized", random_state=seed).fit(flat)
    own = float(np.sqrt(found.explained_variance_.sum()))
    return found.components_ * (spread / own), found.mean_
