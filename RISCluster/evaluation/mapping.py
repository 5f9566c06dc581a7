"""The two-dimensional map of latents, by the method that ``report.embedding`` names.

Letters: m latents, D features.
"""

from collections.abc import Callable

import numpy as np

from ..clustering.initialisation import MIN_MAP_SIZE, PERPLEXITY, neighbour_map
from ..extras import need

NEIGHBOURS = 15  # of UMAP, its default
PACKAGES = {"opentsne": "openTSNE", "umap": "umap"}
TITLES = {"tsne": "t-SNE", "opentsne": "openTSNE", "umap": "UMAP"}


def mapped(latents: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Map latents to two dimensions.

    Parameters
    ----------
    latents : ndarray, (m, D)
        Finite.
    method : {"tsne", "opentsne", "umap"}
        van der Maaten and Hinton 2008; Policar et al. 2024; McInnes et al. 2018.
    seed : int

    Returns
    -------
    ndarray, (m, 2), float64
        (0, 2) where there are too few latents for a map.

    Raises
    ------
    MissingPackage
        The method's package is not installed.
    """
    if len(latents) < MIN_MAP_SIZE:
        return np.empty((0, 2))
    if method == "tsne":
        return neighbour_map(latents, seed, len(latents)).points
    spread = float(latents.std())
    if spread == 0:
        return np.zeros((len(latents), 2))
    return np.asarray(METHODS[method](latents / spread, seed), dtype=np.float64)


def require_package(method: str) -> None:
    """Refuse a method whose package is not installed, before anything is done for it.

    Raises
    ------
    MissingPackage
    """
    if method in PACKAGES:
        need(PACKAGES[method])


def _opentsne(latents: np.ndarray, seed: int) -> np.ndarray:
    perplexity = min(PERPLEXITY, (len(latents) - 1) / 3)
    tsne = need(PACKAGES["opentsne"]).TSNE(
        perplexity=perplexity, initialization="pca", random_state=seed
    )
    return np.asarray(tsne.fit(latents))


def _umap(latents: np.ndarray, seed: int) -> np.ndarray:
    neighbours = min(NEIGHBOURS, len(latents) - 1)
    # One job is what a seed needs to give the same map again; few latents have no spectrum.
    start = "spectral" if len(latents) > 4 * NEIGHBOURS else "random"
    package = need(PACKAGES["umap"])
    return package.UMAP(
        n_neighbors=neighbours, random_state=seed, n_jobs=1, init=start
    ).fit_transform(latents)


METHODS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "opentsne": _opentsne,
    "umap": _umap,
}
