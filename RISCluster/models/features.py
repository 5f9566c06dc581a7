"""Fixed features of a spectrogram, which complement the latents that a network learns.

Principal components of the smoothed spectrogram, with a larger weight of quiet frequencies, and of
its modulation spectrum (how fast the amplitude at each frequency varies), which does not depend on
the time of the event in its window.

Letters: N samples, C components of a sample, F frequency bins, T time bins, M modulation
frequencies, P principal components.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from sklearn.decomposition import PCA
from torch import nn

SMOOTHING = 2 / 87, 4 / 100  # standard deviation along frequency and time, fraction of the axis
MIN_BACKGROUND = 0.1  # of the mean amplitude
MODULATION_BINS = 4  # time bins per modulation frequency: up to 1 / 4 cycles per time bin
MIN_MODULATIONS = 2  # the mean over time, and one more


@dataclass(frozen=True)
class FixedFeatureSizes:
    """Principal components of smoothed and of modulation spectra; 0 in the paper's network."""

    smoothed: int = 0
    modulation: int = 0


def possible_sizes(wanted: int, n_rows: int, n_times: int, n_samples: int) -> FixedFeatureSizes:
    """Components of each kind: as many as wanted, limited by bins and by training samples."""
    bins = n_rows * n_times, n_rows * n_modulations(n_times)
    return FixedFeatureSizes(*(min(wanted, n_samples - 1, n) for n in bins))


def n_modulations(n_times: int) -> int:
    """Modulation frequencies, M."""
    return max(MIN_MODULATIONS, n_times // MODULATION_BINS)


def modulation_spectrum(x: torch.Tensor) -> torch.Tensor:
    """Root of the spectrum along time, (N, F, M) of (N, F, T): the mean gets less weight."""
    n = n_modulations(x.shape[-1])
    if not len(x):  # FFT libraries refuse an empty batch
        return x.new_zeros((*x.shape[:-1], n), dtype=torch.float32)
    return torch.fft.rfft(x.float())[..., :n].abs().sqrt()


class FixedFeatures(nn.Module):
    """Principal components of smoothed spectrograms and of modulation spectra, set by `fit`.

    Buffers: scaled principal axes `smoothed` (P, R * T) and `modulation` (P, R * M) of R = C * F
    rows, `centre` (P,) of the latter, `mean` (R, T) and `scale` of the standardisation.
    """

    def __init__(self, n_rows: int, n_times: int, sizes: FixedFeatureSizes):
        super().__init__()
        n_modulation_bins = n_rows * n_modulations(n_times)
        self.register_buffer("smoothed", torch.zeros(sizes.smoothed, n_rows * n_times))
        self.register_buffer("modulation", torch.zeros(sizes.modulation, n_modulation_bins))
        self.register_buffer("centre", torch.zeros(sizes.modulation))
        self.register_buffer("mean", torch.zeros(n_rows, n_times))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Components (N, P + P) of standardised spectrograms (N, C, F, T)."""
        with torch.autocast(x.device.type, enabled=False):  # exact under mixed precision too
            x = x.flatten(1, 2).float()
            modulation = modulation_spectrum(x * self.scale + self.mean).flatten(1)
            components = modulation @ self.modulation.T - self.centre
            return torch.cat([x.flatten(1) @ self.smoothed.T, components], 1)

    def fit(
        self, x: torch.Tensor, mean: torch.Tensor | None, scale: float, spread: float, seed: int
    ) -> None:
        """Compute the principal axes of standardised training samples (N, C, F, T) on the CPU.

        The components of each kind get the root mean square distance `spread` from their mean, so
        that neither dominates distances. The decomposition is randomised (Halko et al. 2011).
        """
        if mean is not None:
            self.mean.copy_(mean.reshape(self.mean.shape))
        self.scale.fill_(scale)
        images = x.flatten(1, 2).float()
        f, t = (  # Gaussian smoothing as matrices, edges repeated
            gaussian_filter1d(np.eye(n, dtype=np.float32), share * n, axis=0, mode="nearest")
            for n, share in zip(x.shape[2:], SMOOTHING, strict=True)
        )
        f = np.kron(np.eye(x.shape[1], dtype=np.float32), f)  # of each component
        smooth = f @ images.numpy() @ t.T
        amplitude = images * self.scale + self.mean
        # Components of the weighted spectrogram are those of two copies of equal variance: itself,
        # and divided by the background, the median amplitude of each frequency. The first alone is
        # dominated by the loudest frequencies of the noise, the second by the quietest.
        rows = amplitude.numpy().swapaxes(0, 1)
        background = np.array([np.median(row) for row in rows], np.float64)
        mean_amplitude = np.abs(amplitude.numpy()).mean(dtype=np.float64)
        background = np.maximum(background / (mean_amplitude or 1.0), MIN_BACKGROUND)
        variance = smooth.var(axis=0).sum(axis=1)
        relative = variance.sum() / (variance / background**2).sum() if variance.any() else 1.0
        weight = np.sqrt(1 + relative / background**2).astype(np.float32)[:, None]
        axes, _ = _principal_axes(weight * smooth, len(self.smoothed), spread, seed)
        # Projecting the smoothed image equals projecting the image on smoothed axes.
        axes = f.T @ (weight * axes.reshape(-1, *images.shape[1:])) @ t
        self.smoothed.copy_(torch.from_numpy(axes.reshape(len(axes), -1)))
        spectra = modulation_spectrum(amplitude).numpy()
        axes, centre = _principal_axes(spectra, len(self.modulation), spread, seed)
        self.modulation.copy_(torch.from_numpy(axes))
        self.centre.copy_(torch.from_numpy(axes @ centre))


def _principal_axes(
    values: np.ndarray, n: int, spread: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes (P, bins), scaled to give `spread`; the mean (bins,)."""
    flat = values.reshape(len(values), -1)
    if not n or np.ptp(flat, axis=0).max() == 0:  # no difference between samples
        return np.zeros((n, flat.shape[1]), dtype=np.float32), flat[0]
    found = PCA(n, svd_solver="randomized", random_state=seed).fit(flat)
    own = float(np.sqrt(found.explained_variance_.sum()))
    return found.components_ * (spread / own), found.mean_
