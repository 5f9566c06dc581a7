"""Values of the sections below the cards: where and when, relations, known classes, technical.

Letters: K clusters, B bins, V environmental series, S stations.
"""

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas

from ..catalogue.catalogue import (
    Bins,
    bins_to_draw,
    choose_bins,
    count_occurrences,
    largest,
    season_names,
    seasons_of,
)  # fmt: skip
from ..catalogue.environment import Environment, correlate_at_lags, read_environment
from ..catalogue.stations import read_stations
from ..errors import RISClusterError
from ..evaluation.comparison import Refinement, refinement, side_by_side
from ..evaluation.metrics import Overlap, against_truth, class_scores, reliability
from ..evaluation.performance import performance_table
from ..plots import latent, occurrence
from ..plots.agreement import overlap_matrix, reliability_curve
from ..plots.stations import station_counts, station_map
from ..plots.style import plain
from ..runs.names import cluster_title
from ..runs.run import FinishedRun
from ..settings import KEYS, Settings, as_text
from . import figures
from .figures import Results, read_history
from .overview import choice_of
from .page import percent

Context = dict[str, Any]
CLUSTER_PANELS, STATION_PANELS, SERIES_PANELS = 12, 8, 6
STATION_ROWS = 40  # stations of a table and of a figure
NAMED = 10  # stations in a sentence
LAG_DAYS = {
    "minute": 1 / 1440, "10 minutes": 1 / 144, "hour": 1 / 24, "day": 1, "week": 7, "month": 30
}  # fmt: skip
CORRELATIONS = (
    "cluster", "series", "best lag (days)", "r there", "level, searched", "beyond", "r at zero",
    "level, one lag", "bins", "effective",
)  # fmt: skip
CRITERIA = {
    "n_clusters": "K", "bic": "BIC", "aic": "AIC", "silhouette": "silhouette",
    "inertia": "inertia", "gap": "gap", "gap_std": "gap s.e.", "stability": "stability",
    "stability_std": "stability s.d.", "agreement": "agreement of views",
}  # fmt: skip
STAGE_TITLES = {"GMM": "mixture (GMM)", "DEC": "refined (DEC)"}


# ---- where --------------------------------------------------------------------------------------


class Drawn:
    """Clusters that figures of occurrences draw: the largest ones, and all others together."""

    def __init__(self, results: Results):
        labels = range(results.stage.n_clusters)
        self.titles = [
            plain(results.titles[label] if label in results.names else f"cluster {label}")
            for label in labels
        ]
        self.labels = largest(results.stage.sizes[:, None], CLUSTER_PANELS).tolist()
        self.pairs = [(label, self.titles[label]) for label in self.labels]

    def with_others(self, counts: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
        """Counts (..., K) of the drawn clusters and of all others (label -1), labels, titles."""
        mine, rest = counts[..., self.labels], np.delete(counts, self.labels, axis=-1)
        titles = [title for _, title in self.pairs]
        if not rest.shape[-1]:
            return mine, self.labels, titles
        counts = np.concatenate([mine, rest.sum(axis=-1, keepdims=True)], axis=-1)
        return counts, [*self.labels, -1], [*titles, "other clusters"]


def stations_section(results: Results) -> Context | None:
    """Samples by station, and their map."""
    if results.stage is None or not results.catalogue.has_stations:
        return None
    catalogue, place, drawn = results.catalogue, results.settings.report.stations, Drawn(results)
    counts, names, notes = catalogue.by_station(), catalogue.stations, []
    rows = largest(counts, STATION_ROWS)
    stations, titles = [results.stations[row] for row in rows], list(results.titles.values())[1:]
    table = {
        "header": (results.place, "all", *titles),
        "rows": _count_rows(stations, counts[rows]),
        "shades": 2,
    }
    found = {"n": len(counts), "table": table, "place": results.place, "notes": notes}
    named = list(map(plain, stations))
    found["figures"] = figures = {
        "report_stations": lambda: station_counts(named, *drawn.with_others(counts[rows]))
    }
    if place is None:
        return found
    try:
        located = read_stations(place)
    except RISClusterError as error:
        notes.append(f"There is no map: {error}.")
        return found
    places = located.locate(names)
    known = np.isfinite(places[:, 0])
    lacking = [name for name, there in zip(names, known, strict=True) if not there]
    notes += located.notes
    if lacking:
        more = f" and {len(lacking) - NAMED:,} more" if len(lacking) > NAMED else ""
        notes.append(
            f"{len(lacking):,} of {len(names):,} have no coordinates in {located.path} and "
            f"are not on the map: {', '.join(lacking[:NAMED])}{more}."
        )
    if known.any():
        titles = [plain(names[row]) for row in np.flatnonzero(known)]
        figures["report_station_map"] = lambda: station_map(
            titles, places[known], *drawn.with_others(counts[known])
        )
    return found


def _count_rows(titles: Sequence[str], counts: np.ndarray) -> list[tuple]:
    rows = zip(titles, counts.tolist(), strict=True)
    return [(name, sum(mine), *mine) for name, mine in rows]


# ---- when ---------------------------------------------------------------------------------------


def time_section(results: Results) -> Context | None:
    """Samples over time, by season, and their correlation with environmental series."""
    if results.stage is None:
        return None
    catalogue, settings, drawn = results.catalogue, results.settings.report, Drawn(results)
    if not catalogue.has_times:
        return {"when": False, "notes": ["The data have no start times."]}
    span = results.span
    bins = choose_bins(span, settings.interval)
    panels, counted = bins_to_draw(bins, span), count_occurrences(catalogue, bins)
    environment, notes = _environment(settings, bins)
    figures = {"report_occurrence": partial(_series, results, drawn, panels, environment)}
    if len(catalogue.stations) > 1:
        figures["report_station_occurrence"] = partial(_by_station, results, drawn, panels)
    seasons = correlation = None
    if results.has_days:
        seasons = _seasons(results)
        figures["report_profiles"] = partial(_profiles, results, drawn)
    if environment is not None:
        correlation, draw = _correlation(results, drawn, counted.rate, environment, bins)
        figures |= {"report_correlation": draw} if draw else {}
    far = catalogue.table.iloc[catalogue.far].sort_values("starttime")
    return {
        "when": True,
        "span": span,
        "bins": bins,
        "n_empty": int((~counted.has_data).sum()),
        "without_time": catalogue.without_time(),
        "far": [(row.Index, row) for row in far.itertuples()],
        "notes": notes,
        "n_series": 0 if environment is None else environment.series.shape[1],
        "place": results.place,
        "seasons": seasons,
        "correlation": correlation,
        "drawn": len(drawn.labels),
        "figures": figures,
    }


def _seasons(results: Results) -> Context:
    """Samples of each cluster in each season; in several years, of each year."""
    catalogue, seasons = results.catalogue, results.settings.report.seasons
    counts = catalogue.count(seasons_of(catalogue.starttime, seasons), len(seasons))
    columns = season_names(seasons)
    rest = catalogue.by_month().sum(axis=0) - counts.sum(axis=0)
    if rest.any():
        counts, columns = np.vstack([counts, rest]), [*columns, "other months"]
    years = pandas.DatetimeIndex(catalogue.starttime).year.to_numpy()
    first, last = (int(str(time)[:4]) for time in catalogue.span)
    if last > first:
        by_year = catalogue.count(
            np.nan_to_num(years - first, nan=-1).astype(int), last - first + 1
        )
        counts, columns = np.vstack([counts, by_year]), [*columns, *range(first, last + 1)]
    titles, n = list(results.titles.values())[1:], results.stage.sizes.tolist()
    rows = [
        (title, size, *mine) for title, size, mine in zip(titles, n, counts.T.tolist(), strict=True)
    ]
    header = ("cluster", "all", *map(str, columns))
    return {"header": header, "rows": rows, "clusters": range(len(rows)), "shades": 2}


def _series(results: Results, drawn: Drawn, bins: Bins, environment: Environment | None) -> Any:
    found, series = count_occurrences(results.catalogue, bins), []
    if environment is not None:
        names = map(plain, environment.series)
        series = list(zip(names, environment.averages(bins).T, strict=True))
    panels = [(title, found.counts[:, [k]], found.has_data) for k, title in drawn.pairs]
    labels = [[label] for label in drawn.labels]
    return occurrence.occurrence_series(
        bins.edges, panels, labels, bins.interval, series[:SERIES_PANELS], **_style(results, bins)
    )


def _by_station(results: Results, drawn: Drawn, bins: Bins) -> Any:
    catalogue, panels = results.catalogue, []
    for station in largest(catalogue.by_station(), STATION_PANELS):
        found = count_occurrences(catalogue, bins, station)
        counts, labels, titles = drawn.with_others(found.counts)
        panels.append((plain(catalogue.stations[station]), counts, found.has_data))
    every = [labels] * len(panels)
    return occurrence.occurrence_series(
        bins.edges, panels, every, bins.interval, titles=titles, height=1.1,
        **_style(results, bins),
    )  # fmt: skip


def _style(results: Results, bins: Bins) -> dict[str, Any]:
    """Marked moments within the bins, and the kind of axis."""
    inside = [one for one in results.moments if bins.edges[0] <= one[0] <= bins.edges[-1]]
    return {"moments": inside, "log_axis": results.settings.report.log_axis}


def _profiles(results: Results, drawn: Drawn) -> Any:
    hours, months = results.catalogue.by_hour(), results.catalogue.by_month()
    totals, labels = (hours.sum(axis=1), months.sum(axis=1)), drawn.labels
    titles = [title for _, title in drawn.pairs]
    return occurrence.profiles(hours[:, labels], months[:, labels], labels, titles, totals)


def _environment(settings: Any, bins: Bins) -> tuple[Environment | None, list[str]]:
    """Series of report.environment with values in the bins, and notes."""
    if settings.environment is None:
        return None, []
    try:
        found = read_environment(settings.environment)
    except RISClusterError as error:
        return None, [f"The environment is left out: {error}."]
    notes, far_apart = [f"{found.path}: {text}" for text in found.notes], found.step()
    if not np.isfinite(found.averages(bins)).any():
        first, last = (found.series.index[at].isoformat()[:19] for at in (0, -1))
        text = f"no value within the time of the data; it has values from {first}Z to {last}Z."
        return None, [*notes, f"{found.path}: {text}"]
    if 1.5 * float(np.median(bins.days)) < far_apart < np.inf:
        notes.append(
            f"{found.path}: its rows are {far_apart:.3g} days apart, more than a bin; bins "
            "without a value are left out of correlations. A longer report.interval uses all "
            "occurrences."
        )
    return found, notes


def _correlation(
    results: Results, drawn: Drawn, rate: np.ndarray, environment: Environment, bins: Bins
) -> tuple[Context, Any]:
    """Correlation at lags of each cluster's rate (B, K) with each series, and its figure."""
    days, rows, clusters, panels = LAG_DAYS[bins.interval], [], [], []
    most = int(results.settings.report.largest_lag / days + 1e-9)
    for name, series in zip(environment.series, environment.averages(bins).T, strict=True):
        found = [correlate_at_lags(mine, series, most) for mine in rate.T]
        known = {label: one for label, one in enumerate(found) if one.best is not None}
        for label, one in known.items():
            r, lag = float(one.r[one.best]), float(one.lags[one.best] * days)
            beyond = "yes" if abs(r) > one.level_searched else "no"
            row = (results.titles[label], name, lag, r, one.level_searched, beyond, one.at_zero)
            rows.append((*row, one.level, int(one.n[one.best]), one.effective))
            clusters.append(label)
            lags = one.lags * days
        lines = [(k, known[k].r, known[k].level_searched) for k in drawn.labels if k in known]
        panels += [(plain(name), lines)] if lines else []
    if not rows:
        return {"table": None}, None
    table = {"header": CORRELATIONS, "rows": rows, "clusters": clusters, "digits": 3}
    draw = partial(occurrence.lag_correlations, lags, panels[:SERIES_PANELS], drawn.titles)
    return {"table": table}, draw


# ---- relations and measures ---------------------------------------------------------------------


def relations_section(results: Results) -> Context | None:
    """Tree of clusters and distances between their centroids."""
    if results.stage is None or (results.stage.sizes > 0).sum() < 2:
        return None
    distances = figures.centroid_distances(results)
    draw = partial(latent.centroid_tree, distances, results.names)
    return {"figures": {"report_tree": draw}}


def measures_section(results: Results) -> Context | None:
    """Measures and figures of the final clusters."""
    if results.stage is None:
        return None
    names, draw = results.names, {}
    if results.file is not None:
        draw["report_means"] = partial(figures.means, results)
    draw |= {
        "report_silhouettes": partial(latent.silhouette_profiles, results.performances, names),
        "report_latent_pairs": partial(figures.latent_pairs, results),
        "report_distances": partial(figures.distances, results),
    }
    name = f"{results.stage.name}_embedding"
    draw[name] = results.stage_figures(results.stage)[name]
    return {
        "tables": [performance_table(one, names) for one in results.performances],
        "figures": draw,
    }


def refinement_section(results: Results) -> Context | None:
    """What refinement changed."""
    found, run = refinement(results.run), results.run
    if found is None:
        return None
    moved = found.share_moved > 0
    return {
        "found": found,
        "metrics": {"header": ("", *STAGE_TITLES.values()), "rows": side_by_side(run)},
        "changes": _changes(found, results) if moved else None,
        "figures": {"report_label_changes": partial(_matrix, found, results)} if moved else {},
    }


def _changes(found: Refinement, results: Results) -> Context:
    sizes, became = found.table.counts.sum(1).tolist(), found.table.counts.sum(0).tolist()
    rows = []
    for label, share in enumerate(found.moved.tolist()):
        moved = ", ".join(f"{n:,} to {to}" for to, n in found.destinations(label))
        rows.append([results.titles[label], sizes[label], became[label], share, moved])
    header = ("cluster", "size before", "size after", "share moved", "moved samples")
    return {"header": header, "rows": rows, "clusters": range(len(rows)), "digits": 3}


def _matrix(found: Refinement, results: Results) -> Any:
    labels = range(len(found.table.counts))
    return overlap_matrix(
        found.table.counts,
        list(map(str, labels)),
        [results.titles[label] for label in labels],
        row_title="Cluster of the mixture (GMM)",
        column_title="Cluster after refinement (DEC)",
        title=f"{percent(found.share_moved)} of {found.table.n:,} samples moved",
        row_clusters=labels,
        column_clusters=labels,
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
        names = results.names if stage is final else {}
        name = f"report_confusion_{stage.name.lower()}"
        drawn[name] = partial(_confusion, title, table, run.class_names, names)
    drawn["report_reliability"] = partial(reliability_curve, curves)
    each = class_scores(table, run.class_names)
    header = ("class", "samples", "cluster", "recall", "precision")
    rows = [(name, size, results.titles[cluster], *shares) for name, size, cluster, *shares in each]
    clusters = [cluster if cluster >= 0 else None for _, _, cluster, *_ in each]
    return {
        "overlap": table,
        "same": same,
        "scores": {
            "header": ("stage", "clusters", "accuracy", "NMI", "ARI", "purity"),
            "rows": scores,
        },
        "classes": {"header": header, "rows": rows, "clusters": clusters, "digits": 3},
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


# ---- run, training, K, citing -------------------------------------------------------------------


def run_section(results: Results) -> Context:
    """Stages, data and settings."""
    run, final, truth = results.run, results.stage, results.run.truth
    made = {name: stage.provenance for name, stage in run.stages.items()}
    versions = pandas.DataFrame({
        name: {
            "Python": one.get("machine", {}).get("python"),
            **one.get("versions", {}),
            "Git": one.get("git"),
            "Machine": one.get("machine", {}).get("platform"),
        }
        for name, one in made.items()
    }).reset_index()  # fmt: skip
    rows, header = settings_rows(run), ("Setting", "Value", "Default", "What it is")
    traces = pandas.Series(dtype=object) if final is None else final.table.get("trace_id", [])
    return {
        "made": [(name, one, _took(one)) for name, one in made.items()],
        "versions": {"header": ["", *made], "rows": versions.to_numpy().tolist()},
        "commands": "\n".join(shlex.join(one.get("command", [])) for one in made.values()),
        "n_classes": None if truth is None else len(np.unique(truth[truth >= 0])),
        "changed": {"header": header, "rows": [row for row in rows if row[1] != row[2]]},
        "settings": {"header": header, "rows": rows},
        "catalogue": final and results.catalogue,
        "traces": [name for name in pandas.unique(pandas.Series(traces)) if name],
    }


def _took(made: Context) -> np.timedelta64 | None:
    started, ended = (
        np.datetime64(made.get(key, "NaT").rstrip("Z")) for key in ("started", "ended")
    )
    return None if np.isnat(ended - started) else ended - started


def settings_rows(run: FinishedRun) -> list[tuple[str, str, str, str]]:
    """Key, value, default and sentence of each setting that affects results."""
    rows = []
    is_cube = run.file is not None and run.file.layout == "cube"
    stages = [name.lower() for name in run.stages]
    for name in ("run", "data", *(["cube"] if is_cube else []), *stages):
        stage = run.stages.get(name.upper())
        values = getattr(run.settings if stage is None else stage.settings, name)
        default = getattr(Settings(), name)
        for key, value in vars(values).items():
            both = as_text(value), as_text(getattr(default, key))
            rows.append((f"{name}.{key}", *both, KEYS[f"{name}.{key}"].sentence))
    return rows


def training_section(results: Results) -> Context | None:
    """Losses and speed of the autoencoder and of refinement."""
    histories, sweeps, drawn = {}, {}, {}
    for name, stage in results.run.stages.items():
        path, best = stage.path / "sweep.csv", stage.metrics.get("sweep_best")
        if name == "GMM":
            continue
        histories[name] = pandas.DataFrame(read_history(stage.path / "history.csv"))
        if path.exists():
            sweep = pandas.read_csv(path)
            rows = [(*row, "taken" if row[0] == best else "") for row in sweep.to_numpy()]
            sweeps[name] = {"header": (*sweep.columns, ""), "rows": rows}
        drawn |= results.stage_figures(stage)
    embedded = ["AEC_loss", *["AEC_reconstructions"] * bool(results.file), "DEC_history"]
    drawn = {name: drawn[name] for name in embedded if name in drawn}
    return {"histories": histories, "sweeps": sweeps, "figures": drawn} if histories else None


def choice_section(results: Results) -> Context | None:
    """Criteria over K, and the choice of each."""
    found = choice_of(results)
    if found is None:
        return None
    rows = list(found["rows"].values())
    finite = {name: any(np.isfinite(getattr(row, name)) for row in rows) for name in CRITERIA}
    names = [name for name in CRITERIA if finite[name]]
    table = {
        "header": [CRITERIA[name] for name in names],
        "rows": [[getattr(row, name) for name in names] for row in rows],
        "digits": 6,
    }
    drawn = results.stage_figures(results.run.stages["GMM"]) if len(rows) > 1 else {}
    figures = {name: draw for name, draw in drawn.items() if name == "GMM_selection"}
    return found | {"criteria": table, "figures": figures}


def citing_section(results: Results) -> Context:
    """Values of a methods paragraph."""
    last, aec = list(results.run.stages.values())[-1], results.run.stages.get("AEC")
    n_features = aec and aec.settings.aec.n_features
    if results.stage is not None:
        n_features = results.stage.latents.shape[1] - sum(results.run.views.values())
    return {"last": last, "n_features": n_features}
