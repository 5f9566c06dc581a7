"""Values of the section on where and when clusters occur.

Letters: K clusters, B bins, V environmental series, S stations.
"""

from typing import Any

import numpy as np

from ..catalogue.catalogue import (
    Bins,
    Catalogue,
    bins_to_draw,
    catalogue_of,
    choose_bins,
    count_occurrences,
    largest,
    season_names,
)
from ..catalogue.environment import Environment, correlate_at_lags, read_environment
from ..catalogue.peaks import measure_peaks
from ..catalogue.stations import read_stations
from ..errors import RISClusterError
from ..plots import occurrence as plots
from ..plots.stations import station_counts, station_map
from ..plots.style import plain
from .figures import Results

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


def occurrence_section(results: Results) -> Context | None:
    """Counts, series, profiles, map and peaks of the last stage that labels samples."""
    stage, file = results.stage, results.file
    if stage is None:
        return None
    context: Context = {"where": None, "when": None, "peaks": None, "peak_note": "", "kind": ""}
    context["panels"] = {"clusters": CLUSTER_PANELS, "series": SERIES_PANELS}
    try:
        catalogue = catalogue_of(stage)
    except RISClusterError as error:
        return context | {"notes": [f"{error}."]}
    if not (catalogue.has_times or catalogue.has_stations):
        text = "The data have neither start times nor trace ids: no occurrences are shown."
        return context | {"notes": [text]}
    layouts = results.settings.data.layout, getattr(file, "layout", "")
    context["kind"] = "channel" if "cube" in layouts else "station"
    context["figures"] = figures = {}
    shown = Occurrences(results, catalogue, figures)
    if catalogue.has_stations:
        context["where"] = shown.where(context["kind"])
    if catalogue.has_times:
        context["when"] = shown.when()
    try:
        if file is None:
            text = "The data can't be read: amplitudes and frequencies are left out."
            return context | {"peak_note": text}
        return context | {"peaks": _peaks(results)}
    except RISClusterError as error:
        return context | {"peak_note": f"Amplitudes and frequencies are left out: {error}."}


def _count_rows(titles: list[str], counts: np.ndarray) -> list[tuple]:
    rows = zip(titles, counts.tolist(), strict=True)
    return [(name, sum(mine), *mine) for name, mine in rows]


def _peaks(results: Results) -> Context:
    """Tables of the largest value of each cluster's samples, and of its frequency."""
    stage, seed = results.stage, results.settings.run.seed
    found = measure_peaks(results.file, stage.labels, stage.sizes, seed)
    tables: Context = {"exact": found.exact, "n": int(found.read.sum()), "seed": seed}
    for name in ("frequency", "amplitude"):
        quartiles, errors = getattr(found, name), getattr(found, f"{name}_error")
        header = ["cluster", "samples", "median", "lower quartile", "upper quartile"]
        titles = [results.titles[label] for label in range(stage.n_clusters)]
        columns = [titles, stage.sizes.tolist(), *quartiles[:, [1, 0, 2]].T.tolist()]
        if not found.exact:
            header += ["read", "standard error of the median"]
            columns += [found.read.tolist(), errors.tolist()]
        rows = list(zip(*columns, strict=True))
        tables[name] = {"header": header, "rows": rows, "clusters": range(len(rows))}
    return tables


class Occurrences:
    """A catalogue, and the clusters that its figures draw; figures are added to a table."""

    def __init__(self, results: Results, catalogue: Catalogue, figures: dict[str, Any]):
        self.results, self.catalogue, self.figures = results, catalogue, figures
        self.settings, labels = results.settings.report, range(catalogue.n_clusters)
        self.titles = [results.titles[label] for label in labels]
        self.figure_titles = [
            plain(self.titles[label] if label in results.names else f"cluster {label}")
            for label in labels
        ]
        self.drawn = largest(results.stage.sizes[:, None], CLUSTER_PANELS).tolist()
        self.drawn_titles = [self.figure_titles[label] for label in self.drawn]

    def with_others(self, counts: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
        """Counts (..., K) of the drawn clusters and of all others (label -1), labels, titles."""
        mine, rest = counts[..., self.drawn], np.delete(counts, self.drawn, axis=-1)
        if not rest.shape[-1]:
            return mine, self.drawn, self.drawn_titles
        counts = np.concatenate([mine, rest.sum(axis=-1, keepdims=True)], axis=-1)
        return counts, [*self.drawn, -1], [*self.drawn_titles, "other clusters"]

    # ---- where ----

    def where(self, kind: str) -> Context:
        """Samples by station, and their map."""
        counts, names = self.catalogue.by_station(), self.catalogue.stations
        rows = largest(counts, STATION_ROWS)
        stations = [names[row] for row in rows]
        self.figures["report_stations"] = lambda: station_counts(
            list(map(plain, stations)), *self.with_others(counts[rows])
        )
        header = (kind, "all", *self.titles)
        table = {"header": header, "rows": _count_rows(stations, counts[rows]), "shades": 2}
        context = {"n": len(counts), "table": table, "notes": []}
        if self.settings.stations is None:
            return context
        try:
            found = read_stations(self.settings.stations)
        except RISClusterError as error:
            return context | {"notes": [f"There is no map: {error}."]}
        places, notes = found.locate(names), list(found.notes)
        known = np.isfinite(places[:, 0])
        lacking = [name for name, there in zip(names, known, strict=True) if not there]
        if lacking:
            more = f" and {len(lacking) - NAMED:,} more" if len(lacking) > NAMED else ""
            notes.append(
                f"{len(lacking):,} of {len(names):,} have no coordinates in {found.path} and "
                f"are not on the map: {', '.join(lacking[:NAMED])}{more}."
            )
        if known.any():
            named = [plain(names[row]) for row in np.flatnonzero(known)]
            self.figures["report_station_map"] = lambda: station_map(
                named, places[known], *self.with_others(counts[known])
            )
        return context | {"notes": notes}

    # ---- when ----

    def when(self) -> Context:
        """Samples over time, and their correlation with environmental series."""
        catalogue, seasons, correlation = self.catalogue, None, None
        bins, note = choose_bins(catalogue.span, self.settings.interval)
        drawn, occurrence = bins_to_draw(bins, catalogue.span), count_occurrences(catalogue, bins)
        environment, notes = self._environment(bins)
        self.figures["report_occurrence"] = lambda: self._draw_series(drawn, environment)
        if len(catalogue.stations) > 1:
            self.figures["report_station_occurrence"] = lambda: self._draw_stations(drawn)
        if catalogue.span[1] - catalogue.span[0] >= np.timedelta64(1, "D"):
            seasons, self.figures["report_profiles"] = self._seasons(), self._draw_profiles
        if environment is not None:
            correlation = self._correlation(occurrence.rate, environment, bins)
        far = catalogue.table.iloc[catalogue.far].sort_values("starttime")
        return {
            "span": catalogue.span,
            "bins": bins,
            "n_empty": int((~occurrence.has_data).sum()),
            "note": note,
            "without_time": catalogue.without_time(),
            "far": [(row.Index, row) for row in far.itertuples()],
            "notes": notes,
            "n_series": 0 if environment is None else environment.series.shape[1],
            "n_stations": min(STATION_PANELS, len(catalogue.stations)),
            "seasons": seasons,
            "correlation": correlation,
        }

    def _seasons(self) -> Context:
        seasons = self.settings.seasons
        counts, columns = self.catalogue.by_season(seasons), season_names(seasons)
        rest = self.catalogue.by_month().sum(axis=0) - counts.sum(axis=0)
        if rest.any():
            counts, columns = np.vstack([counts, rest]), [*columns, "other months"]
        header, rows = ("cluster", "all", *columns), _count_rows(self.titles, counts.T)
        return {"header": header, "rows": rows, "clusters": range(len(rows)), "shades": 2}

    def _draw_series(self, bins: Bins, environment: Environment | None) -> Any:
        found, series = count_occurrences(self.catalogue, bins), []
        if environment is not None:
            names = map(plain, environment.series)
            series = list(zip(names, environment.averages(bins).T, strict=True))
        pairs = zip(self.drawn, self.drawn_titles, strict=True)
        panels = [(title, found.counts[:, [k]], found.has_data) for k, title in pairs]
        labels = [[label] for label in self.drawn]
        return plots.occurrence_series(
            bins.edges, panels, labels, bins.interval, series[:SERIES_PANELS]
        )

    def _draw_stations(self, bins: Bins) -> Any:
        panels = []
        for station in largest(self.catalogue.by_station(), STATION_PANELS):
            found = count_occurrences(self.catalogue, bins, station)
            counts, labels, titles = self.with_others(found.counts)
            panels.append((plain(self.catalogue.stations[station]), counts, found.has_data))
        every = [labels] * len(panels)
        return plots.occurrence_series(
            bins.edges, panels, every, bins.interval, titles=titles, height=1.1
        )

    def _draw_profiles(self) -> Any:
        hours, months = self.catalogue.by_hour(), self.catalogue.by_month()
        seasons, every = self.settings.seasons, range(1, 13)
        inside = [[month for month in every if month in season] for season in seasons]
        named = list(zip(season_names(seasons), inside, strict=True))
        totals, drawn = (hours.sum(axis=1), months.sum(axis=1)), self.drawn
        return plots.profiles(
            hours[:, drawn], months[:, drawn], drawn, self.drawn_titles, named, totals
        )

    def _environment(self, bins: Bins) -> tuple[Environment | None, list[str]]:
        """Series of report.environment with values in the bins, and notes."""
        if self.settings.environment is None:
            return None, []
        try:
            found = read_environment(self.settings.environment)
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

    def _correlation(self, rate: np.ndarray, environment: Environment, bins: Bins) -> Context:
        """Correlation at lags of each cluster's rate (B, K) with each series."""
        days, rows, clusters, panels = LAG_DAYS[bins.interval], [], [], []
        most = int(self.settings.largest_lag / days + 1e-9)
        for name, series in zip(environment.series, environment.averages(bins).T, strict=True):
            found = [correlate_at_lags(mine, series, most) for mine in rate.T]
            known = {label: one for label, one in enumerate(found) if one.best is not None}
            for label, one in known.items():
                r, lag = float(one.r[one.best]), float(one.lags[one.best] * days)
                beyond = "yes" if abs(r) > one.level_searched else "no"
                row = (self.titles[label], name, lag, r, one.level_searched, beyond, one.at_zero)
                rows.append((*row, one.level, int(one.n[one.best]), one.effective))
                clusters.append(label)
                lags = one.lags * days
            lines = [(k, known[k].r, known[k].level_searched) for k in self.drawn if k in known]
            panels += [(plain(name), lines)] if lines else []
        if not rows:
            return {"table": None}
        self.figures["report_correlation"] = lambda: plots.lag_correlations(
            lags, panels[:SERIES_PANELS], self.figure_titles
        )
        table = {"header": CORRELATIONS, "rows": rows, "clusters": clusters, "digits": 3}
        return {"table": table, "n_panels": len(panels)}
