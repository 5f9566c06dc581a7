"""What the sections on refinement and on known classes need."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation.comparison import (
    CONFIDENT,
    DOUBTFUL,
    QUANTILES,
    Refinement,
    refinement,
    side_by_side,
)
from ..evaluation.metrics import Overlap, against_truth, class_scores, reliability
from ..plots.agreement import overlap_matrix, reliability_curve
from ..runs.names import read_names, title_of
from ..runs.run import FinishedRun, FinishedStage
from .page import Picture, percent

Context = dict[str, Any]
STAGE_TITLES = {"GMM": "mixture (GMM)", "DEC": "refined (DEC)"}
TOO_SURE = 0.05  # mean error of probabilities that is mentioned


def comparison_section(run: FinishedRun) -> Context | None:
    """What refinement changed."""
    found = refinement(run)
    if found is None:
        if not run.labelling:
            return None
        there = run.labelling[0].name
        lacking = "DEC" if there == "GMM" else "GMM"
        return {"there": there, "lacking": lacking, "figures": {}}
    metrics, names = run.stages["DEC"].metrics, read_names(run)
    moved = found.share_moved > 0
    return {
        "lacking": "",
        "found": found,
        "confident": CONFIDENT,
        "doubtful": DOUBTFUL,
        "refined": metrics.get("refined") is not False,
        "dec": metrics,
        "metrics": {"header": ("", *STAGE_TITLES.values()), "rows": side_by_side(run)},
        "probabilities": _probabilities(found) if found.table.n else None,
        "clusters_table": _clusters(found, names) if moved else None,
        "figures": {"report_label_changes": _label_changes(found, names)} if moved else {},
    }


def _probabilities(found: Refinement) -> Context:
    header = ["stage", *(f"{100 * at:g} %" for at in QUANTILES)]
    header += [f"share from {CONFIDENT:g}", f"share below {DOUBTFUL:g}"]
    rows = [
        [name, *stage.quantiles.tolist(), stage.confident, stage.doubtful]
        for name, stage in zip(STAGE_TITLES.values(), (found.before, found.after), strict=True)
    ]
    return {"header": header, "rows": rows, "digits": 3}


def _clusters(found: Refinement, names: dict[int, str]) -> Context:
    sizes, became = found.table.counts.sum(1), found.table.counts.sum(0)
    rows, clusters = [], []
    for label, match in enumerate(found.match.tolist()):
        moved = ", ".join(f"{n:,} to {to}" for to, n in found.destinations(label))
        after = (None, None) if match < 0 else (title_of(match, names), int(became[match]))
        rows.append([label, int(sizes[label]), *after, float(found.moved[label]), moved])
        clusters.append(match if match >= 0 else None)
    header = ("mixture's cluster", "size", "became", "size after", "share moved", "moved samples")
    return {"header": header, "rows": rows, "clusters": clusters, "digits": 3}


def _label_changes(found: Refinement, names: dict[int, str]) -> Picture:
    counts = found.table.counts
    order = np.arange(len(counts)) if found.by_label else found.table.order()
    return Picture(
        lambda: overlap_matrix(
            counts[order],
            [str(label) for label in order],
            [title_of(label, names) for label in range(counts.shape[1])],
            row_title="Cluster of the mixture (GMM)",
            column_title="Cluster after refinement (DEC)",
            title=f"{percent(found.share_moved)} of {found.table.n:,} samples moved",
            row_clusters=order.tolist() if found.by_label else None,
            column_clusters=range(counts.shape[1]),
        )
    )


# ---- known classes ------------------------------------------------------------------------------


def truth_section(run: FinishedRun) -> Context | None:
    """Scores against known classes; None where the file has none."""
    if run.truth is None or not (run.truth >= 0).any() or not run.labelling:
        return None
    found = [(stage, table) for stage in run.labelling if (table := against_truth(run, stage))]
    if not found:
        return {"scores": None, "figures": {}}
    same = _same_labels(run)
    found = found[-1:] if same else found
    curves = [
        (STAGE_TITLES[stage.name], reliability(t, _probability(run, stage))) for stage, t in found
    ]
    table = found[-1][1]
    confusions = {f"report_confusion_{stage.name.lower()}": (stage, t) for stage, t in found}
    pictures = {name: _confusion(run, *one) for name, one in confusions.items()}
    pictures["report_reliability"] = Picture(lambda: reliability_curve(curves))
    return {
        "overlap": table,
        "same": same,
        "n_clusters": len(table.counts),
        "n_classes": int(np.count_nonzero(table.counts.sum(0))),
        "scores": _scores(found),
        "classes": _classes(run, table),
        "confusions": [(name, STAGE_TITLES[stage.name]) for name, (stage, _) in confusions.items()],
        "reliability": curves[-1][1],
        "too_sure": TOO_SURE,
        "figures": pictures,
    }


def _probability(run: FinishedRun, stage: FinishedStage) -> np.ndarray:
    """Of the samples that have a label and a known class."""
    return stage.table["probability"].to_numpy()[(stage.labels >= 0) & (run.truth >= 0)]


def _same_labels(run: FinishedRun) -> bool:
    """Whether the labels of DEC are those of the GMM stage."""
    gmm, dec = run.stages.get("GMM"), run.stages.get("DEC")
    if gmm is None or dec is None or gmm.n_clusters != dec.n_clusters:
        return False
    return dec.metrics.get("refined") is False


def _scores(found: Sequence[tuple[FinishedStage, Overlap]]) -> Context:
    rows = [
        [
            STAGE_TITLES[stage.name],
            len(table.counts),
            table.accuracy,
            table.nmi,
            table.ari,
            table.purity,
        ]
        for stage, table in found
    ]
    return {"header": ("stage", "clusters", "accuracy", "NMI", "ARI", "purity"), "rows": rows}


def _classes(run: FinishedRun, table: Overlap) -> Context:
    names, rows, clusters = read_names(run), [], []
    for one in class_scores(table, run.class_names):
        cluster = None if one.cluster < 0 else one.cluster
        title = None if cluster is None else title_of(cluster, names)
        rows.append([one.name, one.size, title, one.recall, one.precision])
        clusters.append(cluster)
    header = ("class", "samples", "cluster", "recall", "precision")
    return {"header": header, "rows": rows, "clusters": clusters, "digits": 3}


def _confusion(run: FinishedRun, stage: FinishedStage, table: Overlap) -> Picture:
    is_final = run.final is not None and stage.name == run.final.name
    names = read_names(run) if is_final else {}
    order, present = table.order(), np.flatnonzero(table.counts.sum(0))
    scores = f"accuracy {table.accuracy:.3f}, NMI {table.nmi:.3f}, ARI {table.ari:.3f}"
    return Picture(
        lambda: overlap_matrix(
            table.counts[order][:, present],
            [title_of(label, names) for label in order.tolist()],
            [run.class_names[column] for column in present],
            row_title="Cluster",
            column_title="Known class",
            title=f"{STAGE_TITLES[stage.name]}: {scores}",
            row_clusters=order.tolist(),
        )
    )
