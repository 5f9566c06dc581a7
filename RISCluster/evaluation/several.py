"""Several runs compared: what they were made with, how good they are, how far they agree.

Letters: M runs, N samples of a data file, K clusters.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RunError
from ..runs.run import FinishedRun
from ..settings import Settings
from .comparison import METRICS, metrics_of
from .overlap import Overlap, overlap

SECTION_OF = {"aec": "AEC", "gmm": "GMM", "dec": "DEC"}  # the stage whose settings count
COMMON = ("run", "data", "cube")  # of the last stage


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    names : list of str
        Of the runs, (M).
    data : list of str
        Files that they were made from.
    same_data : bool
        Whether all label the same samples.
    settings : list of (str, list)
        Keys that differ, as ``aec.lr``, and each run's value; None where its stage is missing.
    metrics : list of (str, list)
        Figures of merit, as ``DEC nmi``, and each run's value; None where it has none.
    ari : ndarray, (M, M), or None
        Adjusted Rand index between final labels; None where the data differ.
    pair : Overlap or None
        Final clusters of the first run by those of the second, where there are two of the same
        data.
    """

    names: list[str]
    data: list[str]
    same_data: bool
    settings: list[tuple[str, list[Any]]]
    metrics: list[tuple[str, list[Any]]]
    ari: np.ndarray | None
    pair: Overlap | None


def compare(runs: Sequence[FinishedRun]) -> Comparison:
    """Compare runs.

    Raises
    ------
    RunError
        Fewer than two runs, or one of them has no labels.
    """
    if len(runs) < 2:
        raise RunError(f"comparison: {len(runs)} run given; it needs two or more")
    for run in runs:
        if run.final is None:
            raise RunError(
                f"{run.folder}: has no complete stage that labels; run GMM_centroids.py first"
            )
    same = len({_identity(run) for run in runs}) == 1
    return Comparison(
        names_of(runs),
        [run.final.settings.data.file for run in runs],
        same,
        differing_settings(runs, same),
        metrics_side_by_side(runs),
        _agreements(runs) if same else None,
        _pair(*runs) if same and len(runs) == 2 else None,
    )


def names_of(runs: Sequence[FinishedRun]) -> list[str]:
    """Names of the run folders; their paths where two have the same name."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _identity(run: FinishedRun) -> tuple[Any, int]:
    """What the final labels are of: content of the data, and how many samples.

    Of a cube, what a sample is changes the content (shape, axes and samples).
    """
    return run.final.provenance.get("fingerprint", str(run.folder)), run.final.latents.shape[0]


def differing_settings(runs: Sequence[FinishedRun], same_data: bool) -> list[tuple[str, list[Any]]]:
    """Settings that change results and are not the same in all runs.

    Each section is taken from the stage that it steers, so that what was edited later doesn't
    count; a run without that stage differs in the figures of merit that it lacks. Where data
    differ, so do their files.
    """
    found = {} if same_data else {"data.file": [run.final.settings.data.file for run in runs]}
    for section in dataclasses.fields(Settings):
        if section.name not in (*COMMON, *SECTION_OF):
            continue
        settings = [_settings_for(run, section.name) for run in runs]
        for key in dataclasses.fields(section.type):
            values = [
                None if one is None else getattr(getattr(one, section.name), key.name)
                for one in settings
            ]
            there = [v for one, v in zip(settings, values, strict=True) if one is not None]
            if key.metadata["affects"] != "nothing" and any(v != there[0] for v in there):
                found[f"{section.name}.{key.name}"] = values
    return list(found.items())


def _settings_for(run: FinishedRun, section: str) -> Settings | None:
    stage = run.stages.get(SECTION_OF[section]) if section in SECTION_OF else run.final
    return None if stage is None else stage.settings


def metrics_side_by_side(runs: Sequence[FinishedRun]) -> list[tuple[str, list[Any]]]:
    """Figures of merit of every stage that some run has."""
    rows = []
    for name in ("AEC", "GMM", "DEC"):
        each = [metrics_of(run.stages[name]) if name in run.stages else {} for run in runs]
        for key in METRICS:
            values = [metrics.get(key) for metrics in each]
            if any(value is not None for value in values):
                rows.append((f"{name} {key}", values))
    return rows


def _agreements(runs: Sequence[FinishedRun]) -> np.ndarray:
    matrix = np.eye(len(runs))
    for first in range(len(runs)):
        for second in range(first):
            matrix[first, second] = matrix[second, first] = _pair(runs[first], runs[second]).ari
    return matrix


def _pair(first: FinishedRun, second: FinishedRun) -> Overlap:
    return overlap(
        first.final.table.labels,
        second.final.table.labels,
        first.final.n_clusters,
        second.final.n_clusters,
    )
