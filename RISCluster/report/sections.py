"""Values of the sections of the page that templates can't compute: texts, cards, tables.

Letters: K clusters, S stations.
"""

import shlex
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import pandas

from ..catalogue.catalogue import cluster_medians, count_occurrences, largest, season_names
from ..data.measures import BANDS, MEASURES, band_edges
from ..plots.results import Results
from ..settings import DEFAULTS, KEYS, as_text
from .samples import PageSamples, page_data

Context = dict[str, Any]
STABLE = 0.75  # adjusted Rand index between half-samples of stable clusters
MOVED = 0.2  # share of labels that refinement changed, from which on there is a warning
FEW = 50  # samples a cluster
SMALL = 10  # samples of a cluster
ONE_STATION = 0.8  # share of a cluster at one station
EXAMPLES = 6  # samples on a card
NEAREST = 2  # clusters on a card
STATION_ROWS = 40  # of a table
MOST = 20  # samples to look at next
SECOND = 0.1  # probability in a second cluster from which on a sample is between clusters
NIGHT = [20, 21, 22, 23, 0, 1, 2, 3, 4, 5]  # hours, UTC


def overview(results: Results) -> Context:
    """What a reader has to know before the clusters are interpreted."""
    titles, catalogue, sizes = results.titles, results.catalogue, results.stage.sizes
    found, choice = [*results.run.notes], results.choice
    if choice and choice["stability"] < STABLE:
        found.append(
            f"K = {choice['k']} is not stable: parts of samples and features give other clusters."
        )
    found += choice["contradictions"] if choice else []
    counts = catalogue.by_station()
    for label in np.flatnonzero(sizes >= SMALL).tolist() if len(counts) > 1 else ():
        at = int(counts[:, label].argmax())
        share, overall = counts[at, label] / sizes[label], counts[at].sum() / sizes.sum()
        if share > max(ONE_STATION, 2 * overall):
            where = f"{results.place} {catalogue.stations[at]}"
            found.append(f"{share:.1%} of cluster {titles[label]} are from {where} alone.")
    if not results.stage.metrics.get("refined", True):
        found.append(
            "Refinement was rejected: it separated neighbours. The labels of DEC are the mixture's."
        )
    elif results.refinement and results.refinement.share_moved > MOVED:
        found.append(f"Refinement changed {results.refinement.share_moved:.1%} of the labels.")
    if sizes.sum() < FEW * len(sizes):
        found.append(f"Few samples: {sizes.sum():,} for {len(sizes)} clusters.")
    return {"notes": found}


# ---- cards, samples to look at next -------------------------------------------------------------


def cards(results: Results) -> Context:
    """All facts of each cluster in one place; reads the samples of the page."""
    stage, file, catalogue = results.stage, results.file, results.catalogue
    typical = [table["sample"].tolist()[:EXAMPLES] for table in results.representatives.typical]
    results.look = samples_to_look_at(results)
    chosen = [i for part in typical for i in part] + [i for i, _ in results.look]
    chosen += [i for i in results.chosen if stage.labels[i] >= 0]
    found = PageSamples(results, list(dict.fromkeys(chosen)))
    results.data = page_data(results, found)
    labels, distances = stage.labels[found.index], results.centroid_distances
    hours, stations = catalogue.by_hour(), catalogue.by_station()
    events = catalogue.events_by_cluster().to_numpy() if len(catalogue.events) else None
    medians = cluster_medians(file, stage.labels, stage.n_clusters)
    medians = medians.dropna(subset=[*MEASURES]) if {*MEASURES} <= {*medians} else medians.iloc[:0]
    edges = pairwise(band_edges(file.frequency)) if len(medians) else [()] * len(BANDS)
    measures, found_cards = results.performances[-1].measures, []
    for label in range(stage.n_clusters):
        is_member, best = labels == label, np.argsort(-stations[:, label], kind="stable")[:3]
        near = [at for at in np.argsort(distances[label]) if at != label]
        found_cards.append({
            "label": label, "size": int(stage.sizes[label]),
            "frequency": found.quartiles(found.frequency, is_member),
            "peak": found.quartiles(found.peak, is_member),
            "measures": {key: x[label] for key, x in measures.items()},
            "events": None if events is None else events[label],
            "n_stations": (stations[:, label] > 0).sum(),
            "stations": [(results.stations[at], stations[at, label]) for at in best],
            "hours": hours[:, label] if results.has_days else np.zeros(24),
            "near": [(at, distances[label, at]) for at in near[:NEAREST]],
            "medians": medians.loc[label].to_dict() if label in medians.index else None,
        })  # fmt: skip
    return {
        "cards": found_cards, "decibel": found.decibel, "n": len(found.index), "night": NIGHT,
        "bands": dict(zip(BANDS, edges, strict=True)),
    }  # fmt: skip


def samples_to_look_at(results: Results) -> list[tuple[int, str]]:
    """At most 20 samples that are most worth a look, and why: in turn of each kind.

    Samples between two clusters; of each event, large ones first, a sample whose label is not that
    of most of its records; outliers.
    """
    titles, likely, catalogue = results.titles, results.representatives, results.catalogue
    near = pandas.concat(likely.borderline, ignore_index=True)
    near["lead"] = near["probability"] - near["second_probability"]
    near = near[near["second_probability"] >= SECOND].sort_values("lead", kind="stable")
    why = "between {} ({:.2f}) and {} ({:.2f})".format
    between = [
        (x.sample, why(titles[x.label], x.probability, titles[x.second], x.second_probability))
        for x in near.itertuples()
    ]
    events = catalogue.events.query("stations > 2 and 0.5 < share < 1").add_prefix("event_")
    odd = pandas.DataFrame({"event": catalogue.event, "label": catalogue.labels})
    odd = odd.join(events, on="event", how="inner").query("label >= 0 and label != event_label")
    odd = odd.groupby("event").head(1).sort_values("event_samples", ascending=False, kind="stable")
    why = "{:.0f} of {} records of its event are in {}".format
    disagreeing = [
        (x.Index, why(x.event_share * x.event_samples, x.event_samples, titles[x.event_label]))
        for x in odd.itertuples()
    ]
    why = "outlier: less likely than {:.1%} of the training samples".format
    outlying = [(x.sample, why(1 - x.less_likely)) for x in likely.outlying.itertuples()]
    found: dict[int, str] = {}
    for turn in zip_longest(between, disagreeing, outlying):
        for sample, why in filter(None, turn):
            found.setdefault(sample, why)
    return list(found.items())[:MOST]


# ---- where and when -----------------------------------------------------------------------------


def stations(results: Results) -> Context | None:
    """Samples of each cluster at the stations with most of them."""
    if not results.catalogue.has_stations:
        return None
    counts = results.catalogue.by_station()
    rows = [
        (results.stations[row], sum(counts[row].tolist()), *counts[row].tolist())
        for row in largest(counts, STATION_ROWS)
    ]
    table = {"header": (results.place, "all", *results.titles), "rows": rows, "shades": 2}
    notes = [] if results.report.stations is None else results.located[1]
    title = f"{results.place.capitalize()}s"
    return {"title": title, "n": len(counts), "table": table, "notes": notes}


def time(results: Results) -> Context:
    """Bins of the time lines, and samples by season; in several years, of each year."""
    catalogue = results.catalogue
    if not catalogue.has_times:
        return {"notes": ["The data have no start times."], "recording": None}
    found = {
        "recording": count_occurrences(catalogue, results.bins)[1],
        "notes": results.environment[1], "seasons": None,
    }  # fmt: skip
    if not results.has_days:
        return found
    times, labels = pandas.DatetimeIndex(catalogue.starttime), results.stage.labels
    known, names = (labels >= 0) & times.notna(), season_names(results.report.seasons)
    groups = [pandas.Series(times.month).map(names).fillna("other months").to_numpy()]
    if times[known].year.nunique() > 1:
        groups.append(times.year.astype("Int64").astype(str).to_numpy())
    tables = [pandas.crosstab(labels[known], group[known]) for group in groups]
    names = [*dict.fromkeys(names.values()), "other months"]
    tables[0] = tables[0][[name for name in names if name in tables[0]]]
    counts = pandas.concat(tables, axis=1).reindex(range(len(results.titles)), fill_value=0)
    counts.insert(0, "all", results.stage.sizes)
    counts.insert(0, "cluster", results.titles)
    rows, clusters = counts.astype(object).to_numpy().tolist(), list(counts.index)
    found["seasons"] = {"header": [*counts], "rows": rows, "clusters": clusters, "shades": 2}
    return found


def run(results: Results) -> Context:
    """Settings that differ from the defaults, and commands."""
    finished, rows = results.run, []
    sections = "run", "data", *["cube"] * (results.file.layout == "cube")
    for section in (*sections, *map(str.lower, finished.stages), "report"):
        settings = finished.stages.get(section.upper(), finished).settings
        for name, value in settings.values(section).items():
            if value != DEFAULTS[name]:
                both = as_text(value), as_text(DEFAULTS[name])
                rows.append((name, *both, KEYS[name].sentence))
    header = ("Setting", "Value", "Default", "What it is")
    commands = [shlex.join(one.provenance.get("command", [])) for one in finished.stages.values()]
    commands = dict.fromkeys(commands)  # `run` makes all stages
    return {"changed": {"header": header, "rows": rows}, "commands": "\n".join(commands)}
