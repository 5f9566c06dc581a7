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
    count_at_stations,
    count_occurrences,
    largest,
    season_names,
)
from ..catalogue.environment import (
    CONFIDENCE,
    FEWEST,
    Environment,
    correlate_at_lags,
    read_environment,
)
from ..catalogue.peaks import EXACT, measure_peaks
from ..catalogue.stations import read_stations
from ..errors import RISClusterError
from ..plots import occurrence as plots
from ..plots.stations import station_counts, station_map
from ..plots.style import plain
from ..runtime import count
from .figures import Results

Context = dict[str, Any]
CLUSTER_PANELS = 12
STATION_PANELS = 8
SERIES_PANELS = 6
STATION_ROWS = 40  # stations of a table and of a figure
NAMED = 10  # stations in a sentence
LAG_DAYS = {
    "minute": 1 / 1440, "10 minutes": 1 / 144, "hour": 1 / 24, "day": 1, "week": 7, "month": 30
}  # fmt: skip
CORRELATION_COLUMNS = (
    "cluster", "series", "best lag (days)", "r there", "level, searched", "beyond", "r at zero",
    "level, one lag", "bins", "effective",
)  # fmt: skip


def occurrence_section(results: Results) -> Context | None:
    """Counts, series, profiles, map and peaks of the last stage that labels samples."""
    stage, file = results.stage, results.file
    if stage is None:
        return None
    context = {"notes": [], "where": None, "when": None, "peaks": None, "peak_note": ""}
    context |= {"figures": {}, "panels": SERIES_PANELS}
    try:
        catalogue = catalogue_of(stage)
    except RISClusterError as error:
        return context | {"notes": [f"{error}."]}
    if not (catalogue.has_times or catalogue.has_stations):
        text = "The data have neither start times nor trace ids: no occurrences are shown."
        return context | {"notes": [text]}
    layouts = (results.settings.data.layout, file.layout if file is not None else "")
    context["kind"] = "channel" if "cube" in layouts else "station"
    return context | Occurrences(results, catalogue, context["kind"]).sections(context["figures"])


class Occurrences:
    """A catalogue, and the clusters that its figures draw."""

    def __init__(self, results: Results, catalogue: Catalogue, kind: str = "station"):
        self.results, self.catalogue, self.kind = results, catalogue, kind
        self.settings, self.titles = results.settings.report, results.titles
        self.drawn = largest(results.stage.sizes[:, None], CLUSTER_PANELS)
        self.figures: dict[str, Any] = {}

    @property
    def figure_titles(self) -> list[str]:
        """Titles of all clusters in figures: ``cluster 3``, or ``3 icequake``."""
        return [
            plain(title if label in self.results.names else f"cluster {label}")
            for label, title in enumerate(self.titles)
        ]

    @property
    def drawn_titles(self) -> list[str]:
        """Of the drawn clusters."""
        return [self.figure_titles[label] for label in self.drawn]

    def with_others(self, counts: np.ndarray) -> tuple[np.ndarray, list[int], list[str]]:
        """Counts (..., K) of the drawn clusters and of all others (label -1), labels, titles."""
        mine, labels, titles = counts[..., self.drawn], self.drawn.tolist(), self.drawn_titles
        if len(labels) == self.catalogue.n_clusters:
            return mine, labels, titles
        others = counts.sum(axis=-1, keepdims=True) - mine.sum(axis=-1, keepdims=True)
        return np.concatenate([mine, others], axis=-1), [*labels, -1], [*titles, "other clusters"]

    def sections(self, figures: dict[str, Any]) -> Context:
        """Values of the parts; adds their figures."""
        self.figures = figures
        where = self.where() if self.catalogue.has_stations else None
        when = self.when() if self.catalogue.has_times else None
        return {"n_drawn": len(self.drawn), "where": where, "when": when, **self.peaks()}

    def where(self) -> Context:
        """Samples by station."""
        counts, places = self.catalogue.by_station(), self.settings.stations
        rows = largest(counts, STATION_ROWS)
        stations = [self.catalogue.stations[row] for row in rows]
        self.figures["report_stations"] = lambda: station_counts(
            list(map(plain, stations)), *self.with_others(counts[rows])
        )
        notes = [] if places is None else self.map(counts, places)
        header = (self.kind, "all", *self.titles)
        table = {"header": header, "rows": _count_rows(stations, counts[rows]), "shades": 2}
        return {"n": len(counts), "table": table, "notes": notes, "has_places": places is not None}

    def map(self, counts: np.ndarray, path: str) -> list[str]:
        """Add the map of the stations with coordinates; notes on the others."""
        try:
            table = read_stations(path)
        except RISClusterError as error:
            return [f"There is no map: {error}."]
        stations, notes = self.catalogue.stations, list(table.notes)
        places = table.locate(stations)
        known = np.isfinite(places[:, 0])
        lacking = [name for name, there in zip(stations, known, strict=True) if not there]
        if lacking:
            more = f" and {len(lacking) - NAMED:,} more" if len(lacking) > NAMED else ""
            notes.append(
                f"{len(lacking):,} of {len(stations):,} have no coordinates in {table.path} and "
                f"are not on the map: {', '.join(lacking[:NAMED])}{more}."
            )
        if known.any():
            named = [plain(name) for name, there in zip(stations, known, strict=True) if there]
            self.figures["report_station_map"] = lambda: station_map(
                named, places[known], *self.with_others(counts[known])
            )
        return notes

    def when(self) -> Context:
        """Samples over time, and their correlation with environmental series."""
        catalogue, seasons = self.catalogue, None
        bins, note = choose_bins(catalogue.span, self.settings.interval)
        drawn = bins_to_draw(bins, catalogue.span)
        environment, averages, notes = self.environment(bins)
        self.figures["report_occurrence"] = lambda: self.draw_series(drawn, environment)
        if catalogue.has_stations and len(catalogue.stations) > 1:
            self.figures["report_station_occurrence"] = lambda: self.draw_stations(drawn)
        if catalogue.span[1] - catalogue.span[0] >= np.timedelta64(1, "D"):
            seasons = self.seasons()
            self.figures["report_profiles"] = self.draw_profiles
        occurrence, correlation = count_occurrences(catalogue, bins), None
        if environment is not None:
            days = LAG_DAYS[bins.interval]
            correlation = self.correlation(occurrence.rate, environment, averages, days)
        far, first = catalogue.far, None
        if len(far):
            first = int(far[np.argmin(catalogue.table["starttime"].to_numpy()[far])])
        return {
            "span": [str(time)[:19] for time in catalogue.span],
            "interval": bins.interval,
            "n_bins": bins.n,
            "n_empty": int((~occurrence.has_data).sum()),
            "note": note,
            "n_without_time": catalogue.without_time(),
            "n_far": len(far),
            "far": None if first is None else first,
            "far_row": None if first is None else dict(catalogue.table.iloc[first]),
            "series_notes": notes,
            "n_series": 0 if environment is None else len(environment.names),
            "n_drawn_stations": min(STATION_PANELS, len(catalogue.stations)),
            "seasons": seasons,
            "correlation": correlation,
        }

    def seasons(self) -> Context:
        """Samples of each cluster in each season."""
        seasons = self.settings.seasons
        counts, columns = self.catalogue.by_season(seasons), season_names(seasons)
        rest = self.catalogue.by_month().sum(axis=0) - counts.sum(axis=0)
        if rest.any():
            counts, columns = np.vstack([counts, rest]), [*columns, "other months"]
        header, rows = ("cluster", "all", *columns), _count_rows(self.titles, counts.T)
        return {"header": header, "rows": rows, "clusters": range(len(rows)), "shades": 2}

    def draw_series(self, bins: Bins, environment: Environment | None) -> Any:
        """Clusters over time, and environmental series."""
        found, series = count_occurrences(self.catalogue, bins), []
        if environment is not None:
            names = map(plain, environment.names)
            series = list(zip(names, environment.averages(bins).T, strict=True))
        panels = [
            (title, found.counts[:, [label]], found.has_data)
            for title, label in zip(self.drawn_titles, self.drawn, strict=True)
        ]
        labels = [[label] for label in self.drawn.tolist()]
        return plots.occurrence_series(
            bins.edges, panels, labels, bins.interval, series[:SERIES_PANELS]
        )

    def draw_stations(self, bins: Bins) -> Any:
        """Clusters over time at the stations with most samples."""
        chosen, panels = largest(self.catalogue.by_station(), STATION_PANELS), []
        found = count_at_stations(self.catalogue, bins, chosen)
        for station, mine in zip(chosen, found, strict=True):
            counts, labels, titles = self.with_others(mine.counts)
            panels.append((plain(self.catalogue.stations[station]), counts, mine.has_data))
        return plots.occurrence_series(
            bins.edges, panels, [labels] * len(panels), bins.interval, titles=titles, height=1.1
        )

    def draw_profiles(self) -> Any:
        """Hours and months of each cluster."""
        hours, months = self.catalogue.by_hour(), self.catalogue.by_month()
        seasons = self.settings.seasons
        inside = [[month for month in range(1, 13) if month in season] for season in seasons]
        return plots.profiles(
            hours[:, self.drawn],
            months[:, self.drawn],
            self.drawn.tolist(),
            self.drawn_titles,
            list(zip(season_names(seasons), inside, strict=True)),
            (hours.sum(axis=1), months.sum(axis=1)),
        )

    def environment(self, bins: Bins) -> tuple[Environment | None, np.ndarray | None, list[str]]:
        """Series of report.environment, their averages in the bins (B, V), and notes."""
        if self.settings.environment is None:
            return None, None, []
        try:
            found = read_environment(self.settings.environment)
        except RISClusterError as error:
            return None, None, [f"The environment is left out: {error}."]
        averages, path = found.averages(bins), found.path
        notes = [f"{path}: {text}" for text in found.notes]
        if not np.isfinite(averages).any():
            first, last = (str(found.times[at])[:19] for at in (0, -1))
            text = f"no value within the time of the data; it has values from {first}Z to {last}Z."
            return None, None, [*notes, f"{path}: {text}"]
        if found.step() > 1.5 * float(np.median(bins.days)):
            notes.append(
                f"{path}: its rows are {found.step():.3g} days apart, more than a bin; bins "
                "without a value are left out of correlations. A longer report.interval uses all "
                "occurrences."
            )
        return found, averages, notes

    def correlation(
        self, rate: np.ndarray, environment: Environment, averages: np.ndarray, days: float
    ) -> Context:
        """Correlation at lags of each cluster's rate (B, K) with each series (B, V)."""
        most, names = int(self.settings.largest_lag / days + 1e-9), environment.names
        rows, clusters, panels = [], [], []
        for name, series in zip(names, averages.T, strict=True):
            lines = []
            for label in range(self.catalogue.n_clusters):
                found = correlate_at_lags(rate[:, label], series, most)
                if found.best is None:
                    continue
                r, lags = float(found.r[found.best]), found.lags * days
                beyond = "yes" if abs(r) > found.level_searched else "no"
                rows.append(
                    (self.titles[label], name, float(lags[found.best]), r, found.level_searched,
                     beyond, found.at_zero, found.level, int(found.n[found.best]), found.effective)
                )  # fmt: skip
                clusters.append(label)
                if label in self.drawn:
                    lines.append((label, found.r, found.level_searched))
            panels += [(plain(name), lines)] if lines else []
        context = {"table": None, "confidence": CONFIDENCE, "fewest": FEWEST}
        if not rows:
            return context
        self.figures["report_correlation"] = lambda: plots.lag_correlations(
            lags, panels[:SERIES_PANELS], self.figure_titles
        )
        header = CORRELATION_COLUMNS
        table = {"header": header, "rows": rows, "clusters": clusters, "digits": 3}
        return context | {"table": table, "n_panels": len(panels)}

    def peaks(self) -> Context:
        """Tables of the largest value of each cluster's samples, and its frequency."""
        file, sizes = self.results.file, self.results.stage.sizes
        if file is None:
            text = "The data can't be read: amplitudes and frequencies are left out."
            return {"peak_note": text}
        seed = self.results.settings.run.seed
        try:
            found = measure_peaks(file, self.results.stage.labels, sizes, seed)
        except RISClusterError as error:
            return {"peak_note": f"Amplitudes and frequencies are left out: {error}."}
        tables = {"exact": found.exact, "n": int(found.read.sum()), "most": EXACT, "seed": seed}
        for name in ("frequency", "amplitude"):
            quartiles, errors = getattr(found, name), getattr(found, f"{name}_error")
            header = ["cluster", "samples", "median", "lower quartile", "upper quartile"]
            columns = [self.titles, sizes.tolist(), *quartiles[:, [1, 0, 2]].T.tolist()]
            if not found.exact:
                header += ["read", "standard error of the median"]
                columns += [found.read.tolist(), errors.tolist()]
            rows = list(zip(*columns, strict=True))
            tables[name] = {"header": header, "rows": rows, "clusters": range(len(rows))}
        return {"peaks": tables}


def _count_rows(titles: list[str], counts: np.ndarray) -> list[tuple]:
    rows = counts.tolist()
    return [(name, sum(mine), *mine) for name, mine in zip(titles, rows, strict=True)]
