"""What a run shows in short: warnings, a card for each cluster, samples to look at.

Letters: N samples, K clusters, S stations, m samples of the page.
"""

from functools import partial
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import pandas

from ..catalogue.catalogue import cluster_medians
from ..clustering.selection import K_TOLERANCE, TITLES, choose, contradictions, read_rows
from ..data.measures import BANDS, MEASURES, band_edges
from ..evaluation.comparison import certainty
from .figures import METHODS, Results, chosen, stage_figures
from .samples import measure, page_data

Context = dict[str, Any]
STABLE = 0.75  # adjusted Rand index between half-samples of stable clusters
MOVED = 0.2  # share of labels that refinement changed, from which on there is a warning
FEW = 50  # samples a cluster
SMALL = 10  # samples of a cluster
ONE_STATION = 0.8  # share of a cluster at one station
EXAMPLES = 6  # samples on a card
NEAREST = 2  # clusters on a card
MOST = 20  # samples to look at next
SECOND = 0.05  # probability in a second cluster from which on a sample is between clusters
NIGHT = [20, 21, 22, 23, 0, 1, 2, 3, 4, 5]  # hours, UTC


def choice_of(results: Results) -> Context | None:
    """Criteria over K, and the choice of each."""
    gmm = results.run.stages.get("GMM")
    if gmm is None:
        return None
    rows, criterion = read_rows(gmm.path / "selection.csv"), gmm.settings.gmm.select
    k, choices = gmm.n_clusters, {name: choose(rows, name) for name in TITLES}
    others = {name: at for name, at in choices.items() if name != criterion and at is not None}
    near = [TITLES[name] for name, at in others.items() if abs(at - k) <= K_TOLERANCE]
    far = [f"{TITLES[name]} {at}" for name, at in others.items() if abs(at - k) > K_TOLERANCE]
    stability = next((row.stability for row in rows if row.n_clusters == k), np.nan)
    doubts = [f"{text[0].upper()}{text[1:]}." for text in contradictions(rows, k, criterion)]
    return {
        "chosen": k, "criterion": criterion, "contradictions": doubts, "choices": choices,
        "near": near, "far": far, "rows": rows,
        "stability": stability if np.isfinite(stability) else None,
    }  # fmt: skip


# ---- the first screen ---------------------------------------------------------------------------


def overview_section(results: Results) -> Context:
    """Values of the sentences, warnings, and of a cube the image of its labels."""
    run, stage = results.run, results.stage
    choice, cube = choice_of(results), (f"{stage.name}_map", f"{stage.name}_section")
    drawn = {key: draw for key, draw in stage_figures(results, stage).items() if key in cube}
    return {
        "method": METHODS[stage.name], "choice": choice, "sure": certainty(stage),
        "notes": [*run.notes, *_warnings(results, choice)], "figures": drawn,
    }  # fmt: skip


def _warnings(results: Results, choice: Context | None) -> list[str]:
    """What a reader has to know before the clusters are interpreted."""
    titles, catalogue, sizes, found = results.titles, results.catalogue, results.stage.sizes, []
    if choice:
        if choice["stability"] is not None and choice["stability"] < STABLE:
            k = choice["chosen"]
            found.append(f"K = {k} is not stable: fits to half of the samples give other clusters.")
        found += choice["contradictions"]
    counts = catalogue.by_station()
    for label in np.flatnonzero(sizes >= SMALL).tolist() if len(counts) > 1 else ():
        at = int(counts[:, label].argmax())
        share, overall = counts[at, label] / sizes[label], counts[at].sum() / sizes.sum()
        if share > max(ONE_STATION, 2 * overall):
            where = f"{results.place} {catalogue.stations[at]}"
            found.append(f"{share:.1%} of cluster {titles[label]} are from {where} alone.")
    if not results.stage.metrics.get("refined", True):
        found.append("Refinement separated neighbours: the labels of DEC are the mixture's.")
    elif results.refinement and results.refinement.share_moved > MOVED:
        found.append(f"Refinement changed {results.refinement.share_moved:.1%} of the labels.")
    if sizes.sum() < FEW * len(sizes):
        found.append(f"Few samples: {sizes.sum():,} for {len(sizes)} clusters.")
    return found


# ---- cards --------------------------------------------------------------------------------------


def cards_section(results: Results) -> Context:
    """All facts of each cluster in one place; reads the samples of the page."""
    stage, file, catalogue = results.stage, results.file, results.catalogue
    typical = [table["sample"].tolist()[:EXAMPLES] for table in results.representatives.typical]
    look = results.look = chosen_samples(results)
    own = [i for i in results.chosen if stage.labels[i] >= 0]
    chosen = [*own, *(i for part in typical for i in part), *(i for i, _ in look)]
    chosen = list(dict.fromkeys(chosen))
    found = results.measured = measure(results, chosen)
    results.data = page_data(results, found, chosen)
    labels, distances = stage.labels[found.index], results.centroid_distances
    hours, stations = catalogue.by_hour(), catalogue.by_station()
    events = catalogue.events_by_cluster().to_numpy() if catalogue.has_events else None
    medians = cluster_medians(file, stage.labels, stage.n_clusters)
    measures = results.performances[-1].measures
    cards = []
    for label in range(stage.n_clusters):
        mine, best = labels == label, np.argsort(-stations[:, label], kind="stable")[:3]
        near = [at for at in np.argsort(distances[label]) if at != label]
        cards.append({
            "label": label, "size": int(stage.sizes[label]),
            "examples": [_example(results, i) for i in typical[label]],
            "frequency": found.quartiles(found.frequency, mine),
            "peak": found.quartiles(found.peak, mine),
            "measures": {key: x[label] for key, x in measures.items()},
            "events": None if events is None else events[label],
            "n_stations": (stations[:, label] > 0).sum(),
            "stations": [(results.stations[at], stations[at, label]) for at in best],
            "hours": hours[:, label] if results.has_days else np.zeros(24),
            "near": [(at, distances[label, at]) for at in near[:NEAREST]],
            **_medians(file, medians, label),
        })  # fmt: skip
    return {"cards": cards, "decibel": found.decibel, "n": len(found.index), "night": NIGHT}


def _medians(file: Any, medians: pandas.DataFrame, label: int) -> Context:
    """Medians of a cluster's measures, and shares and edges of bands, where the file has them."""
    if not {*MEASURES} <= {*medians} or medians.loc[label, [*MEASURES]].isna().any():
        return {"medians": None}
    row, edges = medians.loc[label].to_dict(), pairwise(band_edges(file.frequency))
    bands = [(row[name], *edge) for name, edge in zip(BANDS, edges, strict=True)]
    return {"medians": row, "bands": bands}


def _example(results: Results, sample: int) -> Context:
    """Facts of a sample, and its row on the page."""
    row = int(np.searchsorted(results.measured.index, sample))
    return {"row": row, **results.facts(sample)}


# ---- samples to look at next --------------------------------------------------------------------


def samples_section(results: Results) -> Context | None:
    """Samples to look at next, each with why."""
    if not results.look:
        return None
    return {"samples": [(_example(results, at), why) for at, why in results.look]}


def chosen_section(results: Results) -> Context | None:
    """The samples of ``report.samples``."""
    if not results.chosen:
        return None
    known = [sample for sample in results.chosen if results.stage.labels[sample] >= 0]
    examples = [_example(results, sample) for sample in known]
    return {"samples": examples, "figures": {"report_samples": partial(chosen, results)}}


def chosen_samples(results: Results) -> list[tuple[int, str]]:
    """At most 20 samples that are most worth a look, and why: in turn of each kind."""
    titles, likely = results.titles, results.representatives
    near = pandas.concat(likely.borderline, ignore_index=True)
    near = near[near["second_probability"] >= SECOND]
    lead = near["probability"] - near["second_probability"]
    between = [
        (
            row.sample,
            f"between {titles[row.label]} ({row.probability:.2f}) and {titles[row.second]} "
            f"({row.second_probability:.2f})",
        )
        for row in near.loc[lead.sort_values(kind="stable").index].itertuples()
    ]
    rare = "unlike others: {:.1%} of the training samples are less likely".format
    outlying = [(row.sample, rare(row.less_likely)) for row in likely.outlying.itertuples()]
    found: dict[int, str] = {}
    for turn in zip_longest(between, _disagreeing(results), outlying):
        for sample, why in filter(None, turn):
            found.setdefault(sample, why)
    return list(found.items())[:MOST]


def _disagreeing(results: Results) -> list[tuple[int, str]]:
    """A sample of each event whose label is not that of most of its records, large events first."""
    catalogue = results.catalogue
    events = catalogue.events.query("stations > 2 and 0.5 < share < 1").add_prefix("event_")
    rows = pandas.DataFrame({"event": catalogue.event, "label": catalogue.labels})
    odd = rows.join(events, on="event", how="inner").query("label >= 0 and label != event_label")
    odd = odd.groupby("event").head(1)
    return [
        (
            row.Index,
            f"{round(row.event_share * row.event_samples)} of {row.event_samples} records of its "
            f"event are in {results.titles[row.event_label]}",
        )
        for row in odd.sort_values("event_samples", ascending=False, kind="stable").itertuples()
    ]
