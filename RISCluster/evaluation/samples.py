"""Single samples: outliers, representatives of clusters, and the two-dimensional map of latents.

Letters: n samples, m training samples, N samples of the file, D latent features, K clusters,
c candidates.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
import torch
from sklearn.metrics import pairwise_distances_argmin

from .. import io
from ..clustering.initialisation import MIN_TREE_SIZE, tsne
from ..clustering.mixture import Mixture, fit_kmeans
from ..data.loading import SampleSet
from ..data.sets import subsample
from ..models.autoencoder import AEC, DEC
from ..runs.labels import Labelling
from ..runs.run import FinishedRun, FinishedStage

SCORED = 5000  # training samples at most, spread over the set
OUTLYING = 0.005  # share of the training samples beyond either limit
DRIFT = 10 * OUTLYING  # share of outliers above which a new run should be trained
BATCH = 256

N_TYPICAL = 12  # of a cluster
CANDIDATES = 400  # members of a cluster, drawn at random, of which typical ones are chosen
N_BORDERLINE = 6  # of a cluster
N_OUTLYING = 24  # of all

MAPS = {"tsne": "t-SNE", "umap": "UMAP"}  # title of each method
UMAP_NEIGHBOURS = 15  # its default


@dataclass(frozen=True)
class TrainingDistribution:
    """Reconstruction errors and likelihoods of training samples, (m,), ascending."""

    mixture: Mixture  # of the latents
    errors: np.ndarray  # mean squared error of each reconstruction, in the network's units
    likelihoods: np.ndarray  # logarithm of the mixture's density

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        arrays = self.mixture.arrays()
        io.write_npz(path, **arrays, errors=self.errors, likelihoods=self.likelihoods)

    @classmethod
    def load(cls, path: Path) -> "TrainingDistribution":
        """Read what `save` wrote."""
        arrays = io.read_npz(path)
        return cls(Mixture.from_arrays(arrays), arrays["errors"], arrays["likelihoods"])

    def error_quantile(self, errors: np.ndarray) -> np.ndarray:
        """Share of the training samples that are reconstructed better: (n,) to (n,)."""
        return np.searchsorted(self.errors, errors) / len(self.errors)

    def likelihood_quantile(self, likelihoods: np.ndarray) -> np.ndarray:
        """Share of the training samples that are less likely: (n,) to (n,)."""
        return np.searchsorted(self.likelihoods, likelihoods) / len(self.likelihoods)

    def is_outlier(self, errors: np.ndarray, likelihoods: np.ndarray) -> np.ndarray:
        """Whether samples lie beyond `OUTLYING` of the training set in either quantity: (n,)."""
        badly = self.error_quantile(errors) > 1 - OUTLYING
        return badly | (self.likelihood_quantile(likelihoods) < OUTLYING)


def training_distribution(
    model: AEC | DEC, mixture: Mixture, samples: SampleSet
) -> TrainingDistribution:
    """Errors and likelihoods of at most `SCORED` samples, in batches spread over a training set."""
    model.eval()
    n, last = min(SCORED // BATCH, -(-len(samples) // BATCH)), max(0, len(samples) - BATCH)
    scores = [
        latents_and_errors(model, x)
        for start in np.unique(np.linspace(0, last, n).astype(int)).tolist()
        for _, x in samples.in_order(start, min(start + BATCH, len(samples)), BATCH)
    ]
    errors = np.concatenate([error for _, error in scores])
    likelihoods = np.concatenate([mixture.log_likelihood(z) for z, _ in scores])
    return TrainingDistribution(mixture, np.sort(errors), np.sort(likelihoods))


def latents_and_errors(model: AEC | DEC, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Latents (n, D), and mean squared error of each reconstruction (n,), of x (n, C, F, T)."""
    with torch.inference_mode():
        z = model.encoder(x)
        error = (model.decoder(z) - x).square().mean((1, 2, 3))
    return z.float().cpu().numpy(), error.double().cpu().numpy()


def mixture_of_clusters(latents: np.ndarray, labelling: Labelling) -> Mixture:
    """A Gaussian for each cluster of labelled latents (N, D) that has members.

    Each covariance is shrunk towards the pooled one by D pseudo-samples, so that those of small
    clusters are not singular.
    """
    k, d = labelling.n_clusters, latents.shape[1]
    sums, products = np.zeros((k, d)), np.zeros((k, d, d))
    for start, block in io.row_blocks(latents):
        labels = labelling.labels[start : start + len(block)]
        for label in np.unique(labels[labels >= 0]):
            members = block[labels == label].astype(np.float64)
            sums[label] += members.sum(0)
            products[label] += members.T @ members
    used = labelling.sizes > 0
    sizes = labelling.sizes[used].astype(np.float64)
    means = sums[used] / sizes[:, None]
    scatter = products[used] - sizes[:, None, None] * means[:, :, None] * means[:, None, :]
    pooled = scatter.sum(0) / sizes.sum()
    pooled += 1e-6 * max(np.trace(pooled) / d, 1e-12) * np.eye(d)
    covariances = (scatter + d * pooled) / (sizes + d)[:, None, None]
    return Mixture(sizes / sizes.sum(), means, covariances)


class Representatives(NamedTuple):
    """Samples to look at in a stage's clusters, tables with the columns of `_describe`."""

    typical: list[pandas.DataFrame]  # of each cluster: spread over it
    borderline: list[pandas.DataFrame]  # of each: the smallest lead over a second cluster first
    outlying: pandas.DataFrame  # of all, the least likely first


def representatives_of(run: FinishedRun, stage: FinishedStage) -> Representatives:
    """Choose samples of a stage that labels, by its latents; CheckpointError for damaged files.

    A single cluster has no borderline samples.
    """
    labels, k, usable = stage.labels, stage.n_clusters, np.flatnonzero(stage.labels >= 0)
    probability = stage.table["probability"].to_numpy(dtype=np.float64)
    lead, likelihood = np.full((2, len(labels)), np.nan)  # over the second cluster; logarithm
    for start in range(0, len(usable), io.BLOCK_ROWS):
        index = usable[start : start + io.BLOCK_ROWS]
        largest = np.sort(stage.soft(index), axis=1)[:, -2:]
        lead[index] = largest[:, -1] - largest[:, 0]
        likelihood[index] = stage.mixture.log_likelihood(stage.latents[index])
    typical, borderline = [], []
    for label in range(k):
        members = np.flatnonzero(labels == label)
        near = members[np.argsort(lead[members], kind="stable")]
        borderline.append(near[: N_BORDERLINE if k > 1 else 0])
        members = members[subsample(len(members), CANDIDATES, run.settings.run.seed)]
        if len(members):
            members = members[probability[members] >= np.median(probability[members])]
        latents = stage.latents[members].astype(np.float64)
        typical.append(members[typical_members(latents, N_TYPICAL)])
    outlying = usable[np.argsort(likelihood[usable], kind="stable")[:N_OUTLYING]]
    chosen = [*typical, *borderline, outlying]
    every = _describe(stage, np.concatenate(chosen).astype(np.int64))
    ends = np.cumsum([len(index) for index in chosen])[:-1]
    parts = [every.iloc[rows] for rows in np.split(np.arange(len(every)), ends)]
    return Representatives(parts[:k], parts[k : 2 * k], parts[-1])


def typical_members(latents: np.ndarray, n: int) -> np.ndarray:
    """Positions of at most `n` of the members (c, D) of a cluster that are spread over it.

    The nearest ones to centres by k-means, those of the largest groups first.
    """
    if not len(latents):
        return np.empty(0, np.int64)
    kmeans = fit_kmeans(latents, min(n, len(latents)), 1, 0)
    sizes = np.bincount(kmeans.labels_, minlength=len(kmeans.cluster_centers_))
    nearest = pairwise_distances_argmin(kmeans.cluster_centers_, latents)
    return pandas.unique(nearest[np.argsort(-sizes, kind="stable")])


def _describe(stage: FinishedStage, index: np.ndarray) -> pandas.DataFrame:
    """Samples (n,) with label, probability, the second cluster (-1 for none) and likelihood.

    less_likely is the share of the training samples that are less likely.
    """
    latents, labels = stage.latents[index], stage.labels[index].astype(np.int64)
    rows, each = stage.soft(index).reshape(len(index), stage.n_clusters), np.arange(len(index))
    of_label = rows[each, labels]
    rows[each, labels] = -1
    likelihood = stage.mixture.log_likelihood(latents)
    training = TrainingDistribution.load(stage.path / "novelty.npz")
    return pandas.DataFrame(
        {
            "sample": index,
            "label": labels,
            "second": np.where(rows.max(1) < 0, -1, rows.argmax(1)),
            "probability": of_label,
            "second_probability": np.maximum(rows.max(1), 0),
            "log_likelihood": likelihood,
            "less_likely": training.likelihood_quantile(likelihood),
        }
    )


def mapped(latents: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Map finite latents (m, D) to (m, 2), float64; (0, 2) for too few of them.

    Methods are tsne (van der Maaten and Hinton 2008) and umap (McInnes et al. 2018). MissingPackage
    where the package of the method is not installed.
    """
    n = len(latents)
    if n < MIN_TREE_SIZE:
        return np.empty((0, 2))
    if method == "tsne":
        return tsne(latents, seed)
    package, z = io.need("umap"), latents / (float(latents.std()) or 1.0)
    # One job, so that a seed gives the same map again; few latents have no spectrum.
    options = {"init": "spectral" if n > 4 * UMAP_NEIGHBOURS else "random", "n_jobs": 1}
    model = package.UMAP(n_neighbors=min(UMAP_NEIGHBOURS, n - 1), random_state=seed, **options)
    return np.asarray(model.fit_transform(z), dtype=np.float64)


def require_package(method: str) -> None:
    """Raise MissingPackage for a method whose package is not installed."""
    if method == "umap":
        io.need("umap")
