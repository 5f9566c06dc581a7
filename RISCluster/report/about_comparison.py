"""Section of the report: the mixture's labels against the refined ones."""

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
from ..plots.agreement import overlap_matrix
from ..runs.names import read_names, title_of
from ..runs.run import FinishedRun
from .blocks import Block, Note, Picture, Section, Table, Text, Tiles

TITLE, ANCHOR = "Mixture against refinement", "comparison"


def section(run: FinishedRun) -> Section | None:
    """What refinement changed; None where no stage labels, a line where one of two is missing."""
    found = refinement(run)
    if found is None:
        if not run.labelling:
            return None
        there = run.labelling[0].name
        lacking = "DEC" if there == "GMM" else "GMM"
        text = f"There is no complete {lacking} stage to compare {there} with."
        return Section(TITLE, ANCHOR, [Text(text)])
    blocks: list[Block] = [_tiles(found), *_verdict(run, found), _metrics(run)]
    if found.table.n:
        blocks.append(_certainties(found))
    if found.share_moved > 0:
        blocks += [_clusters(run, found), _picture(run, found)]
    return Section(TITLE, ANCHOR, blocks)


def _tiles(found: Refinement) -> Tiles:
    return Tiles(
        [
            ("labels changed", _percent(found.share_moved), "of samples with a label of both"),
            ("adjusted Rand index", f"{found.table.ari:.3f}", "1: the same clusters; 0: chance"),
            (
                "confident labels",
                f"{_percent(found.before.confident)} to {_percent(found.after.confident)}",
                f"posterior probability of {CONFIDENT:g} and more, before and after",
            ),
            (
                "doubtful labels",
                f"{_percent(found.before.doubtful)} to {_percent(found.after.doubtful)}",
                f"posterior probability below {DOUBTFUL:g}, before and after",
            ),
        ]
    )


def _percent(share: float) -> str:
    return "none" if np.isnan(share) else f"{share:.1%}"


def _verdict(run: FinishedRun, found: Refinement) -> list[Block]:
    """Whether refinement was kept and why, and how clusters of the stages correspond."""
    metrics = run.stages["DEC"].metrics
    if metrics.get("refined") is False:
        kept: Block = Note(
            "Refinement parted neighbours in the autoencoder's latent space and was not kept: the "
            "labels of the DEC stage are the mixture's (dec.keep = refined takes the refined ones)."
        )
    else:
        kept = Text("Refinement was kept." + _neighbours(metrics))
    if found.by_label:
        return [kept]
    matched = (
        f"The GMM stage selected {len(found.match)} clusters, and refinement started from a "
        f"mixture of {found.table.counts.shape[1]}: clusters correspond by the best matching of "
        "their samples, and labels of the same number mean nothing. "
    )
    return [kept, Note(matched + _own_change(metrics))]


def _neighbours(metrics: dict[str, Any]) -> str:
    """How often neighbours share a cluster before and after, where it is known."""
    before, after = (
        metrics.get(key) for key in ("neighbour_agreement_of_gmm", "neighbour_agreement")
    )
    if before is None or after is None:
        return ""
    return (
        " How often neighbours in the autoencoder's latent space share a cluster, from 0 (chance) "
        f"to 1 (always): {before:.3f} by the mixture, {after:.3f} as refined."
    )


def _own_change(metrics: dict[str, Any]) -> str:
    change = metrics.get("label_change_from_gmm")
    if change is None:
        return ""
    return f"From that mixture's own labels refinement changed {change:.1%}."


def _metrics(run: FinishedRun) -> Table:
    return Table(
        "Figures of merit before and after",
        ("", "mixture (GMM)", "refined (DEC)"),
        side_by_side(run),
        note="The silhouette in latent space rises under refinement whatever happens to the "
        "clusters, since refinement draws samples to centroids: it says nothing about whether to "
        "believe them. Neighbour agreement is measured in the autoencoder's latent space, which "
        "refinement has not touched: 0 is chance, 1 means that no sample has a neighbour in "
        "another cluster.",
    )


def _certainties(found: Refinement) -> Table:
    rows = [
        [name, *stage.quantiles.tolist(), stage.confident, stage.doubtful]
        for name, stage in (("mixture (GMM)", found.before), ("refined (DEC)", found.after))
    ]
    header = ["stage", *(f"{100 * at:g} %" for at in QUANTILES)]
    header += [f"share from {CONFIDENT:g}", f"share below {DOUBTFUL:g}"]
    note = "Quantiles of the probability of each sample's label, and shares of samples."
    return Table("Probability of the labels", header, rows, note=note, digits=3)


def _clusters(run: FinishedRun, found: Refinement) -> Table:
    names, sizes = read_names(run), found.table.counts.sum(1)
    became = found.table.counts.sum(0)
    rows, clusters = [], []
    for label, match in enumerate(found.match.tolist()):
        gone = ", ".join(f"{n:,} to {to}" for to, n in found.destinations(label))
        size = int(became[match]) if match >= 0 else None
        rows.append(
            [label, int(sizes[label]), None if match < 0 else title_of(match, names), size]
            + [float(found.moved[label]), gone]
        )
        clusters.append(match if match >= 0 else None)
    header = ("mixture's cluster", "size", "became", "size after", "share moved", "moved samples")
    note = "Samples with a label of both stages. Names are those of the final clusters."
    return Table(
        "What became of each cluster", header, rows, clusters=clusters, note=note, digits=3
    )


def _picture(run: FinishedRun, found: Refinement) -> Picture:
    names, counts = read_names(run), found.table.counts
    order = np.arange(len(counts)) if found.by_label else found.table.order()
    return Picture(
        "report_label_changes",
        lambda: overlap_matrix(
            counts[order],
            [str(label) for label in order],
            [title_of(label, names) for label in range(counts.shape[1])],
            row_title="Cluster of the mixture (GMM)",
            column_title="Cluster after refinement (DEC)",
            title=f"{_percent(found.share_moved)} of {found.table.n:,} samples moved",
            row_clusters=order.tolist() if found.by_label else None,
            column_clusters=range(counts.shape[1]),
        ),
        "Samples by their label before (rows) and after refinement (columns), shaded by their "
        "share of the row. Off the diagonal are samples that moved."
        if found.by_label
        else "Samples by their label before (rows) and after refinement (columns), shaded by their "
        "share of the row; rows in the order of the columns that they match best.",
    )
