"""The catalogue of labels: one row for every sample of the file, in its order."""

from pathlib import Path

import numpy as np

from ..data.spectrograms import SpectrogramFile
from ..files import write_csv

UNUSABLE = -1


def assign(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and its probability of every sample.

    Parameters
    ----------
    probabilities : ndarray, (N, K)
        NaN for unusable samples.

    Returns
    -------
    ndarray, (N,), int64
        Most probable cluster; -1 for unusable samples.
    ndarray, (N,), float
        Its probability; 0 for unusable samples.
    """
    usable = ~np.isnan(probabilities[:, 0])
    filled = np.where(usable[:, None], probabilities, 0.0)
    labels = np.where(usable, filled.argmax(1), UNUSABLE)
    return labels.astype(np.int64), filled.max(1)


def write_labels(
    path: Path, file: SpectrogramFile, labels: np.ndarray, probabilities: np.ndarray
) -> None:
    """Write labels.csv: index, label, probability, and start time and trace id where known.

    Parameters
    ----------
    path : Path
    file : SpectrogramFile
        Whose samples were labelled.
    labels, probabilities : ndarray, (N,)
    """
    header = ["index", "label", "probability"]
    columns = [range(len(labels)), labels.tolist(), [f"{value:.6f}" for value in probabilities]]
    for name, values in (("starttime", file.starttimes()), ("trace_id", file.trace_ids())):
        if values is not None:
            header.append(name)
            columns.append(values)
    write_csv(path, header, zip(*columns, strict=True))
