"""What the blocks on where and when clusters occur are made of.

Letters: K clusters, k that are drawn.
"""

from dataclasses import dataclass

import numpy as np

from ..catalogue.catalogue import Bins, Catalogue
from ..plots.style import plain
from ..runs.names import title_of
from ..runs.run import FinishedRun


@dataclass(frozen=True)
class Shown:
    """A run's catalogue, its clusters' names, and which of them are drawn.

    Attributes
    ----------
    run : FinishedRun
    catalogue : Catalogue
    given : dict of int to str
        Names that clusters were given.
    drawn : ndarray, (k,)
        Labels of the clusters that figures draw, ascending.
    """

    run: FinishedRun
    catalogue: Catalogue
    given: dict[int, str]
    drawn: np.ndarray

    @property
    def titles(self) -> list[str]:
        """Of all clusters, in tables: ``3``, or ``3 icequake``."""
        return [title_of(label, self.given) for label in range(self.catalogue.n_clusters)]

    @property
    def drawn_titles(self) -> list[str]:
        """Of the clusters that are drawn, in figures: ``cluster 3``, or ``3 icequake``."""
        return [self.figure_title(label) for label in self.drawn.tolist()]

    def figure_title(self, label: int) -> str:
        """Of one cluster, in figures."""
        return plain(title_of(label, self.given) if label in self.given else f"cluster {label}")

    def with_others(self, counts: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
        """Counts (..., K) of the clusters that are drawn and, where not all are, of the others.

        Returns
        -------
        ndarray, (..., k) or (..., k + 1)
        list of int
            Labels; -1, which is drawn in grey, for the others.
        list of str
            Titles.
        """
        mine, labels, titles = counts[..., self.drawn], self.drawn.tolist(), self.drawn_titles
        if len(labels) == self.catalogue.n_clusters:
            return mine, labels, titles
        others = counts.sum(axis=-1, keepdims=True) - mine.sum(axis=-1, keepdims=True)
        return np.concatenate([mine, others], axis=-1), [*labels, -1], [*titles, "other clusters"]

    @property
    def cut(self) -> str:
        """What captions say where not all clusters are drawn."""
        if len(self.drawn) == self.catalogue.n_clusters:
            return ""
        return f" The {len(self.drawn)} largest of {self.catalogue.n_clusters} clusters are drawn."


def kind_of(run: FinishedRun) -> str:
    """What trace ids name."""
    is_cube = run.settings.data.layout == "cube" or (
        run.file is not None and run.file.layout == "cube"
    )
    return "channel" if is_cube else "station"


def bin_word(bins: Bins) -> str:
    """What one bin is."""
    return "span of 10 minutes" if bins.interval == "10 minutes" else bins.interval
