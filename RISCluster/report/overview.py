"""What a run shows in short: sentences, warnings, a card for each cluster, samples to look at.

Letters: N samples, K clusters, S stations, m samples of the page.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas

from ..catalogue.catalogue import cluster_medians
from ..clustering.selection import K_TOLERANCE, TITLES, choose, contradictions, read_rows
from ..data.layouts import SpectrogramFile
from ..data.measures import BANDS, MEASURES, band_edges
from ..evaluation.comparison import CONFIDENT, DOUBTFUL, certainty, refinement
from ..runs.labels import station_of
from ..runs.names import names_notes
from ..runtime import count
from .figures import METHODS, Results, centroid_distances
from .page import duration_text, percent, shown
from .samples import Measured, measure, page_data

Context = dict[str, Any]
STABLE = 0.75  # adjusted Rand index between half-samples of stable clusters
MOVED = 0.2  # share of labels that refinement changed, from which on there is a warning
FEW = 50  # samples a cluster
SMALL = 10  # samples of a cluster
ONE_STATION = 0.8  # share of a cluster at one station
UNCERTAIN = 0.1  # share of doubtful labels
EXAMPLES = 6  # samples on a card
NEAREST = 2  # clusters on a card
LOOKED_AT = {"between": 8, "event": 6, "outlying": 6}  # samples to look at next
MOST = 20  # of them
SECOND = 0.05  # probability in a second cluster from which on a sample is between clusters
PAIR = ["label", "probability", "second", "second_probability"]
NIGHT = [20, 21, 22, 23, 0, 1, 2, 3, 4, 5]  # hours, UTC


def choice_of(results: Results) -> Context | None:
    """Criteria over K, and the choice of each."""
    gmm = results.run.stages.get("GMM")
    if gmm is None:
        return None
    rows, criterion, k = read_rows(gmm.path / "selection.csv"), gmm.settings.gmm.select, 0
    k, choices = gmm.n_clusters, {name: choose(rows, name) for name in TITLES}
    others = {name: at for name, at in choices.items() if name != criterion and at is not None}
    near = [TITLES[name] for name, at in others.items() if abs(at - k) <= K_TOLERANCE]
    stability = [row.stability for row in rows if np.isfinite(row.stability)]
    return {
        "chosen": k,
        "criterion": criterion,
        "contradictions": contradictions(rows, k, criterion),
        "choices": choices,
        "near": near,
        "far": [f"{TITLES[name]} {at}" for name, at in others.items() if TITLES[name] not in near],
        "rows": {row.n_clusters: row for row in rows},
        "most": max(stability, default=None),
    }


# ---- the first screen ---------------------------------------------------------------------------


def overview_section(results: Results) -> Context:
    """Three sentences, warnings, and of a cube the image of its labels."""
    run, stage = results.run, results.stage
    notes = [*run.notes, *names_notes(run)]
    if stage is None:
        n, loss = (run.stages["AEC"].metrics.get(key) for key in ("n_samples", "validation_mse"))
        text = f"{shown(n)} samples: the autoencoder is trained, with a validation loss of "
        return {
            "sentences": [f"{text}{shown(loss)}.", "No sample is labelled yet."],
            "notes": notes,
        }
    choice = choice_of(results)
    sentences = [sizes_sentence(results), _choice(choice), certainty_sentence(results)]
    figures = {}
    if (stage.path / "labels.h5").exists():
        figures[f"{stage.name}_map"] = results.stage_figures(stage)[f"{stage.name}_map"]
    return {
        "sentences": [text for text in sentences if text],
        "notes": [*notes, *_warnings(results, choice)],
        "figures": figures,
    }


def sizes_sentence(results: Results) -> str:
    """How many samples of what are in how many clusters."""
    stage, catalogue, titles = results.stage, results.catalogue, results.titles
    n, unusable = int(stage.sizes.sum()), int((stage.labels < 0).sum())
    text = f"{METHODS[stage.name]} sorted {count(n, 'sample')}"
    if catalogue.has_stations:
        text += f" of {count(len(catalogue.stations), results.place)}"
    if catalogue.has_times:
        first, last = catalogue.span
        text += f" from {str(first)[:16].replace('T', ' ')} UTC on, {duration_text(last - first)},"
    if catalogue.has_events:
        text += f" in {count(len(catalogue.events), 'event')}"
    large, small = int(stage.sizes.argmax()), int(stage.sizes.argmin())
    text += f" into {count(stage.n_clusters, 'cluster')}"
    if stage.sizes[large] > stage.sizes[small]:
        text += f", from {stage.sizes[small]:,} (cluster {titles[small]}) to {stage.sizes[large]:,}"
        text += f" samples (cluster {titles[large]})"
    return text + (f"; {count(unusable, 'unusable sample')} without a label." if unusable else ".")


def _choice(choice: Context | None) -> str:
    if choice is None or len(choice["rows"]) < 2:
        return choice and f"One number of clusters was fitted, K = {choice['chosen']}."
    text = f"K = {choice['chosen']} was selected by {TITLES[choice['criterion']]}"
    near, far = (", ".join(choice[key]) for key in ("near", "far"))
    text += f"; within {K_TOLERANCE} of it: {near}" if near else ""
    text += f"; others would select: {far}" if far else ""
    if choice["most"] is not None:
        row = choice["rows"].get(choice["chosen"])
        text += f"; half-samples agree by an adjusted Rand index of {row.stability:.2f}"
    return f"{text}."


def certainty_sentence(results: Results) -> str:
    """Probabilities of the labels, and scores of the stage."""
    run, stage = results.run, results.stage
    sure, found = certainty(stage), refinement(run)
    text = f"{percent(sure.confident)} of the labels have a probability of {CONFIDENT:g} or more, "
    text += f"{percent(sure.doubtful)} one below {DOUBTFUL:g}"
    if found is not None:
        accepted = run.stages["DEC"].metrics.get("refined", True)
        change = f"refinement changed {percent(found.share_moved)} of them"
        text += f"; {change}" if accepted else "; refinement was rejected"
    metrics = stage.metrics
    for key, name in (
        ("event_agreement", "agreement within events"),
        ("event_agreement_excess", "of which beyond chance"), ("accuracy", "accuracy"),
        ("nmi", "NMI"),
    ):  # fmt: skip
        if metrics.get(key) is not None:
            text += f"; {name} {metrics[key]:.2f}"
    return f"{text}."


def _warnings(results: Results, choice: Context | None) -> list[str]:
    """What a reader has to know before the clusters are interpreted."""
    run, stage, titles, found = results.run, results.stage, results.titles, []
    if choice and len(choice["rows"]) > 1:
        k, first, last = choice["chosen"], min(choice["rows"]), max(choice["rows"])
        if choice["most"] is not None and choice["rows"][k].stability < STABLE:
            found.append(f"K = {k} is not stable: fits to half of the samples give other clusters.")
        if k in (first, last):
            found.append(f"K = {k} is at the edge of the range that was fitted, {first} to {last}.")
        found += [f"{text[0].upper()}{text[1:]}." for text in choice["contradictions"]]
    catalogue, sizes = results.catalogue, stage.sizes
    counts = catalogue.by_station() if len(catalogue.stations) > 1 else np.zeros((0, len(sizes)))
    for label in np.flatnonzero(sizes >= SMALL).tolist() if len(counts) else ():
        at = int(counts[:, label].argmax())
        share, overall = counts[at, label] / sizes[label], counts[at].sum() / sizes.sum()
        if share > max(ONE_STATION, 2 * overall):
            where = f"{results.place} {catalogue.stations[at]}"
            found.append(f"{percent(share)} of cluster {titles[label]} are from {where} alone.")
    moved, dec = refinement(run), run.stages.get("DEC")
    if dec and not dec.metrics.get("refined", True):
        found.append("Refinement separated neighbours: the labels of DEC are the mixture's.")
    elif moved and moved.share_moved > MOVED:
        found.append(f"Refinement changed {percent(moved.share_moved)} of the labels.")
    if sizes.sum() < FEW * len(sizes):
        found.append(f"Few samples: {sizes.sum():,} for {len(sizes)} clusters.")
    if small := [titles[label] for label in np.flatnonzero(sizes < SMALL).tolist()]:
        found.append(f"Fewer than {SMALL} samples are in cluster {', '.join(small)}.")
    if (doubtful := certainty(stage).doubtful) > UNCERTAIN:
        found.append(f"{percent(doubtful)} of the labels have a probability below {DOUBTFUL:g}.")
    if dead := (run.stages["AEC"].metrics.get("dead_features") if "AEC" in run.stages else None):
        found.append(f"{count(len(dead), 'dead latent feature')}: the same value for every sample.")
    return found


# ---- cards --------------------------------------------------------------------------------------


def cards_section(results: Results) -> Context | None:
    """All facts of each cluster in one place; reads the samples of the page."""
    if results.stage is None:
        return None
    look, typical = chosen_samples(results), results.representatives.typical
    chosen = [i for part in typical for i in part["sample"].tolist()[:EXAMPLES]]
    chosen = list(dict.fromkeys([*chosen, *(sample for sample, _ in look)]))
    found = results.measured = measure(results, chosen)
    results.look, results.data = look, page_data(results, found, chosen)
    stage = results.stage
    titles, rows = _facts(results, found), stage.table
    cards = []
    for label in range(stage.n_clusters):
        chosen = results.representatives.typical[label].iloc[:EXAMPLES]
        cards.append(
            {
                "label": label,
                "size": int(stage.sizes[label]),
                "share": percent(stage.sizes[label] / max(1, stage.sizes.sum())),
                "examples": [_example(rows, found, i) for i in chosen["sample"].tolist()],
                "facts": [fact for fact in titles[label] if fact[1]],
            }
        )
    unit = results.file and results.file.amplitude_unit
    scale = f"dB re 1 {unit}" if unit else "dB, re 1 as stored"
    return {
        "cards": cards,
        "scale": scale if found.decibel else f"as stored{f' ({unit})' if unit else ''}",
        "decibel": found.decibel,
        "exact": len(found.index) >= stage.sizes.sum(),
        "n": len(found.index),
        "has_times": results.catalogue.has_times,
        "has_days": results.has_days,
    }


def _example(table: pandas.DataFrame, found: Measured, sample: int) -> Context:
    """Row on the page, number, time, trace and probability of a sample."""
    row = table.iloc[sample]
    time = row.get("starttime")
    known = time is not None and not pandas.isna(time)
    return {
        "row": int(np.searchsorted(found.index, sample)),
        "sample": sample,
        "label": int(row["label"]),
        "time": f"{time:%Y-%m-%d %H:%M:%S}" if known else "",
        "station": station_of(row.get("trace_id") or ""),
        "probability": float(row["probability"]),
    }


def _facts(results: Results, found: Measured) -> list[list[tuple]]:
    stage, file, titles, catalogue = results.stage, results.file, results.titles, results.catalogue
    measures, moved = results.performances[-1].measures, refinement(results.run)
    distances, labels = centroid_distances(results), stage.labels[found.index]
    hours, stations = catalogue.by_hour(), catalogue.by_station()
    events = catalogue.events_by_cluster() if catalogue.has_events else None
    medians = cluster_medians(file, stage.labels, stage.n_clusters) if file else pandas.DataFrame()
    unit = file and file.frequency_unit
    facts: list[list[tuple]] = []
    for label in range(stage.n_clusters):
        mine, size = labels == label, int(stage.sizes[label])
        value = {key: one.values[label] for key, one in measures.items()}
        frequency, peak = (_range(found.quartiles(x, mine)) for x in (found.frequency, found.peak))
        own = [
            ("Peak frequency", frequency and f"{frequency} {unit}"),
            ("Peak amplitude", peak and f"{peak} {file.amplitude_unit}"),
            *_medians(file, medians, label),
            ("Probability", f"mean {shown(value['probability'], 3)}"),
            ("Agreement", ", ".join(
                f"{name} {shown(value[key], 2)}"
                for key, name in (
                    ("inner_product", "with its mean"), ("silhouette_latent", "silhouette"),
                    ("silhouette_data", "in data space"),
                )
                if key in value and np.isfinite(value[key])
            )),
        ]  # fmt: skip
        if events is not None and events.loc[label, "events"]:
            n, low, middle, high = events.loc[label]
            own.append(
                (
                    "Events",
                    f"{n:,.0f}, at {middle:g} stations (median; quartiles {low:g} to {high:g})",
                )
            )
        if catalogue.has_stations and size:
            best = np.argsort(-stations[:, label], kind="stable")[:3]
            parts = [f"{results.stations[at]} {percent(stations[at, label] / size)}" for at in best]
            n = f"{(stations[:, label] > 0).sum():,} of {len(stations):,}"
            own.append((f"{results.place.capitalize()}s", f"{n}, most at {', '.join(parts)}"))
        if results.has_days and hours[:, label].any():
            night = hours[NIGHT, label].sum() / hours[:, label].sum()
            most = int(hours[:, label].argmax())
            own.append(
                ("Hour of day", f"most at {most:02d} h, {percent(night)} from 20 to 6 h UTC")
            )
        if moved and np.isfinite(moved.moved[label]):
            own.append(
                ("Refinement", f"moved {percent(float(moved.moved[label]))} to other clusters")
            )
        near = [at for at in np.argsort(distances[label]) if np.isfinite(distances[label, at])]
        near = [f"{titles[at]} ({distances[label, at]:.3g})" for at in near if at != label]
        own.append(("Nearest clusters", ", ".join(near[:NEAREST])))
        facts.append(own)
    return facts


def _medians(file: SpectrogramFile | None, medians: pandas.DataFrame, label: int) -> list[tuple]:
    """Names and texts of the measures of a cluster that the data set has."""
    if not {*MEASURES} <= {*medians} or medians.loc[label, [*MEASURES]].isna().any():
        return []
    row, edges = medians.loc[label], band_edges(file.frequency)
    names = {"duration": "duration", "onset_slope": "onset slope", "rms": "RMS"}
    waveform = [
        f"{names[name]} {shown(row[name], 3)} {MEASURES[name][0] or file.waveform_unit}"
        for name in names
    ]
    bands = [
        f"{percent(row[name])} from {low:.3g} to {high:.3g} Hz"
        for name, (low, high) in zip(BANDS, pairwise(edges), strict=True)
    ]
    return [("Waveform", f"{', '.join(waveform)} (medians)"), ("Power", ", ".join(bands))]


def _range(quartiles: np.ndarray) -> str:
    low, middle, high = (shown(value, 3) for value in quartiles)
    return f"{middle} ({low} to {high})" if np.isfinite(quartiles).all() else ""


# ---- samples to look at next --------------------------------------------------------------------


def samples_section(results: Results) -> Context | None:
    """Samples to look at next, each with why."""
    if not results.look:
        return None
    table, found = results.stage.table, results.measured
    return {"samples": [(_example(table, found, at), why) for at, why in results.look]}


def chosen_samples(results: Results) -> list[tuple[int, str]]:
    """At most 20 samples that are most worth a look, and why."""
    if results.stage is None:
        return []
    titles, likely = results.titles, results.representatives
    near = pandas.concat(likely.borderline, ignore_index=True)
    near = near[near["second_probability"] >= SECOND]
    lead = near["probability"] - near["second_probability"]
    near = near.loc[lead.sort_values(kind="stable").index]
    between = [
        f"between {titles[label]} ({own:.2f}) and {titles[second]} ({other:.2f})"
        for label, own, second, other in near[PAIR].itertuples(index=False)
    ]
    outlying = likely.outlying
    rare = [
        f"unlike others: {percent(share)} of the training samples are less likely"
        for share in outlying["less_likely"]
    ]
    texts = {
        "between": list(zip(near["sample"].tolist(), between, strict=True)),
        "event": _disagreeing(results),
        "outlying": list(zip(outlying["sample"].tolist(), rare, strict=True)),
    }
    found: dict[int, str] = {}
    for most in (LOOKED_AT, dict.fromkeys(LOOKED_AT, MOST)):  # then those left
        for kind, n in most.items():
            fresh = [(sample, why) for sample, why in texts[kind] if sample not in found]
            found |= dict(fresh[: min(n, MOST - len(found))])
    return list(found.items())


def _disagreeing(results: Results) -> list[tuple[int, str]]:
    """A sample of each event whose label is not that of most of its records, large events first."""
    catalogue = results.catalogue
    if not catalogue.has_events:
        return []
    events = catalogue.events.query("stations > 2 and 0.5 < share < 1")
    events = events.sort_values("samples", ascending=False, kind="stable")
    most = pandas.Series(catalogue.event).map(events["label"]).to_numpy()  # NaN for other events
    odd = np.flatnonzero((most >= 0) & (catalogue.labels >= 0) & (catalogue.labels != most))
    first = pandas.Series(odd, catalogue.event[odd]).groupby(level=0).first()
    return [
        (
            int(first[one.Index]),
            f"{round(one.share * one.samples)} of {one.samples} records of its event are in "
            f"{results.titles[one.label]}",
        )
        for one in events.itertuples()
    ]
