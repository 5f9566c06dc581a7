"""Section of the report: clusters against known classes, where there are any."""

import numpy as np

from ..evaluation.overlap import Overlap
from ..evaluation.truth import Reliability, against_truth, class_scores, reliability
from ..plots.agreement import overlap_matrix, reliability_curve
from ..runs.names import read_names, title_of
from ..runs.run import FinishedRun, FinishedStage
from .blocks import Block, Note, Picture, Section, Table, Text, Tiles

TITLE, ANCHOR = "Agreement with known classes", "truth"
STAGES = {"GMM": "mixture (GMM)", "DEC": "refined (DEC)"}
TOO_SURE = 0.05  # of probability: more than this is said


def section(run: FinishedRun) -> Section | None:
    """Scores against known classes; None where the file has none."""
    if run.truth is None or not (run.truth >= 0).any() or not run.labelling:
        return None
    found = [(stage, table) for stage in run.labelling if (table := against_truth(run, stage))]
    if not found:
        text = "No sample has both a label and a known class."
        return Section(TITLE, ANCHOR, [Text(text)])
    same = _same_labels(run)
    found = found[-1:] if same else found
    bins = [(stage, _reliability(run, stage, table)) for stage, table in found]
    stage, table = found[-1]
    blocks: list[Block] = [
        Text(
            "Known classes are in the data file for scoring alone; no part of the run has seen "
            f"them. {table.n:,} samples have a class and a label"
            + (f", {table.n_left_out:,} lack one of them." if table.n_left_out else ".")
            + (" Labels of the mixture and of refinement are the same." if same else "")
        ),
        _tiles(table),
        *_numbers(table),
        _scores(found),
        _classes(run, table),
        *(_confusion(run, stage, table) for stage, table in found),
        *_calibration(bins),
    ]
    return Section(TITLE, ANCHOR, blocks)


def _same_labels(run: FinishedRun) -> bool:
    """Whether refinement has kept the labels of the GMM stage, so that one is enough to show."""
    gmm, dec = run.stages.get("GMM"), run.stages.get("DEC")
    if gmm is None or dec is None or gmm.n_clusters != dec.n_clusters:
        return False
    return dec.metrics.get("refined") is False


def _reliability(run: FinishedRun, stage: FinishedStage, table: Overlap) -> Reliability:
    return reliability(stage.table.labels, stage.table.probability, run.truth, table)


def _tiles(table: Overlap) -> Tiles:
    return Tiles(
        [
            ("accuracy", f"{table.accuracy:.3f}", "under the best one-to-one matching"),
            ("NMI", f"{table.nmi:.3f}", "normalised mutual information"),
            ("ARI", f"{table.ari:.3f}", "adjusted Rand index; 0 is chance"),
            ("purity", f"{table.purity:.3f}", "in their cluster's most frequent class"),
        ]
    )


def _numbers(table: Overlap) -> list[Block]:
    """What to know where there are not as many clusters as classes."""
    n_clusters = len(table.counts)
    n_classes = int(np.count_nonzero(table.counts.sum(0)))
    if n_clusters == n_classes:
        return []
    one, other = ("cluster", "class") if n_clusters < n_classes else ("class", "cluster")
    return [
        Note(
            f"Clusters and classes are not as many, {n_clusters} and {n_classes}: each {other} "
            f"for which no {one} is left counts as wrong in accuracy."
        )
    ]


def _scores(found: list[tuple[FinishedStage, Overlap]]) -> Table:
    rows = [
        [STAGES[stage.name], len(table.counts), table.accuracy, table.nmi, table.ari, table.purity]
        for stage, table in found
    ]
    header = ("stage", "clusters", "accuracy", "NMI", "ARI", "purity")
    note = "Purity rises with the number of clusters; the other three do not by themselves."
    return Table("Scores of each stage", header, rows, note=note)


def _classes(run: FinishedRun, table: Overlap) -> Table:
    names = read_names(run)
    scores = class_scores(table, run.class_names)
    rows = [
        [
            score.name,
            score.size,
            None if score.cluster < 0 else title_of(score.cluster, names),
            score.recall,
            score.precision,
        ]
        for score in scores
    ]
    return Table(
        "Each class",
        ("class", "samples", "cluster", "recall", "precision"),
        rows,
        clusters=[None if score.cluster < 0 else score.cluster for score in scores],
        note="Cluster: matched one-to-one. Recall: share of the class in it. Precision: share of "
        "it that is of the class, among samples of known class.",
        digits=3,
    )


def _confusion(run: FinishedRun, stage: FinishedStage, table: Overlap) -> Picture:
    final = run.final is not None and stage.name == run.final.name
    names = read_names(run) if final else {}
    order = table.order()
    present = np.flatnonzero(table.counts.sum(0))
    return Picture(
        f"report_confusion_{stage.name.lower()}",
        lambda: overlap_matrix(
            table.counts[order][:, present],
            [title_of(label, names) for label in order.tolist()],
            [run.class_names[column] for column in present],
            row_title="Cluster",
            column_title="Known class",
            title=f"{STAGES[stage.name]}: accuracy {table.accuracy:.3f}, NMI {table.nmi:.3f}, "
            f"ARI {table.ari:.3f}",
            row_clusters=order.tolist(),
        ),
        f"Samples of each cluster, {STAGES[stage.name]}, by known class, shaded by their share "
        "of the cluster; clusters in the order of the classes that they match best.",
    )


def _calibration(bins: list[tuple[FinishedStage, Reliability]]) -> list[Block]:
    """Reliability curve and in words what it says of the final stage."""
    last = bins[-1][1]
    off = last.overconfidence
    worth = "probabilities are about right"
    if abs(off) > TOO_SURE:
        worth = f"probabilities are {abs(off):.2f} too {'high' if off > 0 else 'low'} on average"
    picture = Picture(
        "report_reliability",
        lambda: reliability_curve([(STAGES[stage.name], found) for stage, found in bins]),
        "Share of samples whose class is the most frequent one of their cluster, by the "
        "probability of their label; on the dotted line probabilities mean what they say. Bars: "
        "standard error. Below: samples of each bin.",
    )
    text = (
        f"Expected calibration error of the final labels: {last.error:.3f}; {worth}. A probability "
        "says how surely a sample is of its cluster, and can be right where the cluster is not one "
        "class."
    )
    return [Text(text), picture]
