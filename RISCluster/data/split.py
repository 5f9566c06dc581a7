"""Samples drawn at random: those for training and validation, and subsamples. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..io import read_npz, write_npz


@dataclass(frozen=True)
class Split:
    """Ascending indices into the file: for training, for validation, and unusable ones."""

    train: np.ndarray
    validation: np.ndarray
    unusable: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """Train and validation together, ascending."""
        return np.sort(np.concatenate([self.train, self.validation]))

    def without(self, unusable: np.ndarray) -> "Split":
        """The split without `unusable` (indices into the file)."""
        train, validation = (np.setdiff1d(x, unusable) for x in (self.train, self.validation))
        return Split(train, validation, np.union1d(self.unusable, unusable))

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        write_npz(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote."""
        return cls(**read_npz(path))


def subsample(n: int, most: int, seed: int) -> np.ndarray:
    """At most `most` of the indices 0 to n - 1, drawn at random, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def draw_split(n_samples: int, train_samples: int, validation_fraction: float, seed: int) -> Split:
    """Draw `train_samples` of a file (0 for all), of which a fraction, at least one, validates."""
    n_drawn = min(train_samples or n_samples, n_samples)
    if n_drawn < 2:
        raise DataError(
            f"[data] train_samples = {train_samples}: training and validation need two samples at "
            f"least, and {n_samples} are in the file"
        )
    rng = np.random.default_rng(seed)
    is_all = n_drawn == n_samples  # of a large file, without a list of all its samples
    drawn = rng.permutation(n_samples) if is_all else rng.choice(n_samples, n_drawn, replace=False)
    n_validation = min(max(1, round(n_drawn * validation_fraction)), n_drawn - 1)
    empty = np.array([], dtype=np.int64)
    return Split(np.sort(drawn[n_validation:]), np.sort(drawn[:n_validation]), empty)
