"""Several runs compared: their settings, their metrics, the agreement of their labels.

Letters: M runs, N samples of a data file, K clusters.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
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
    """Runs side by side."""

    names: list[str]  # (M,)
    data: list[str]  # data files, (M,)
    same_data: bool  # whether all label the same samples
    settings: list[tuple[str, list[Any]]]  # that differ, as aec.lr; None for no stage
    metrics: list[tuple[str, list[Any]]]  # as DEC nmi; None for no stage
    ari: np.ndarray | None  # between final labels, (M, M); None where the data differ
    pair: Overlap | None  # final clusters of two runs on the same data


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
    finals = [run.final for run in runs]
    # Of a cube, what a sample is changes the fingerprint.
    contents = {
        (stage.provenance.get("fingerprint", str(stage.path)), stage.latents.shape[0])
        for stage in finals
    }
    ari, pairs = None, {}
    if len(contents) == 1:
        ari = np.eye(len(runs))
        for i, j in combinations(range(len(runs)), 2):
            labels = (stage.table.labels for stage in (finals[i], finals[j]))
            pairs[i, j] = overlap(*labels, finals[i].n_clusters, finals[j].n_clusters)
            ari[i, j] = ari[j, i] = pairs[i, j].ari
    return Comparison(
        names_of(runs),
        [stage.settings.data.file for stage in finals],
        len(contents) == 1,
        _differing_settings(runs, len(contents) == 1),
        _metrics(runs),
        ari,
        pairs.get((0, 1)) if len(runs) == 2 else None,
    )


def names_of(runs: Sequence[FinishedRun]) -> list[str]:
    """Names of the run folders; their paths where two have the same name."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _differing_settings(
    runs: Sequence[FinishedRun], same_data: bool
) -> list[tuple[str, list[Any]]]:
    """Settings that change results and are not the same in all runs.

    Each section is taken from the stage that uses it. Runs without that stage don't count as
    different. Where data differ, so do their files.
    """
    found = {} if same_data else {"data.file": [run.final.settings.data.file for run in runs]}
    for section in dataclasses.fields(Settings):
        if section.name not in (*COMMON, *SECTION_OF):
            continue
        stages = [
            run.stages.get(SECTION_OF[section.name]) if section.name in SECTION_OF else run.final
            for run in runs
        ]
        sections = [stage and getattr(stage.settings, section.name) for stage in stages]
        for key in dataclasses.fields(section.type):
            values = [part and getattr(part, key.name) for part in sections]
            there = [v for part, v in zip(sections, values, strict=True) if part is not None]
            if key.metadata["invalidates"] != "nothing" and any(v != there[0] for v in there):
                found[f"{section.name}.{key.name}"] = values
    return list(found.items())


def _metrics(runs: Sequence[FinishedRun]) -> list[tuple[str, list[Any]]]:
    """Metrics of every stage that some run has."""
    rows = []
    for name in ("AEC", "GMM", "DEC"):
        each = [metrics_of(run.stages[name]) if name in run.stages else {} for run in runs]
        for key in METRICS:
            values = [metrics.get(key) for metrics in each]
            if any(value is not None for value in values):
                rows.append((f"{name} {key}", values))
    return rows
