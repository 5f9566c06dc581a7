"""Which samples train and which validate: drawn once from the seed, saved with the run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..io import read_npz, write_npz


@dataclass(frozen=True)
class Split:
    """Indices into the file, ascending, int64.

    Attributes
    ----------
    train, validation : ndarray
        Usable samples.
    unusable : ndarray
        Samples drawn that are not finite or have no energy; in neither of the two.
    """

    train: np.ndarray
    validation: np.ndarray
    unusable: np.ndarray

    @property
    def both(self) -> np.ndarray:
        """Train and validation together, ascending."""
        return np.sort(np.concatenate([self.train, self.validation]))

    def without(self, unusable: np.ndarray) -> "Split":
        """The split after `unusable` (indices into the file) were taken out of it."""
        return Split(
            np.setdiff1d(self.train, unusable),
            np.setdiff1d(self.validation, unusable),
            np.union1d(self.unusable, unusable),
        )

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        write_npz(path, train=self.train, validation=self.validation, unusable=self.unusable)

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read what `save` wrote."""
        arrays = read_npz(path)
        return cls(arrays["train"], arrays["validation"], arrays["unusable"])


def draw_split(n_samples: int, train_samples: int, validation_fraction: float, seed: int) -> Split:
    """Draw a split of a file of `n_samples`.

    Parameters
    ----------
    n_samples : int
        Samples in the file.
    train_samples : int
        How many to draw for training and validation together; 0 draws all.
    validation_fraction : float
        Share of the drawn that validates, rounded, at least one sample.
    seed : int

    Returns
    -------
    Split
        With nothing unusable yet.

    Raises
    ------
    DataError
        There are fewer than two samples to draw.
    """
    n_drawn = min(train_samples or n_samples, n_samples)
    if n_drawn < 2:
        raise DataError(
            f"[data] train_samples = {train_samples}: training and validation need two samples at "
            f"least, and {n_samples} are in the file"
        )
    rng = np.random.default_rng(seed)
    if n_drawn == n_samples:
        drawn = rng.permutation(n_samples)
    else:  # of a large file, without a list of all its samples
        drawn = rng.choice(n_samples, n_drawn, replace=False)
    n_validation = min(max(1, round(n_drawn * validation_fraction)), n_drawn - 1)
    empty = np.array([], dtype=np.int64)
    return Split(np.sort(drawn[n_validation:]), np.sort(drawn[:n_validation]), empty)
