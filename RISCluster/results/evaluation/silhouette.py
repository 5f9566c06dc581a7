"""Silhouettes of several labellings of the same samples, whose distances are computed once.

Letters: n samples, D numbers of each (features or bins), K clusters.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import pairwise_distances_chunked

MEMORY = 8  # MiB of distances at a time


def silhouettes_of(x: np.ndarray, labellings: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Silhouette of every sample under each labelling (Rousseeuw 1987).

    Parameters
    ----------
    x : ndarray, (n, D)
    labellings : sequence of ndarray, (n,)
        0 or more; clusters without a sample are none.

    Returns
    -------
    list of ndarray, (n,), float64
        0 for the only member of a cluster; NaN under labellings of one cluster, or of as many as
        samples.
    """
    members = [np.eye(int(labels.max(initial=0)) + 1)[labels] for labels in labellings]
    if len(x) < 2 or not members:
        return [np.full(len(x), np.nan) for _ in labellings]
    one_hot = np.concatenate(members, axis=1)
    totals = np.concatenate(
        list(
            pairwise_distances_chunked(
                x, reduce_func=lambda distances, _: distances @ one_hot, working_memory=MEMORY
            )
        )
    )
    ends = np.cumsum([part.shape[1] for part in members])[:-1]
    return [
        _silhouette(part, labels)
        for part, labels in zip(np.split(totals, ends, axis=1), labellings, strict=True)
    ]


def _silhouette(totals: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of samples whose distances to the members of each cluster add up to `totals` (n, K)."""
    sizes = np.bincount(labels, minlength=totals.shape[1])
    if not 1 < np.count_nonzero(sizes) < len(labels):
        return np.full(len(labels), np.nan)
    rows = np.arange(len(labels))
    own = totals[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    others = totals / np.maximum(sizes, 1)
    others[:, sizes == 0] = np.inf
    others[rows, labels] = np.inf
    nearest = others.min(1)
    larger = np.maximum(own, nearest)
    scores = np.divide(nearest - own, larger, out=np.zeros(len(labels)), where=larger > 0)
    scores[sizes[labels] == 1] = 0.0
    return scores
