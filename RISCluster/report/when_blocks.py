"""When clusters occur, as blocks of the report: series, seasons, profiles.

Letters: K clusters, B bins, V environmental series.
"""

import numpy as np
from matplotlib.figure import Figure

from ..catalogue.catalogue import (
    Bins,
    Occurrence,
    bins_to_draw,
    choose_bins,
    count_at_stations,
    count_occurrences,
    largest,
    season_names,
)
from ..catalogue.environment import Environment
from ..plots.occurrence import occurrence_series, profiles, station_series
from ..progress import count
from .blocks import Block, Note, Picture, Table, Text
from .environment_blocks import SERIES_PANELS, correlation_blocks, read_series
from .samples_of import trace_of
from .shown import Shown, bin_word, kind_of, plain

STATION_PANELS = 8


def when_blocks(shown: Shown) -> list[Block]:
    """Series over time with the environment, seasons, profiles; or what is missing for them."""
    catalogue, settings = shown.catalogue, shown.run.settings.report
    if not catalogue.has_times:
        return [Note("The data have no start times: occurrences are shown by station alone.")]
    bins, said = choose_bins(catalogue.span, settings.interval)
    occurrence = count_occurrences(catalogue, bins)
    blocks: list[Block] = [_introduction(shown, occurrence)]
    if said:
        blocks.append(Note(said))
    untimed = catalogue.without_time()
    if untimed:
        blocks.append(Note(f"{count(untimed, 'sample')} without a start time left out here."))
    if len(catalogue.far):
        blocks.append(Note(_far_samples(shown)))
    environment, averages, notes = read_series(shown, bins)
    drawn = bins_to_draw(bins, catalogue.span)
    blocks.extend([_series(shown, drawn, environment), *notes, *_at_stations(shown, drawn)])
    first, last = catalogue.span
    if last - first >= np.timedelta64(1, "D"):
        blocks.extend([_season_table(shown), _profiles(shown)])
    else:
        blocks.append(Text("Less than a day of data: no profile of the day or the year."))
    if environment is not None and np.isfinite(averages).any():
        blocks.extend(correlation_blocks(shown, occurrence, environment, averages))
    return blocks


def _far_samples(shown: Shown) -> str:
    """Samples whose time is years from all others: how many, and the first."""
    far, table = shown.catalogue.far, shown.catalogue.table
    first = far[np.argmin(table.starttime[far])]
    trace = trace_of(table, first)
    return (
        f"{count(len(far), 'sample')} years away from all others left out here, as the clock "
        f"may have been wrong: the first is sample {first}{f' of {trace}' * bool(trace)}, "
        f"{str(table.starttime[first])[:19]}Z."
    )


def _introduction(shown: Shown, occurrence: Occurrence) -> Text:
    first, last = (str(time)[:19] for time in shown.catalogue.span)
    bins, empty = occurrence.bins, int((~occurrence.has_data).sum())
    text = (
        f"Samples from {first}Z to {last}Z, counted in "
        f"{count(bins.n, 'bin' if bins.interval == '10 minutes' else bins.interval)}"
        f"{' of 10 minutes' if bins.interval == '10 minutes' else ''}"
    )
    of_empty = f"; in {empty:,} of them no station has data (hatched)" if empty else ""
    return Text(
        f"{text}{of_empty}. A station is taken to have data from its first to its last sample: a "
        "pause of it in between can't be told from a time without events."
    )


def _series(shown: Shown, bins: Bins, environment: Environment | None) -> Picture:
    occurrence = count_occurrences(shown.catalogue, bins)
    beside = (
        []
        if environment is None
        else list(zip(map(plain, environment.names), environment.averages(bins).T, strict=True))
    )
    cut = ""
    if len(beside) > SERIES_PANELS:
        cut = f" The first {SERIES_PANELS} of {len(beside)} series are drawn."
    below = " Below them the environment, averaged in the same bins." if beside else ""
    return Picture(
        "report_occurrence",
        lambda: occurrence_series(
            bins.edges,
            occurrence.counts[:, shown.drawn],
            occurrence.has_data,
            shown.drawn.tolist(),
            shown.drawn_titles,
            bins.interval,
            beside[:SERIES_PANELS],
        ),
        f"Samples of each cluster in each {bin_word(bins)}, UTC.{below}{cut}{shown.cut}",
    )


def _at_stations(shown: Shown, bins: Bins) -> list[Block]:
    catalogue, kind = shown.catalogue, kind_of(shown.run)
    if len(catalogue.stations) < 2:
        return []
    chosen = largest(catalogue.by_station(), STATION_PANELS)
    cut = ""
    if len(chosen) < len(catalogue.stations):
        cut = f" The {len(chosen)} {kind}s with most samples, of {len(catalogue.stations):,}."

    def draw() -> Figure:
        every = count_at_stations(catalogue, bins, chosen)
        counts, labels, titles = shown.with_others(np.stack([mine.counts for mine in every]))
        names = [plain(catalogue.stations[station]) for station in chosen]
        has_data = [mine.has_data for mine in every]
        return station_series(bins.edges, names, counts, has_data, labels, titles, bins.interval)

    caption = f"Samples in each {bin_word(bins)} at each {kind}, clusters stacked.{cut}"
    return [Picture("report_station_occurrence", draw, caption)]


def _season_table(shown: Shown) -> Table:
    seasons = shown.run.settings.report.seasons
    counts = shown.catalogue.by_season(seasons)
    columns = season_names(seasons)
    left = shown.catalogue.by_month().sum(axis=0) - counts.sum(axis=0)
    if left.any():
        counts, columns = np.vstack([counts, left]), [*columns, "other months"]
    return Table(
        "Samples of each cluster in each season",
        ("cluster", "all", *columns),
        [
            (name, int(mine.sum()), *mine.tolist())
            for name, mine in zip(shown.titles, counts.T, strict=True)
        ],
        clusters=range(len(shown.titles)),
        note="Seasons are those of report.seasons; months are UTC. Seasons of which the data hold "
        "more have more samples.",
        shades=2,
    )


def _profiles(shown: Shown) -> Picture:
    hours, months = shown.catalogue.by_hour(), shown.catalogue.by_month()
    seasons = shown.run.settings.report.seasons
    named = [
        (name, [month for month in range(1, 13) if month in season])
        for name, season in zip(season_names(seasons), seasons, strict=True)
    ]
    return Picture(
        "report_profiles",
        lambda: profiles(
            hours[:, shown.drawn],
            months[:, shown.drawn],
            shown.drawn.tolist(),
            shown.drawn_titles,
            named,
            (hours.sum(axis=1), months.sum(axis=1)),
        ),
        "At which hours of the day and in which months each cluster occurs, as shares of its "
        "samples; the line is that of all clusters together, which shows when there were data and "
        f"detections at all.{shown.cut}",
    )
