"""Finished runs made by hand, with labels and no files."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas

from RISCluster.runs.run import FinishedRun, FinishedStage
from RISCluster.settings import load_settings


def stage(name, labels, probability=None, n_clusters=None, words=(), data="a", **metrics):
    """A stage that labels; the text `data` stands for the content of its file."""
    labels = np.asarray(labels, dtype=np.int16)
    if probability is None:
        probability = np.where(labels >= 0, 1.0, 0.0)
    n_clusters = int(labels.max()) + 1 if n_clusters is None else n_clusters
    sizes = np.bincount(labels[labels >= 0], minlength=n_clusters).tolist()
    metrics = {"n_clusters": n_clusters, "cluster_sizes": sizes, **metrics}
    made = FinishedStage(
        name, Path("nowhere") / name, metrics, {"fingerprint": data}, load_settings(None, words)
    )
    probability = np.asarray(probability, dtype=np.float32)
    made.__dict__["table"] = pandas.DataFrame({"label": labels, "probability": probability})
    made.__dict__["latents"] = SimpleNamespace(shape=(len(labels), 3))
    return made


def run(*stages, folder="nowhere", truth=None, class_names=()):
    """A run of these stages, without a data file."""
    truth = None if truth is None else np.asarray(truth, dtype=np.int64)
    n_classes = 0 if truth is None else int(np.max(truth)) + 1
    names = list(class_names) or [f"class {n}" for n in range(n_classes)]
    by_name, settings = {one.name: one for one in stages}, stages[-1].settings
    return FinishedRun(Path(folder), settings, by_name, None, [], truth, names)
