"""Values of the sections below the cards: where and when, relations, known classes, technical.

Letters: K clusters, k drawn ones, B bins, V environmental series, S stations.
"""

import shlex
from functools import partial
from typing import Any

import numpy as np
import pandas

from ..catalogue.catalogue import (
    Bins,
    choose_bins,
    count_occurrences,
    largest,
    read_environment,
    season_names,
)
from ..catalogue.stations import read_stations
from ..evaluation.comparison import side_by_side
from ..evaluation.metrics import against_truth, reliability
from ..evaluation.performance import performance_table
from ..plots import latent, occurrence
from ..plots.agreement import overlap_matrix, reliability_curve
from ..plots.stations import station_counts, station_map
from ..plots.style import plain
from ..plots.training import PANELS
from ..settings import DEFAULTS, KEYS, as_text
from . import figures
from .figures import Results, stage_figures
from .overview import choice_of

Context = dict[str, Any]
STATION_PANELS = 8  # of a figure
STATION_ROWS = 40  # stations of a table and of a figure


# ---- where --------------------------------------------------------------------------------------


def _titles(results: Results) -> list[str]:
    """Titles of all clusters in figures."""
    return [plain(f"cluster {title}") for title in results.titles]


def _with_others(results: Results, counts: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
    """Counts (..., K) of the drawn clusters and of all others (label -1), labels, titles."""
    labels, titles = results.largest, _titles(results)
    mine, rest = counts[..., labels], np.delete(counts, labels, axis=-1)
    titles = [titles[label] for label in labels]
    if not rest.any():
        return mine, labels, titles
    counts = np.concatenate([mine, rest.sum(axis=-1, keepdims=True)], axis=-1)
    return counts, [*labels, -1], [*titles, "other clusters"]


def stations_section(results: Results) -> Context | None:
    """Samples by station, and their map."""
    if not results.catalogue.has_stations:
        return None
    counts, names = results.catalogue.by_station(), results.catalogue.stations
    rows, place, notes = largest(counts, STATION_ROWS), results.settings.report.stations, []
    titles, mine = [results.stations[row] for row in rows], counts[rows]
    table = {
        "header": (results.place, "all", *results.titles),
        "rows": [(x, sum(n), *n) for x, n in zip(titles, mine.tolist(), strict=True)],
        "shades": 2,
    }
    titles = [*map(plain, titles)]
    draws = {"report_stations": lambda: station_counts(titles, *_with_others(results, mine))}
    if place is not None:
        located = read_stations(place)
        places, notes = located.locate(names), [*located.notes]
        known = np.isfinite(places[:, 0])
        if not known.all():
            notes.append(
                f"{(~known).sum():,} of {len(names):,} have no coordinates in {located.path} and "
                f"are not on the map, the first is {names[known.argmin()]}."
            )
        draws["report_station_map"] = lambda: station_map(
            [plain(names[row]) for row in np.flatnonzero(known)], places[known],
            *_with_others(results, counts[known]),
        )  # fmt: skip
    return {"n": len(counts), "table": table, "notes": notes, "figures": draws}


# ---- when ---------------------------------------------------------------------------------------


def time_section(results: Results) -> Context:
    """Samples over time, beside environmental series, and by season."""
    catalogue, settings = results.catalogue, results.settings.report
    if not catalogue.has_times:
        return {"interval": None}
    bins = choose_bins(results.span, settings.interval)
    notes, draws, environment, seasons = [], {}, None, None
    if settings.environment is not None:
        environment, notes = read_environment(settings.environment)
        notes = [f"{settings.environment}: {text}" for text in notes]
    first, last = bins.edges[[0, -1]]
    style = {"moments": [one for one in results.moments if first <= one[0] <= last]}
    style["log_axis"] = settings.log_axis
    draws["report_occurrence"] = partial(_series, results, bins, environment, style)
    if len(catalogue.stations) > 1:
        draws["report_station_occurrence"] = partial(_by_station, results, bins, style)
    if results.has_days:
        seasons = _seasons(results)
        draws["report_profiles"] = partial(_profiles, results)
    return {
        "interval": bins.interval, "recording": count_occurrences(catalogue, bins)[1],
        "notes": notes, "seasons": seasons, "environment": environment is not None,
        "figures": draws,
    }  # fmt: skip


def _seasons(results: Results) -> Context:
    """Samples of each cluster in each season; in several years, of each year."""
    times, labels = pandas.DatetimeIndex(results.catalogue.starttime), results.stage.labels
    known, seasons = (labels >= 0) & times.notna(), results.settings.report.seasons
    names = season_names(seasons)
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
    return {"header": [*counts], "rows": rows, "clusters": clusters, "shades": 2}


def _series(
    results: Results, bins: Bins, environment: pandas.DataFrame | None, style: dict
) -> Any:  # fmt: skip
    (counts, recording), series = count_occurrences(results.catalogue, bins), []
    if environment is not None:
        means = environment.groupby(bins.index(environment.index.to_numpy())).mean()
        means = means.reindex(range(len(recording))).to_numpy()
        series = list(zip(map(plain, environment), means.T, strict=True))
    labels, titles = results.largest, _titles(results)
    panels = [(titles[label], counts[:, [label]], recording > 0) for label in labels]
    alone = [[label] for label in labels]
    return occurrence.occurrence_series(bins.edges, panels, alone, bins.interval, series, **style)


def _by_station(results: Results, bins: Bins, style: dict) -> Any:
    catalogue, panels = results.catalogue, []
    for station in largest(catalogue.by_station(), STATION_PANELS):
        counts, recording = count_occurrences(catalogue, bins, station)
        counts, labels, titles = _with_others(results, counts)
        panels.append((plain(catalogue.stations[station]), counts, recording > 0))
    every = [labels] * len(panels)
    return occurrence.occurrence_series(
        bins.edges, panels, every, bins.interval, titles=titles, height=1.1, **style
    )


def _profiles(results: Results) -> Any:
    hours, months = results.catalogue.by_hour(), results.catalogue.by_month()
    totals, labels = (hours.sum(axis=1), months.sum(axis=1)), results.largest
    titles = [_titles(results)[label] for label in labels]
    return occurrence.profiles(hours[:, labels], months[:, labels], labels, titles, totals)


# ---- relations, measures, refinement ------------------------------------------------------------


def relations_section(results: Results) -> Context | None:
    """Tree of clusters and distances between their centroids."""
    if (results.stage.sizes > 0).sum() < 2:
        return None
    draw = partial(latent.centroid_tree, results.centroid_distances, results.names)
    return {"figures": {"report_tree": draw}}


def measures_section(results: Results) -> Context:
    """Measures and figures of the final clusters."""
    names, map_name = results.names, f"{results.stage.name}_embedding"
    draws = {
        "report_means": partial(figures.means, results),
        "report_silhouettes": partial(latent.silhouette_profiles, results.performances, names),
        "report_distances": partial(figures.distances, results),
        map_name: stage_figures(results, results.stage)[map_name],
    }
    tables = [performance_table(one, names) for one in results.performances[::-1]]
    return {"tables": tables, "figures": draws}


def refinement_section(results: Results) -> Context | None:
    """What refinement changed."""
    found, draws = results.refinement, {}
    if found is None:
        return None
    labels = range(len(results.titles))
    header = ("", "mixture (GMM)", "refined (DEC)")
    if found.share_moved > 0:
        draws["report_label_changes"] = partial(
            overlap_matrix, found.table.counts, [*map(str, labels)], results.titles,
            row_title="Cluster of the mixture (GMM)", row_clusters=labels,
            column_title="Cluster after refinement (DEC)", column_clusters=labels,
            title=f"{found.share_moved:.1%} of {found.table.n:,} samples moved",
        )  # fmt: skip
    return {"metrics": {"header": header, "rows": side_by_side(results.run)}, "figures": draws}


def truth_section(results: Results) -> Context | None:
    """Scores against known classes; None where the file has none."""
    run, curves, draws, scores = results.run, [], {}, []
    if run.truth is None or not (run.truth >= 0).any():
        return None
    for stage in run.labelling:
        table, known = against_truth(run, stage), (stage.labels >= 0) & (run.truth >= 0)
        if table is None:
            return {"scores": None}
        curves.append(
            (stage.name, reliability(table, stage.table["probability"][known].to_numpy()))
        )
        scores.append([stage.name, table.accuracy, table.nmi, table.ari, table.purity])
        order, present = table.order().tolist(), np.flatnonzero(table.counts.sum(0))
        titles = [results.titles[at] if stage is results.stage else f"{at}" for at in order]
        draws[f"report_confusion_{stage.name.lower()}"] = partial(
            overlap_matrix, table.counts[order][:, present], titles,
            [run.class_names[column] for column in present], row_title="Cluster",
            column_title="Known class", row_clusters=order,
            title=f"{stage.name}: accuracy {table.accuracy:.3f}, NMI {table.nmi:.3f}",
        )  # fmt: skip
    draws["report_reliability"] = partial(reliability_curve, curves)
    scores = {"header": ("stage", "accuracy", "NMI", "ARI", "purity"), "rows": scores}
    final = curves[-1][1]
    return {"overlap": table, "scores": scores, "reliability": final, "figures": draws}


# ---- run, training, K, citing -------------------------------------------------------------------


def run_section(results: Results) -> Context:
    """Settings that differ from the defaults, and commands."""
    run, rows = results.run, []
    for section in (
        "run",
        "data",
        *["cube"] * (run.file.layout == "cube"),
        *map(str.lower, run.stages),
        "report",
    ):
        settings = (run.stages.get(section.upper()) or run).settings
        for name, value in settings.values(section).items():
            if value != DEFAULTS[name]:
                both = as_text(value), as_text(DEFAULTS[name])
                rows.append((name, *both, KEYS[name].sentence))
    header = ("Setting", "Value", "Default", "What it is")
    commands = [shlex.join(one.provenance.get("command", [])) for one in run.stages.values()]
    commands = dict.fromkeys(commands)  # `run` makes all stages
    return {"changed": {"header": header, "rows": rows}, "commands": "\n".join(commands)}


def training_section(results: Results) -> Context:
    """Losses of the autoencoder and of refinement, some reconstructions."""
    draws = {}
    for stage in results.run.stages.values():
        draws |= stage_figures(results, stage)
    wanted = ("AEC_loss", "AEC_reconstructions", "DEC_history")
    return {"figures": {name: draws[name] for name in wanted if name in draws}}


def choice_section(results: Results) -> Context | None:
    """Criteria over K, and the choice of each."""
    choice, name = choice_of(results), "GMM_selection"
    if choice is None:
        return None
    verdicts = [(*PANELS[key], k) for key, k in choice["choices"].items()]
    return {
        "choice": choice,
        "verdicts": {"header": ("criterion", "rule", "K"), "rows": verdicts},
        "figures": {name: stage_figures(results, results.run.stages["GMM"])[name]},
    }
