"""Fixed features of a spectrogram, which complement the latents that a network learns.

Principal components of the smoothed spectrogram, with a larger weight of quiet frequencies, and of
its modulation spectrum (how fast the amplitude at each frequency varies), which does not depend on
the time of the event in its window. Times of the smoothed spectrograms can be aligned first.

Letters: N samples, C components of a sample, F frequency bins, T time bins, M modulation
frequencies, P principal components, R = C * F rows.
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
ALIGNED_SMOOTHING = 0.02  # standard deviation of the energy over time, fraction of the axis
MIN_RATE = 0.3  # of an aligned axis where there is no energy, over its mean rate
MAX_VARIANCE_RATIO = 0.85  # variance of aligned spectrograms over that of others


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


def energy_sums(n_times: int) -> torch.Tensor:
    """Matrix (T, T) that smooths energies of each time and sums them up to that time."""
    width = ALIGNED_SMOOTHING * n_times
    smooth = gaussian_filter1d(np.eye(n_times), width, axis=0, mode="nearest")
    return torch.from_numpy((np.tri(n_times) @ smooth).astype(np.float32))


def align_times(x: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Resample amplitudes (N, R, T) along time so that their energy arrives at a constant rate.

    Energy is the square of what exceeds the mean of the row; times with none advance at `MIN_RATE`.
    Norms are kept. `sums` is that of `energy_sums`; `torch.cumsum` varies between runs on a GPU.
    """
    n, tiny = x.shape[-1], torch.finfo(x.dtype).tiny
    peak = x.abs().amax(dim=(1, 2), keepdim=True).clamp_min(tiny)
    x = x / peak  # squares overflow and underflow
    energy = (x - x.mean(-1, keepdim=True)).clamp_min(0).square().sum(1)
    arrived = energy @ sums.T
    even = torch.arange(1, n + 1, device=x.device) / n
    share = arrived / arrived[:, -1:].clamp_min(tiny)
    edges = nn.functional.pad((1 - MIN_RATE) * share + MIN_RATE * even, (1, 0))  # 0 to 1
    edges = edges / edges[:, -1:]
    wanted = (even - 0.5 / n).expand(len(x), n).contiguous()
    bins = torch.searchsorted(edges, wanted).clamp(1, n)
    low, high = edges.gather(1, bins - 1), edges.gather(1, bins)
    place = (bins - 1 + (wanted - low) / (high - low)) / n  # in time, 0 to 1
    grid = torch.stack([2 * place - 1, torch.zeros_like(place)], -1)[:, None]
    inputs = x[:, :, None], grid
    y = nn.functional.grid_sample(*inputs, padding_mode="border", align_corners=False)[:, :, 0]
    before, after = (torch.linalg.vector_norm(each, dim=(1, 2), keepdim=True) for each in (x, y))
    return y * (peak * before / after.clamp_min(tiny))


class FixedFeatures(nn.Module):
    """Principal components of smoothed spectrograms and of modulation spectra, set by `fit`.

    Buffers: scaled principal axes `smoothed` (P, R * T) and `modulation` (P, R * M), `centre` (P,)
    of the latter, `mean` (R, T) and `scale` of the standardisation. `aligned` is whether smoothed
    spectrograms have aligned times.
    """

    aligned = False

    def __init__(self, n_rows: int, n_times: int, sizes: FixedFeatureSizes):
        super().__init__()
        n_modulation_bins = n_rows * n_modulations(n_times)
        self.register_buffer("smoothed", torch.zeros(sizes.smoothed, n_rows * n_times))
        self.register_buffer("modulation", torch.zeros(sizes.modulation, n_modulation_bins))
        self.register_buffer("centre", torch.zeros(sizes.modulation))
        self.register_buffer("mean", torch.zeros(n_rows, n_times))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("sums", energy_sums(n_times), persistent=False)

    def get_extra_state(self) -> torch.Tensor:
        """What `state_dict` holds besides buffers: `aligned`."""
        return torch.tensor(self.aligned)

    def _load_from_state_dict(self, state: dict, prefix: str, *rest: object) -> None:
        self.aligned = bool(state.pop(f"{prefix}_extra_state", False))  # none of old files
        super()._load_from_state_dict(state, prefix, *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Components (N, P + P) of standardised spectrograms (N, C, F, T)."""
        with torch.autocast(x.device.type, enabled=False):  # exact under mixed precision too
            x = x.flatten(1, 2).float()
            amplitude = x * self.scale + self.mean
            modulation = modulation_spectrum(amplitude).flatten(1)
            components = modulation @ self.modulation.T - self.centre
            if self.aligned:
                x = (align_times(amplitude, self.sums) - self.mean) / self.scale
            return torch.cat([x.flatten(1) @ self.smoothed.T, components], 1)

    def fit(
        self, x: torch.Tensor, mean: torch.Tensor | None, scale: float, spread: float, seed: int,
        align: bool | str = False,
    ) -> float:  # fmt: skip
        """Compute the principal axes of standardised training samples (N, C, F, T) on the CPU.

        The components of each kind get the root mean square distance `spread` from their mean, so
        that neither dominates distances. The decomposition is randomised (Halko et al. 2011).
        `align` is whether to align times; "auto" does where the variance of the smoothed
        spectrograms, relative to their mean square, falls to less than `MAX_VARIANCE_RATIO` of what
        it was. Returned is that fraction.
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
        amplitude = images * self.scale + self.mean
        shown = torch.cat([align_times(part, self.sums) for part in amplitude.split(256)])
        both = [_relative_variance(f @ each.numpy() @ t.T) for each in (shown, amplitude)]
        ratio = both[0] / both[1] if both[1] else 1.0
        self.aligned = ratio < MAX_VARIANCE_RATIO if align == "auto" else bool(align)
        if self.aligned:
            images = (shown - self.mean) / self.scale
        else:
            shown = amplitude
        smooth = f @ images.numpy() @ t.T
        # Components of the weighted spectrogram are those of two copies of equal variance: itself,
        # and divided by the background, the median amplitude of each frequency. The first alone is
        # dominated by the loudest frequencies of the noise, the second by the quietest.
        rows = shown.numpy().swapaxes(0, 1)
        background = np.array([np.median(row) for row in rows], np.float64)
        mean_amplitude = np.abs(shown.numpy()).mean(dtype=np.float64)
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
        return ratio


def _relative_variance(images: np.ndarray) -> float:
    """Variance of images (N, R, T) over the mean square."""
    images = images / (np.abs(images).max() or 1.0)  # squares of float32 overflow and underflow
    return float(images.var(axis=0).sum() / (np.square(images).sum(axis=(1, 2)).mean() or 1.0))


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
