"""The convolutional autoencoder of Jenkins et al. (2021), fitted to any size of spectrogram.

Five convolutions with stride 2, a linear layer to the latent features, and back. At 87 x 100 with
9 features it is the paper's network parameter for parameter. Several components (of ground motion,
or stations of an array) are channels of the first convolution and the last.

Letters: N samples, C components, F frequency bins, T time bins, D latent features, K clusters.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from .assignment import soft_assignment
from .features import FixedFeatures, FixedFeatureSizes

CHANNELS = (8, 16, 32, 64, 128)  # after each convolution
DEPTH = len(CHANNELS)
MAX_SUB_PIXEL = 16  # channels
MEMORY_FORMAT = torch.channels_last  # CPUs and tensor cores need no reordering of it


@dataclass(frozen=True)
class Axis:
    """Sizes of one axis of `n` bins in encoder and decoder."""

    n: int
    encoder_padding: int  # of the last convolution; the others have 1
    smallest: int  # bins after the last convolution
    decoder_padding: tuple[int, ...]  # of each transposed convolution
    crop: int  # bins cut off at the start of the decoder's output; then all beyond `n` are cut


def axis_geometry(n: int) -> Axis:
    """Geometry of an axis of `n` bins, 4 or more.

    A convolution halves a size, rounding up; the last one rounds an odd size down. A transposed
    convolution takes m to 2m + 1 - 2 * padding, so the output is 32 s + 31 - 2 k, where s is the
    smallest size and k the paddings as a binary number: the largest k that covers n is taken. At
    100 bins that is the paper's choice; at 87 the paper has 95 and crops, which is used here too.
    """
    size = n
    for _ in range(DEPTH - 1):
        size = (size + 1) // 2
    padding = 0 if size % 2 and size > 1 else 1
    smallest = (size + 2 * padding - 3) // 2 + 1
    top = 2**DEPTH * (smallest + 1) - 1
    k = 16 if n == 87 else (top - n) // 2
    bits = tuple(k >> (DEPTH - 1 - layer) & 1 for layer in range(DEPTH))
    return Axis(n, padding, smallest, bits, (top - 2 * k - n + 1) // 2)


@dataclass(frozen=True)
class NetworkShape:
    """Names and shapes of a network's parameters follow from this."""

    n_frequencies: int
    n_times: int
    n_features: int  # learnt latents, from which spectrograms are reconstructed
    latent_activation: str  # {"linear", "relu"}
    fixed: FixedFeatureSizes = field(default_factory=FixedFeatureSizes)  # behind the learnt latents
    n_channels: int = 1  # of the first convolution: components of the motion, or of an array

    @property
    def n_latents(self) -> int:
        """All features of a sample, D."""
        return self.n_features + self.fixed.smoothed + self.fixed.modulation

    def fixed_features(self) -> FixedFeatures:
        """Fixed features that are not fitted yet."""
        return FixedFeatures(self.n_channels * self.n_frequencies, self.n_times, self.fixed)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Numbers of learnt latents and of each kind of fixed features, without zeros."""
        sizes = self.n_features, self.fixed.smoothed, self.fixed.modulation
        return tuple(filter(None, sizes))


class Encoder(nn.Module):
    """(N, C, F, T) to latents (N, D): learnt ones, then fixed features."""

    def __init__(self, shape: NetworkShape, frequency: Axis, time: Axis):
        super().__init__()
        self.n_latents = shape.n_latents
        layers: list[nn.Module] = []
        paddings = [1] * (DEPTH - 1) + [(frequency.encoder_padding, time.encoder_padding)]
        pairs = pairwise((shape.n_channels, *CHANNELS))
        for pair, padding in zip(pairs, paddings, strict=True):
            layers += [nn.Conv2d(*pair, 3, stride=2, padding=padding), nn.ReLU(inplace=True)]
        flat = CHANNELS[-1] * frequency.smallest * time.smallest
        layers += [nn.Flatten(), nn.Linear(flat, shape.n_features)]
        if shape.latent_activation == "relu":
            layers.append(nn.ReLU())
        self.encoder = nn.Sequential(*layers)
        self.fixed = shape.fixed_features() if self.n_latents > shape.n_features else None

    def learnt(self, x: torch.Tensor) -> torch.Tensor:
        """Learnt latents alone, (N, n_features)."""
        return self.encoder(x)

    def forward(self, x: torch.Tensor, fixed: torch.Tensor | None = None) -> torch.Tensor:
        """Latents of spectrograms, float32; `fixed` features (N, P) where they are known."""
        z = self.learnt(x).float()
        if self.fixed is None:
            return z
        return torch.cat([z, self.fixed(x) if fixed is None else fixed], 1)


class _SubPixel(torch.autograd.Function):
    """Transposed convolution (kernel 3, stride 2), on a CPU twice as fast as PyTorch's.

    Along an axis, output 2 j + a is the sum over b of kernel element `PHASES[a][b]` times input
    j + b - 1; element 3 is zero.
    """

    PHASES = torch.tensor([[2, 0], [3, 1]])

    @staticmethod
    def forward(context, x, weight, bias, padding):
        context.save_for_backward(x, weight)
        context.padding = padding
        n_out, (f, t), (n, _, height, width) = weight.shape[1], padding, x.shape
        padded = nn.functional.pad(weight, (0, 1, 0, 1))
        phases = padded[:, :, _SubPixel.PHASES][..., _SubPixel.PHASES]  # (in, out, a, b, a', b')
        kernel = phases.permute(2, 4, 1, 0, 3, 5).reshape(4 * n_out, -1, 2, 2)
        kernel = kernel.contiguous(memory_format=MEMORY_FORMAT)
        y = nn.functional.conv2d(x, kernel, bias.repeat(4), padding=1).permute(0, 2, 3, 1)
        y = y.reshape(n, height + 1, width + 1, 2, 2, n_out).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(n, 2 * height + 2, 2 * width + 2, n_out)
        return y[:, f : 2 * height + 1 - f, t : 2 * width + 1 - t].permute(0, 3, 1, 2)

    @staticmethod
    def backward(context, gradient):
        x, weight = context.saved_tensors
        gradient = gradient.contiguous(memory_format=MEMORY_FORMAT)
        geometry = [2, 2], context.padding, [1, 1], True, [0, 0], 1, [True] * 3
        arguments = gradient, x, weight, [weight.shape[1]], *geometry
        return *torch.ops.aten.convolution_backward(*arguments), None


class Upsampling(nn.ConvTranspose2d):
    """Transposed convolution, on a CPU of few channels by `_SubPixel`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Doubled size."""
        if x.device.type != "cpu" or self.out_channels > MAX_SUB_PIXEL:
            return super().forward(x)
        return _SubPixel.apply(x, self.weight, self.bias, self.padding)


class Decoder(nn.Module):
    """Spectrograms (N, C, F, T) of the learnt ones of latents (N, D)."""

    def __init__(self, shape: NetworkShape, frequency: Axis, time: Axis):
        super().__init__()
        self.frequency, self.time, self.n_features = frequency, time, shape.n_features
        flat = CHANNELS[-1] * frequency.smallest * time.smallest
        self.latent2dec = nn.Sequential(nn.Linear(shape.n_features, flat), nn.ReLU(inplace=True))
        layers: list[nn.Module] = []
        channels = (shape.n_channels, *CHANNELS)[::-1]
        paddings = zip(frequency.decoder_padding, time.decoder_padding, strict=True)
        for pair, padding in zip(pairwise(channels), paddings, strict=True):
            layers += [Upsampling(*pair, 3, stride=2, padding=padding), nn.ReLU()]
        self.decoder = nn.Sequential(*layers[:-1])  # the output is linear

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Spectrograms of latents."""
        f, t = self.frequency, self.time
        x = self.latent2dec(z[:, : self.n_features]).view(-1, CHANNELS[-1], f.smallest, t.smallest)
        x = self.decoder(x.contiguous(memory_format=MEMORY_FORMAT))
        return x[:, :, f.crop : f.crop + f.n, t.crop : t.crop + t.n]


class AEC(nn.Module):
    """Autoencoder of a `NetworkShape`."""

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.shape = shape
        axes = axis_geometry(shape.n_frequencies), axis_geometry(shape.n_times)
        self.encoder = Encoder(shape, *axes)
        self.decoder = Decoder(shape, *axes)
        self.to(memory_format=MEMORY_FORMAT)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reconstruction (N, C, F, T) and learnt latents of spectrograms (N, C, F, T)."""
        z = self.encoder.learnt(x)
        return self.decoder(z), z


class ClusteringLayer(nn.Module):
    """Soft assignment to centroids (K, D), which are given as latents.

    Both are multiplied by `metric` (D, D) before distances; None is the identity, as in the paper.
    """

    def __init__(self, centroids: torch.Tensor, metric: torch.Tensor | None = None):
        super().__init__()
        metric = torch.eye(centroids.shape[1]) if metric is None else metric
        self.register_buffer("metric", metric.clone())
        self.centroids = nn.Parameter(centroids @ metric)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Soft assignment (N, K) of latents (N, D)."""
        return soft_assignment(z @ self.metric, self.centroids)

    def as_latents(self) -> torch.Tensor:
        """Centroids (K, D) as latents."""
        return torch.linalg.solve(self.metric, self.centroids.detach(), left=False)


class DEC(nn.Module):
    """A pretrained autoencoder, whose encoder and decoder are shared, with a clustering layer."""

    def __init__(self, aec: AEC, clustering: ClusteringLayer):
        super().__init__()
        self.shape = aec.shape
        self.encoder, self.decoder = aec.encoder, aec.decoder
        self.clustering = clustering

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Soft assignment (N, K), reconstruction (N, C, F, T), latents (N, D)."""
        z = self.encoder(x)
        return self.clustering(z), self.decoder(z), z

    @torch.inference_mode()
    def posterior(self, latents: np.ndarray) -> np.ndarray:
        """Soft assignment q (N, K) of latents (N, D), at constant memory."""
        z = torch.from_numpy(latents).to(self.clustering.centroids.device)
        return np.concatenate([self.clustering(part).cpu().numpy() for part in z.split(8192)])


def initialise(model: nn.Module, seed: int) -> None:
    """Glorot-uniform weights and biases of 0.01, the same for a seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.constant_(module.bias, 0.01)


def n_parameters(model: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
