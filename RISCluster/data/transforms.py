"""What is done to a spectrogram before the network sees it: whole batches, on any device.

Each of N samples is treated by itself, so the result does not depend on the batch, and its C
components together, so that the ratio of their amplitudes counts.
"""

from dataclasses import dataclass

import torch

LOG_DECADES = 4.0  # below the maximum of a sample; 40 dB of power


def _over(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Samples over one value each, (N,); those of 0 unchanged."""
    values = torch.where(values > 0, values, torch.ones_like(values))
    return x / values.view(-1, *[1] * (x.ndim - 1))


def _normalized(x: torch.Tensor) -> torch.Tensor:
    """Samples over their largest absolute value, so that no sum or square over- or underflows."""
    flat = x.flatten(1)
    return _over(x, torch.maximum(flat.amax(1), -flat.amin(1)))  # no copy is made, as abs would


def _log(x: torch.Tensor) -> torch.Tensor:
    return _normalized(x).clamp_min_(10.0**-LOG_DECADES).log10_().add_(LOG_DECADES)


def _centred(x: torch.Tensor) -> torch.Tensor:
    x = _normalized(x)
    return x - x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1))


def _unit_norm(x: torch.Tensor) -> torch.Tensor:
    x = _normalized(x)
    return _over(x, x.flatten(1).norm(dim=1))


_AMPLITUDES = {"linear": lambda x: x, "sqrt": torch.sqrt, "log": _log}
_TRANSFORMS = {
    "none": lambda x: x,
    "sample_normalization": _normalized,
    "sample_norm_cent": _centred,
    "vec_norm": _unit_norm,
}


@dataclass(frozen=True)
class Preparation:
    """Amplitude, transform, and standardisation by the training set, in this order.

    `mean` is the mean of the training set, (F, T) or (C, F, T), or None; `scale` the standard
    deviation about it over samples and bins. A checkpoint has the fields as plain values.
    """

    amplitude: str
    transform: str
    mean: torch.Tensor | None = None
    scale: float = 1.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Usable samples (finite, not all zero), (N, [C,] F, T), as the network sees them."""
        return self.standardize(_TRANSFORMS[self.transform](_AMPLITUDES[self.amplitude](x)))

    def standardize(self, x: torch.Tensor) -> torch.Tensor:
        """The last step alone: mean and scale, of (..., F, T)."""
        return x if self.mean is None else (x - self.mean.to(x.device)) / self.scale

    def undo_standardize(self, x: torch.Tensor) -> torch.Tensor:
        """From the units of the network back to those after the transform."""
        return x if self.mean is None else x * self.scale + self.mean.to(x.device)
