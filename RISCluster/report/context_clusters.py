"""Values of the sections on clusters, refinement, known classes, and samples to look at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas

from ..evaluation.comparison import CONFIDENT, DOUBTFUL, QUANTILES, refinement, side_by_side
from ..evaluation.mapping import TITLES
from ..evaluation.metrics import Overlap, against_truth, class_scores, reliability
from ..evaluation.performance import compare_stages, performance_table
from ..evaluation.representatives import BORDERLINE
from ..plots import agreement, latent
from ..runs.names import names_path, title_of
from . import figures
from .figures import METHODS, Results, stage_figures
from .page import percent

Context = dict[str, Any]
STAGES = {"GMM": "mixture (GMM)", "DEC": "refined (DEC)"}
LISTED = 6  # samples of a cluster in the table
SECOND = 0.05  # probability in a second cluster from which on a sample is borderline
DRAWN = 24  # borderline or outlying samples in a gallery
TOO_SURE = 0.05  # mean error of probabilities that is mentioned


def clusters_section(results: Results) -> Context | None:
    """Sizes, measures and figures of the final clusters."""
    stage, names = results.stage, results.names
    if stage is None:
        return None
    n = stage.latents.shape[1]
    most = f"the {latent.PAIRED} of {n} with most variance between clusters"
    features = most if n > latent.PAIRED else f"all {n}"
    drawn = {}
    if results.file is not None:
        for label in results.largest:
            drawn[f"report_cluster_{label}"] = _bind(figures.cluster_gallery, results, label)
        drawn["report_means"] = _bind(figures.means, results)
    embedding = f"{stage.name}_embedding"
    return {
        "stage": stage.name,
        "method": METHODS[stage.name],
        "sizes": stage.sizes.tolist(),
        "n_unusable": int((stage.labels < 0).sum()),
        "has_data": results.file is not None,
        "refined": stage.metrics.get("refined") is not False,
        "empty": np.flatnonzero(stage.sizes == 0).tolist(),
        "tables": [performance_table(one, names) for one in results.performances],
        "both": compare_stages(results.performances, names),
        "galleries": [(label, results.titles[label]) for label in results.largest],
        "features": features,
        "method_of_map": TITLES[results.settings.report.embedding],
        "figures": drawn
        | {
            "report_silhouettes": _bind(figures.silhouettes, results),
            "report_latent_pairs": _bind(figures.latent_pairs, results, features),
            "report_distances": _bind(figures.distances, results),
            embedding: stage_figures(results, stage)[embedding],
        },
    }


def _bind(draw: Any, *words: Any, **more: Any) -> figures.Draw:
    return lambda: draw(*words, **more)


def samples_section(results: Results) -> Context | None:
    """Typical, borderline and outlying samples."""
    if results.stage is None:
        return None
    found, names, drawn = results.representatives, results.names, {}
    near = pandas.concat(found.borderline, ignore_index=True)
    near = near[near["second_probability"] >= SECOND]
    lead = near["probability"] - near["second_probability"]
    near = near.loc[lead.sort_values(kind="stable").index]
    waveforms = figures.waveforms_of(results.file)
    for label in results.largest if waveforms else ():
        name = f"report_waveforms_{label}"
        drawn[name] = _bind(figures.detections, results, label, waveforms)
    for name, chosen, words in (
        ("borderline", near, "\n{label}: {probability:.2f}, {second}: {second_probability:.2f}"),
        ("outlying", found.outlying, "\nlog-likelihood {log_likelihood:.4g}"),
    ):
        first = chosen.iloc[:DRAWN]
        if results.file is not None and len(first):
            title = f"{len(first)} {name} samples"
            drawn[f"report_{name}"] = _bind(figures.sample_gallery, results, first, words, title)
    typical = pandas.concat([part.iloc[:LISTED] for part in found.typical])
    return {
        "names_path": str(names_path(results.run)),
        "n_names": len(names),
        "n_clusters": results.stage.n_clusters,
        "has_data": results.file is not None,
        "typical": _table(results, typical),
        "galleries": [(label, results.titles[label]) for label in results.largest] * bool(waveforms),
        "borderline": _table(results, near, ("Second cluster", "Its probability")),
        "outlying": _table(
            results, found.outlying, ("Log-likelihood", "Training samples less likely")
        ),
        "most": BORDERLINE,
        "second": SECOND,
        "figures": drawn,
    }


def _table(results: Results, chosen: pandas.DataFrame, more: Sequence[str] = ()) -> Context:
    """Columns of all tables, onsets where they are known, and `more` by name."""
    rows = results.stage.table.iloc[chosen["sample"]].reset_index(drop=True)
    missing = pandas.Series(None, index=rows.index, dtype=object)
    titles = {-1: None} | dict(enumerate(results.titles))
    second = chosen["second"] >= 0
    columns = {
        "Cluster": chosen["label"].map(titles),
        "Sample": chosen["sample"].astype(str),  # without separators
        "Start time (UTC)": _times(rows.get("starttime", missing), "s"),
        "Onset (UTC)": _times(rows.get("onset", missing), "ms"),
        "Trace": rows.get("trace_id", missing).astype(object).replace("", None),
        "Probability": chosen["probability"],
        "Second cluster": chosen["second"].map(titles),
        "Its probability": chosen["second_probability"].where(second),
        "Log-likelihood": chosen["log_likelihood"],
        "Training samples less likely": chosen["less_likely"],
    }
    header = [*list(columns)[:6], *more]
    if "onset" not in rows:
        header.remove("Onset (UTC)")
    body = list(zip(*(columns[name] for name in header), strict=True))
    return {"header": header, "rows": body, "clusters": chosen["label"].tolist(), "digits": 3}


def _times(times: pandas.Series, unit: str) -> list[str | None]:
    texts = np.datetime_as_string(times.to_numpy(dtype="M8[us]"), unit)
    return [None if text == "NaT" else text.replace("T", " ") for text in texts.tolist()]


# ---- refinement ---------------------------------------------------------------------------------


def comparison_section(results: Results) -> Context | None:
    """What refinement changed."""
    found, run = refinement(results.run), results.run
    if found is None:
        if not run.labelling:
            return None
        there = run.labelling[0].name
        return {"there": there, "lacking": "DEC" if there == "GMM" else "GMM"}
    counts, moved = found.table.counts, found.share_moved > 0
    sides = zip(STAGES.values(), (found.before, found.after), strict=True)
    quantiles = [f"{100 * at:g} %" for at in QUANTILES]
    header = ["stage", *quantiles, f"share from {CONFIDENT:g}", f"share below {DOUBTFUL:g}"]
    rows = [[name, *side.quantiles.tolist(), side.confident, side.doubtful] for name, side in sides]
    order = np.arange(len(counts)) if found.by_label else found.table.order()
    matrix = _bind(
        agreement.overlap_matrix,
        counts[order],
        [str(label) for label in order],
        [title_of(label, results.names) for label in range(counts.shape[1])],
        row_title="Cluster of the mixture (GMM)",
        column_title="Cluster after refinement (DEC)",
        title=f"{percent(found.share_moved)} of {found.table.n:,} samples moved",
        row_clusters=order.tolist() if found.by_label else None,
        column_clusters=range(counts.shape[1]),
    )
    return {
        "lacking": "",
        "found": found,
        "confident": CONFIDENT,
        "doubtful": DOUBTFUL,
        "dec": run.stages["DEC"].metrics,
        "metrics": {"header": ("", *STAGES.values()), "rows": side_by_side(run)},
        "probabilities": {"header": header, "rows": rows, "digits": 3} if found.table.n else None,
        "changes": _changes(found, results) if moved else None,
        "figures": {"report_label_changes": matrix} if moved else {},
    }


def _changes(found: Any, results: Results) -> Context:
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
    curves, drawn, confusions = [], {}, {}
    for stage, table in found[-1:] if same else found:
        known = (stage.labels >= 0) & (truth >= 0)
        probability = stage.table["probability"].to_numpy()[known]
        curves.append((STAGES[stage.name], reliability(table, probability)))
        name = f"report_confusion_{stage.name.lower()}"
        confusions[name] = STAGES[stage.name]
        names = results.names if stage is final else {}
        drawn[name] = _bind(_confusion, STAGES[stage.name], table, run.class_names, names)
    drawn["report_reliability"] = _bind(agreement.reliability_curve, curves)
    classes = class_scores(table, run.class_names)
    titles = {-1: None} | dict(enumerate(results.titles))
    scores = [
        [STAGES[stage.name], len(one.counts), one.accuracy, one.nmi, one.ari, one.purity]
        for stage, one in (found[-1:] if same else found)
    ]
    return {
        "overlap": table,
        "same": same,
        "n_clusters": len(table.counts),
        "n_classes": int(np.count_nonzero(table.counts.sum(0))),
        "scores": {
            "header": ("stage", "clusters", "accuracy", "NMI", "ARI", "purity"),
            "rows": scores,
        },
        "classes": {
            "header": ("class", "samples", "cluster", "recall", "precision"),
            "rows": [
                (one.name, one.size, titles[one.cluster], one.recall, one.precision)
                for one in classes
            ],
            "clusters": [one.cluster if one.cluster >= 0 else None for one in classes],
            "digits": 3,
        },
        "confusions": confusions,
        "reliability": curves[-1][1],
        "too_sure": TOO_SURE,
        "figures": drawn,
    }


def _confusion(stage: str, table: Overlap, class_names: Sequence[str], names: dict) -> Any:
    order, present = table.order(), np.flatnonzero(table.counts.sum(0))
    scores = f"accuracy {table.accuracy:.3f}, NMI {table.nmi:.3f}, ARI {table.ari:.3f}"
    return agreement.overlap_matrix(
        table.counts[order][:, present],
        [title_of(label, names) for label in order.tolist()],
        [class_names[column] for column in present],
        row_title="Cluster",
        column_title="Known class",
        title=f"{stage}: {scores}",
        row_clusters=order.tolist(),
    )
