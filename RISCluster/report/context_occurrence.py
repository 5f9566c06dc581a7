"""What the section on where and when clusters occur needs.

Letters: K clusters, k drawn clusters, B bins, V environmental series, S stations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..catalogue.catalogue import (
    Bins,
    Catalogue,
    Occurrence,
    bins_to_draw,
    catalogue_of,
    choose_bins,
    count_occurrences,
    largest,
    season_names,
)
from ..catalogue.environment import (
    CONFIDENCE,
    FEWEST,
    Environment,
    LagCorrelation,
    correlate_at_lags,
    read_environment,
)
from ..catalogue.peaks import EXACT, measure_peaks
from ..catalogue.stations import read_stations
from ..errors import RISClusterError
from ..plots.occurrence import lag_correlations, occurrence_series, profiles, station_series
from ..plots.stations import station_counts, station_map
from ..plots.style import plain
from ..runs.names import read_names, title_of
from ..runs.run import FinishedRun
from ..runtime import count
from .context_clusters import trace_of
from .page import Picture

Context = dict[str, Any]
CLUSTER_PANELS = 12
STATION_PANELS = 8
SERIES_PANELS = 6
STATION_ROWS = 40  # stations of a table and of a figure
NAMED = 10  # stations in a sentence
LAG_DAYS = {
    "minute": 1 / 1440, "10 minutes": 1 / 144, "hour": 1 / 24, "day": 1, "week": 7, "month": 30
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A catalogue, the names of its clusters, and the labels that figures draw, (k,)."""

    run: FinishedRun
    catalogue: Catalogue
    given: dict[int, str]
    drawn: np.ndarray

    @property
    def titles(self) -> list[str]:
        """Of all clusters, in tables: ``3``, or ``3 icequake``."""
        return [title_of(label, self.given) for label in range(self.catalogue.n_clusters)]

    @property
    def figure_titles(self) -> list[str]:
        """Of all clusters, in figures: ``cluster 3``, or ``3 icequake``."""
        return [
            plain(title if label in self.given else f"cluster {label}")
            for label, title in enumerate(self.titles)
        ]

    @property
    def drawn_titles(self) -> list[str]:
        """Of the drawn clusters, in figures."""
        return [self.figure_titles[label] for label in self.drawn]

    def with_others(self, counts: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
        """Of counts (..., K): those of the drawn clusters and, as label -1, of all others.

        Returns counts (..., k) or (..., k + 1), labels and titles.
        """
        mine, labels, titles = counts[..., self.drawn], self.drawn.tolist(), self.drawn_titles
        if len(labels) == self.catalogue.n_clusters:
            return mine, labels, titles
        others = counts.sum(axis=-1, keepdims=True) - mine.sum(axis=-1, keepdims=True)
        return np.concatenate([mine, others], axis=-1), [*labels, -1], [*titles, "other clusters"]


def occurrence_section(run: FinishedRun) -> Context | None:
    """Counts, series, profiles, map and peaks of the last stage that labels samples."""
    stage = run.final
    if stage is None:
        return None
    nothing: Context = {"where": None, "when": None, "peaks": None, "peak_notes": []}
    context = nothing | {"notes": [], "figures": {}, "n_drawn": 0, "n_clusters": stage.n_clusters}
    try:
        catalogue = catalogue_of(stage)
    except RISClusterError as error:
        return context | {"notes": [f"{error}."]}
    if not (catalogue.has_times or catalogue.has_stations):
        text = "The data have neither start times nor trace ids: no occurrences are shown."
        return context | {"notes": [text]}
    drawn = largest(stage.sizes[:, None], CLUSTER_PANELS)
    shown = Shown(run, catalogue, read_names(run), drawn)
    pictures = context["figures"]
    return context | {
        "kind": kind_of(run),
        "n_drawn": len(drawn),
        "panels": SERIES_PANELS,
        "where": _where(shown, pictures) if catalogue.has_stations else None,
        "when": _when(shown, pictures) if catalogue.has_times else None,
        **_peaks(shown),
    }


def kind_of(run: FinishedRun) -> str:
    """What trace ids name."""
    layout = run.file.layout if run.file is not None else run.settings.data.layout
    return "channel" if "cube" in (layout, run.settings.data.layout) else "station"


def _count_rows(titles: Sequence[str], counts: np.ndarray) -> list[tuple]:
    return [
        (name, int(mine.sum()), *mine.tolist()) for name, mine in zip(titles, counts, strict=True)
    ]


# ---- where --------------------------------------------------------------------------------------


def _where(shown: Shown, pictures: dict[str, Picture]) -> Context:
    counts = shown.catalogue.by_station()
    rows = largest(counts, STATION_ROWS)
    stations = [shown.catalogue.stations[row] for row in rows]
    pictures["report_stations"] = Picture(
        lambda: station_counts(list(map(plain, stations)), *shown.with_others(counts[rows]))
    )
    header = (kind_of(shown.run), "all", *shown.titles)
    table = {"header": header, "rows": _count_rows(stations, counts[rows]), "shades": 2}
    place = shown.run.settings.report.stations
    notes = [] if place is None else _map(shown, counts, place, pictures)
    return {
        "n": len(counts),
        "table": table,
        "no_coordinates": place is None,
        "map_notes": notes,
    }


def _map(shown: Shown, counts: np.ndarray, place: str, pictures: dict[str, Picture]) -> list[str]:
    """Add the map of the stations whose coordinates are known; notes on the others."""
    try:
        table = read_stations(place)
    except RISClusterError as error:
        return [f"There is no map: {error}."]
    stations = shown.catalogue.stations
    places = table.locate(stations)
    known, notes = np.isfinite(places[:, 0]), list(table.notes)
    lacking = [name for name, there in zip(stations, known, strict=True) if not there]
    if lacking:
        more = f" and {len(lacking) - NAMED:,} more" if len(lacking) > NAMED else ""
        notes.append(
            f"{len(lacking):,} of {len(stations):,} have no coordinates in {table.path} and are "
            f"not on the map: {', '.join(lacking[:NAMED])}{more}."
        )
    if known.any():
        named = [plain(name) for name, there in zip(stations, known, strict=True) if there]
        pictures["report_station_map"] = Picture(
            lambda: station_map(named, places[known], *shown.with_others(counts[known]))
        )
    return notes


# ---- when ---------------------------------------------------------------------------------------


def _when(shown: Shown, pictures: dict[str, Picture]) -> Context:
    catalogue, settings = shown.catalogue, shown.run.settings.report
    bins, note = choose_bins(catalogue.span, settings.interval)
    occurrence, drawn = count_occurrences(catalogue, bins), bins_to_draw(bins, catalogue.span)
    notes = [note] if note else []
    if catalogue.without_time():
        notes.append(f"{count(catalogue.without_time(), 'sample')} without a start time left out.")
    if len(catalogue.far):
        notes.append(_far_samples(catalogue))
    environment, averages, series_notes = _environment(settings.environment, bins)
    pictures["report_occurrence"] = Picture(lambda: _series(shown, drawn, environment))
    chosen = largest(catalogue.by_station(), STATION_PANELS) if catalogue.has_stations else []
    if catalogue.has_stations and len(catalogue.stations) > 1:
        pictures["report_station_occurrence"] = Picture(lambda: _at_stations(shown, drawn, chosen))
    seasons = None
    if catalogue.span[1] - catalogue.span[0] >= np.timedelta64(1, "D"):
        seasons = _seasons(shown)
        pictures["report_profiles"] = Picture(lambda: _profiles(shown))
    correlation = None
    if environment is not None:
        correlation = _correlation(shown, occurrence, environment, averages, pictures)
    first, last = (str(time)[:19] for time in catalogue.span)
    ten = bins.interval == "10 minutes"
    return {
        "first": first,
        "last": last,
        "interval": bins.interval,
        "n_bins": f"{count(bins.n, 'bin')} of 10 minutes" if ten else count(bins.n, bins.interval),
        "n_empty": int((~occurrence.has_data).sum()),
        "notes": notes,
        "series_notes": series_notes,
        "n_series": 0 if environment is None else len(environment.series.columns),
        "n_drawn_stations": len(chosen),
        "seasons": seasons,
        "correlation": correlation,
    }


def _far_samples(catalogue: Catalogue) -> str:
    """How many samples are years away from all others, and the first."""
    far, table = catalogue.far, catalogue.table
    times = table["starttime"]
    first = int(times[far].idxmin())
    trace = trace_of(table, first)
    return (
        f"{count(len(far), 'sample')} years away from all others left out, probably by a wrong "
        f"clock: the first is sample {first}{f' of {trace}' if trace else ''}, "
        f"{times[first].isoformat(timespec='seconds')}Z."
    )


def _series(shown: Shown, bins: Bins, environment: Environment | None) -> Figure:
    occurrence, series = count_occurrences(shown.catalogue, bins), []
    if environment is not None:
        averages = environment.averages(bins).T
        series = list(zip(map(plain, environment.series.columns), averages, strict=True))
    return occurrence_series(
        bins.edges,
        occurrence.counts[:, shown.drawn],
        occurrence.has_data,
        shown.drawn.tolist(),
        shown.drawn_titles,
        bins.interval,
        series[:SERIES_PANELS],
    )


def _at_stations(shown: Shown, bins: Bins, chosen: np.ndarray) -> Figure:
    every = [count_occurrences(shown.catalogue, bins, station) for station in chosen]
    counts, labels, titles = shown.with_others(np.stack([mine.counts for mine in every]))
    names = [plain(shown.catalogue.stations[station]) for station in chosen]
    has_data = [mine.has_data for mine in every]
    return station_series(bins.edges, names, counts, has_data, labels, titles, bins.interval)


def _seasons(shown: Shown) -> Context:
    seasons = shown.run.settings.report.seasons
    counts, columns = shown.catalogue.by_season(seasons), season_names(seasons)
    left = shown.catalogue.by_month().sum(axis=0) - counts.sum(axis=0)
    if left.any():
        counts, columns = np.vstack([counts, left]), [*columns, "other months"]
    return {
        "header": ("cluster", "all", *columns),
        "rows": _count_rows(shown.titles, counts.T),
        "clusters": range(len(shown.titles)),
        "shades": 2,
    }


def _profiles(shown: Shown) -> Figure:
    hours, months = shown.catalogue.by_hour(), shown.catalogue.by_month()
    seasons = shown.run.settings.report.seasons
    named = [
        (name, [month for month in range(1, 13) if month in season])
        for name, season in zip(season_names(seasons), seasons, strict=True)
    ]
    return profiles(
        hours[:, shown.drawn],
        months[:, shown.drawn],
        shown.drawn.tolist(),
        shown.drawn_titles,
        named,
        (hours.sum(axis=1), months.sum(axis=1)),
    )


# ---- environment --------------------------------------------------------------------------------


def _environment(place: str | None, bins: Bins) -> tuple[Environment | None, np.ndarray, list[str]]:
    """Series of report.environment, their averages in the bins (B, V), and notes."""
    nothing = np.empty((bins.n, 0))
    if place is None:
        return None, nothing, []
    try:
        environment = read_environment(place)
    except RISClusterError as error:
        return None, nothing, [f"The environment is left out: {error}."]
    averages = environment.averages(bins)
    notes = [f"{environment.path}: {text}" for text in environment.notes]
    if not np.isfinite(averages).any():
        first, last = (environment.series.index[at].isoformat(timespec="seconds") for at in (0, -1))
        notes.append(
            f"{environment.path}: no value within the time of the data; it has values from "
            f"{first}Z to {last}Z."
        )
        return None, nothing, notes
    if environment.step() > 1.5 * float(np.median(bins.days)):
        notes.append(
            f"{environment.path}: its rows are {environment.step():.3g} days apart, more than a "
            "bin; bins without a value are left out of correlations. A longer report.interval "
            "uses all occurrences."
        )
    return environment, averages, notes


def _correlation(
    shown: Shown,
    occurrence: Occurrence,
    environment: Environment,
    averages: np.ndarray,
    pictures: dict[str, Picture],
) -> Context:
    """Correlation at lags of each cluster with each series."""
    days = LAG_DAYS[occurrence.bins.interval]
    most = int(shown.run.settings.report.largest_lag / days + 1e-9)
    found = {
        (label, series): correlate_at_lags(occurrence.rate[:, label], averages[:, series], most)
        for series in range(len(environment.series.columns))
        for label in range(shown.catalogue.n_clusters)
    }
    found = {pair: one for pair, one in found.items() if one.best is not None}
    context = {"table": None, "confidence": CONFIDENCE, "fewest": FEWEST}
    if not found:
        return context
    panels = _panels(shown, environment, found)
    lags = next(iter(found.values())).lags * days
    pictures["report_correlation"] = Picture(
        lambda: lag_correlations(lags, panels[:SERIES_PANELS], shown.figure_titles)
    )
    table = _correlation_table(shown, environment, found, days)
    return context | {"table": table, "n_panels": len(panels)}


def _panels(
    shown: Shown, environment: Environment, found: dict[tuple[int, int], LagCorrelation]
) -> list:
    panels = []
    for series, name in enumerate(environment.series.columns):
        lines = [
            (int(label), found[label, series].r, found[label, series].level_searched)
            for label in shown.drawn
            if (label, series) in found
        ]
        if lines:
            panels.append((plain(name), lines))
    return panels


def _correlation_table(
    shown: Shown,
    environment: Environment,
    found: dict[tuple[int, int], LagCorrelation],
    days: float,
) -> Context:
    header = (
        "cluster", "series", "best lag (days)", "r there", "level, searched", "beyond",
        "r at zero", "level, one lag", "bins", "effective",
    )  # fmt: skip
    rows, names = [], environment.series.columns
    for (label, series), one in found.items():
        r = float(one.r[one.best])
        beyond = "yes" if abs(r) > one.level_searched else "no"
        rows.append(
            (
                shown.titles[label], names[series], float(one.lags[one.best] * days),
                r, one.level_searched, beyond, one.at_zero, one.level, int(one.n[one.best]),
                one.effective,
            )
        )  # fmt: skip
    clusters = [label for label, _ in found]
    return {"header": header, "rows": rows, "clusters": clusters, "digits": 3}


# ---- amplitude and frequency --------------------------------------------------------------------


def _peaks(shown: Shown) -> Context:
    """Tables of the amplitude and the frequency of the largest value of each cluster's samples."""
    run, sizes, seed = shown.run, shown.run.final.sizes, shown.run.settings.run.seed
    if run.file is None:
        text = "The data can't be read: amplitudes and frequencies are left out."
        return {"peak_notes": [text]}
    try:
        peaks = measure_peaks(run.file, shown.catalogue.labels, sizes, seed)
    except RISClusterError as error:
        return {"peak_notes": [f"Amplitudes and frequencies are left out: {error}."]}

    def table(quartiles: np.ndarray, errors: np.ndarray) -> Context:
        header = ["cluster", "samples", "median", "lower quartile", "upper quartile"]
        columns = [shown.titles, sizes.tolist(), *quartiles[:, [1, 0, 2]].T.tolist()]
        if not peaks.exact:
            header += ["read", "standard error of the median"]
            columns += [peaks.read.tolist(), errors.tolist()]
        rows = list(zip(*columns, strict=True))
        return {"header": header, "rows": rows, "clusters": range(len(rows))}

    found = {
        "frequency": table(peaks.frequency, peaks.frequency_error),
        "amplitude": table(peaks.amplitude, peaks.amplitude_error),
        "frequency_unit": run.file.frequency_unit,
        "unit": run.file.amplitude_unit,
        "exact": peaks.exact,
        "n_read": int(peaks.read.sum()),
        "most": EXACT,
        "seed": seed,
    }
    return {"peaks": found}
