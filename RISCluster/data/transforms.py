"""What is done to a spectrogram before the network sees it: whole batches, on any device.

Each of N spectrograms is treated by itself, so the result does not depend on the batch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import DataError

LOG_DECADES = 4.0  # below a sample's maximum; 40 dB of power


def largest_absolute(x: torch.Tensor) -> torch.Tensor:
    """Largest absolute value of each sample, (N, ...) to (N,); NaN and infinity come through."""
    flat = x.flatten(1)
    return torch.maximum(flat.amax(1), -flat.amin(1))  # no copy is made, as abs would


def check_sign(x: torch.Tensor, index: np.ndarray, amplitude: str, path: str) -> None:
    """Refuse negative values where a root or a logarithm is taken, naming the first sample."""
    if amplitude == "linear" or not len(x):
        return
    negative = (x.flatten(1).amin(1) < 0).cpu().numpy()
    if negative.any():
        raise DataError(
            f"{path}: sample {index[negative][0]} has negative values, as decibels have; "
            f"[data] amplitude = {amplitude} needs power or magnitude; set amplitude = linear"
        )


def _peak(x: torch.Tensor) -> torch.Tensor:
    """Largest absolute value of each sample, (N, 1, 1); 1 where a sample is all zero."""
    peak = largest_absolute(x)
    return torch.where(peak > 0, peak, torch.ones_like(peak)).view(-1, 1, 1)


def _log(x: torch.Tensor) -> torch.Tensor:
    return (x / _peak(x)).clamp_min_(10.0**-LOG_DECADES).log10_().add_(LOG_DECADES)


def _centre(x: torch.Tensor) -> torch.Tensor:
    scaled = x / _peak(x)  # first, so that no sum overflows
    return scaled - scaled.flatten(1).mean(1).view(-1, 1, 1)


def _unit_norm(x: torch.Tensor) -> torch.Tensor:
    scaled = x / _peak(x)  # first, so that no square over- or underflows
    norm = scaled.flatten(1).norm(dim=1)
    return scaled.div_(torch.where(norm > 0, norm, torch.ones_like(norm)).view(-1, 1, 1))


_AMPLITUDES = {"linear": lambda x: x, "sqrt": torch.sqrt, "log": _log}
_TRANSFORMS = {
    "none": lambda x: x,
    "sample_normalization": lambda x: x / _peak(x),
    "sample_norm_cent": _centre,
    "vec_norm": _unit_norm,
}


@dataclass(frozen=True)
class Preparation:
    """Amplitude, transform, and standardisation by the training set, in this order.

    `mean` is the mean spectrogram of the training set, (F, T), or None; `scale` the standard
    deviation about it over samples and bins.
    """

    amplitude: str
    transform: str
    mean: torch.Tensor | None = None
    scale: float = 1.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Usable samples (finite, not all zero), (N, F, T) float32, as the network sees them."""
        return self.standardize(_TRANSFORMS[self.transform](_AMPLITUDES[self.amplitude](x)))

    def standardize(self, x: torch.Tensor) -> torch.Tensor:
        """The last step alone: mean and scale, of (..., F, T)."""
        return x if self.mean is None else (x - self.mean.to(x.device)) / self.scale

    def undo_standardize(self, x: torch.Tensor) -> torch.Tensor:
        """From the network's units back to those after the transform."""
        return x if self.mean is None else x * self.scale + self.mean.to(x.device)

    @property
    def plain(self) -> "Preparation":
        """Amplitude and transform alone, without mean and scale of the training set."""
        return Preparation(self.amplitude, self.transform)

    def as_plain(self) -> dict[str, Any]:
        """Values that a checkpoint may hold; `Preparation(**values)` takes them back."""
        return vars(self).copy()
