"""Values of the sections on clusters, refinement, known classes, and samples to look at."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas

from ..evaluation.comparison import (
    CONFIDENT,
    DOUBTFUL,
    QUANTILES,
    Refinement,
    refinement,
    side_by_side,
)
from ..evaluation.metrics import Overlap, against_truth, class_scores, reliability
from ..evaluation.performance import compare_stages, performance_table
from ..plots.agreement import overlap_matrix, reliability_curve
from ..plots.latent import PAIRED, silhouette_profiles
from ..runs.names import cluster_title
from . import figures
from .figures import Results, stage_figures
from .page import percent

Context = dict[str, Any]
STAGE_TITLES = {"GMM": "mixture (GMM)", "DEC": "refined (DEC)"}
LISTED = 6  # samples of a cluster in the table
SECOND = 0.05  # probability in a second cluster from which on a sample is borderline
DRAWN = 24  # borderline or outlying samples in a gallery


def clusters_section(results: Results) -> Context | None:
    """Sizes, measures and figures of the final clusters."""
    stage, names, drawn = results.stage, results.names, {}
    if stage is None:
        return None
    n = stage.latents.shape[1]
    most = f"the {PAIRED} of {n} with most variance between clusters"
    features, name = most if n > PAIRED else f"all {n}", f"{stage.name}_embedding"
    if results.file is not None:
        for label in results.largest:
            drawn[f"report_cluster_{label}"] = partial(figures.cluster_gallery, results, label)
        drawn["report_means"] = partial(figures.means, results)
    drawn |= {
        "report_silhouettes": partial(silhouette_profiles, results.performances, names),
        "report_latent_pairs": partial(figures.latent_pairs, results, features),
        "report_distances": partial(figures.distances, results),
        name: stage_figures(results, stage)[name],
    }
    return {
        "method": figures.METHODS[stage.name],
        "tables": [performance_table(one, names) for one in results.performances],
        "both": compare_stages(results.performances, names),
        "features": features,
        "figures": drawn,
    }


def samples_section(results: Results) -> Context | None:
    """Typical, borderline and outlying samples."""
    if results.stage is None:
        return None
    found, drawn = results.representatives, {}
    near = pandas.concat(found.borderline, ignore_index=True)
    near = near[near["second_probability"] >= SECOND]
    lead = near["probability"] - near["second_probability"]
    near = near.loc[lead.sort_values(kind="stable").index]
    waveforms = figures.waveforms_of(results.file)
    for label in results.largest if waveforms else ():
        name = f"report_waveforms_{label}"
        drawn[name] = partial(figures.detections, results, label, waveforms)
    for name, chosen, words in (
        ("borderline", near, "\n{label}: {probability:.2f}, {second}: {second_probability:.2f}"),
        ("outlying", found.outlying, "\nlog-likelihood {log_likelihood:.4g}"),
    ):
        first = chosen.iloc[:DRAWN]
        if results.file is not None and len(first):
            title = f"{len(first)} {name} samples"
            drawn[f"report_{name}"] = partial(figures.sample_gallery, results, first, words, title)
    typical = pandas.concat([part.iloc[:LISTED] for part in found.typical])
    likelihood = ("Log-likelihood", "Training samples less likely")
    return {
        "typical": _table(results, typical),
        "borderline": _table(results, near, ("Second cluster", "Its probability")),
        "outlying": _table(results, found.outlying, likelihood),
        "second": SECOND,
        "figures": drawn,
    }


def _table(results: Results, chosen: pandas.DataFrame, more: Sequence[str] = ()) -> Context:
    """Columns of all tables, onsets where they are known, and `more` by name."""
    rows = results.stage.table.iloc[chosen["sample"]].reset_index(drop=True)
    missing = pandas.Series(None, index=rows.index, dtype=object)
    columns = {
        "Cluster": chosen["label"].map(results.titles),
        "Sample": chosen["sample"].astype(str),  # without separators
        "Start time (UTC)": _times(rows.get("starttime", missing), "s"),
        "Onset (UTC)": _times(rows.get("onset", missing), "ms"),
        "Trace": [name or None for name in rows.get("trace_id", missing)],
        "Probability": chosen["probability"],
        "Second cluster": chosen["second"].map(results.titles),
        "Its probability": chosen["second_probability"].where(chosen["second"] >= 0),
        "Log-likelihood": chosen["log_likelihood"],
        "Training samples less likely": chosen["less_likely"],
    }
    header = [name for name in columns if "onset" in rows or name != "Onset (UTC)"]
    header = [*header[: header.index("Probability") + 1], *more]
    body = list(zip(*(columns[name] for name in header), strict=True))
    return {"header": header, "rows": body, "clusters": chosen["label"].tolist(), "digits": 3}


def _times(times: pandas.Series, unit: str) -> list[str | None]:
    texts = np.datetime_as_string(pandas.to_datetime(times).to_numpy("M8[us]"), unit)
    return [None if text == "NaT" else text.replace("T", " ") for text in texts.tolist()]


# ---- refinement ---------------------------------------------------------------------------------


def comparison_section(results: Results) -> Context | None:
    """What refinement changed."""
    found, run = refinement(results.run), results.run
    if found is None:
        return {"found": None} if run.labelling else None
    moved, sides = found.share_moved > 0, (found.before, found.after)
    header = [f"{100 * at:g} %" for at in QUANTILES]
    header = ["stage", *header, f"share from {CONFIDENT:g}", f"share below {DOUBTFUL:g}"]
    rows = [[*one.quantiles.tolist(), one.confident, one.doubtful] for one in sides]
    rows = [[name, *row] for name, row in zip(STAGE_TITLES.values(), rows, strict=True)]
    return {
        "found": found,
        "metrics": {"header": ("", *STAGE_TITLES.values()), "rows": side_by_side(run)},
        "probabilities": {"header": header, "rows": rows, "digits": 3} if found.table.n else None,
        "changes": _changes(found, results) if moved else None,
        "figures": {"report_label_changes": partial(_matrix, found, results)} if moved else {},
    }


def _changes(found: Refinement, results: Results) -> Context:
    """A row for each cluster of the mixture."""
    sizes, became = found.table.counts.sum(1).tolist(), found.table.counts.sum(0).tolist()
    rows, clusters = [], []
    for label, match in enumerate(found.match.tolist()):
        moved = ", ".join(f"{n:,} to {to}" for to, n in found.destinations(label))
        after = (None, None) if match < 0 else (results.titles[match], became[match])
        rows.append([label, sizes[label], *after, float(found.moved[label]), moved])
        clusters.append(match if match >= 0 else None)
    header = ("mixture's cluster", "size", "became", "size after", "share moved", "moved samples")
    return {"header": header, "rows": rows, "clusters": clusters, "digits": 3}


def _matrix(found: Refinement, results: Results) -> Any:
    counts, k = found.table.counts, found.table.counts.shape[1]
    order = (np.arange(len(counts)) if found.by_label else found.table.order()).tolist()
    return overlap_matrix(
        counts[order],
        list(map(str, order)),
        [results.titles[label] for label in range(k)],
        row_title="Cluster of the mixture (GMM)",
        column_title="Cluster after refinement (DEC)",
        title=f"{percent(found.share_moved)} of {found.table.n:,} samples moved",
        row_clusters=order if found.by_label else None,
        column_clusters=range(k),
    )


# ---- known classes ------------------------------------------------------------------------------


def truth_section(results: Results) -> Context | None:
    """Scores against known classes; None where the file has none."""
    run, truth = results.run, results.run.truth
    if truth is None or not (truth >= 0).any() or not run.labelling:
        return None
    found = [(stage, table) for stage in run.labelling if (table := against_truth(run, stage))]
    if not found:
        return {"scores": None}
    gmm, final = run.labelling[0], run.labelling[-1]
    same = gmm.n_clusters == final.n_clusters and final.metrics.get("refined") is False
    curves, drawn, scores = [], {}, []
    for stage, table in found[-1:] if same else found:
        title, known = STAGE_TITLES[stage.name], (stage.labels >= 0) & (truth >= 0)
        probability = stage.table["probability"].to_numpy()[known]
        curves.append((title, reliability(table, probability)))
        measures = [table.accuracy, table.nmi, table.ari, table.purity]
        scores.append([title, len(table.counts), *measures])
        names, classes = results.names if stage is final else {}, run.class_names
        name = f"report_confusion_{stage.name.lower()}"
        drawn[name] = partial(_confusion, title, table, classes, names)
    drawn["report_reliability"] = partial(reliability_curve, curves)
    each = class_scores(table, run.class_names)
    return {
        "overlap": table,
        "same": same,
        "scores": {
            "header": ("stage", "clusters", "accuracy", "NMI", "ARI", "purity"),
            "rows": scores,
        },
        "classes": {
            "header": ("class", "samples", "cluster", "recall", "precision"),
            "rows": [
                (c.name, c.size, results.titles[c.cluster], c.recall, c.precision) for c in each
            ],
            "clusters": [c.cluster if c.cluster >= 0 else None for c in each],
            "digits": 3,
        },
        "reliability": curves[-1][1],
        "figures": drawn,
    }


def _confusion(title: str, table: Overlap, classes: Sequence[str], names: Mapping) -> Any:
    order, present = table.order().tolist(), np.flatnonzero(table.counts.sum(0))
    scores = f"accuracy {table.accuracy:.3f}, NMI {table.nmi:.3f}, ARI {table.ari:.3f}"
    return overlap_matrix(
        table.counts[order][:, present],
        [cluster_title(label, names) for label in order],
        [classes[column] for column in present],
        row_title="Cluster",
        column_title="Known class",
        title=f"{title}: {scores}",
        row_clusters=order,
    )
