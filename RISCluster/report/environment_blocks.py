"""The environment beside the occurrence of clusters, as blocks of the report.

Letters: K clusters, B bins, V environmental series.
"""

import numpy as np

from ..catalogue.catalogue import Bins, Occurrence
from ..catalogue.environment import (
    CONFIDENCE,
    FEWEST,
    Environment,
    LagCorrelation,
    correlate_at_lags,
    read_environment,
)
from ..errors import RISClusterError
from ..plots.correlation import lag_correlations
from .blocks import Block, Note, Picture, Table, Text
from .shown import Shown, bin_word, plain

SERIES_PANELS = 6
LAG_DAYS = {"minute": 1 / 1440, "10 minutes": 1 / 144, "hour": 1 / 24, "day": 1, "week": 7}
MONTH = 30  # days of a month, where lags are counted in months


def read_series(shown: Shown, bins: Bins) -> tuple[Environment | None, np.ndarray, list[Block]]:
    """Series of report.environment, their averages in the bins (B, V), and notes on them."""
    place, nothing = shown.run.settings.report.environment, np.empty((bins.n, 0))
    if place is None:
        return None, nothing, []
    try:
        environment = read_environment(place)
    except RISClusterError as error:
        return None, nothing, [Note(f"The environment is left out: {error}.")]
    averages = environment.averages(bins)
    notes: list[Block] = [Note(f"{environment.path}: {text}") for text in environment.notes]
    if not np.isfinite(averages).any():
        first, last = environment.times[0], environment.times[-1]
        said = f"{environment.path}: no value within the time of the data; it has values from "
        notes.append(Note(f"{said}{str(first)[:19]}Z to {str(last)[:19]}Z."))
        return None, nothing, notes
    if environment.step() > 1.5 * float(np.median(bins.days)):
        notes.append(
            Note(
                f"{environment.path}: its rows are {environment.step():.3g} days apart, more than "
                f"a bin; bins without a value are left out of correlations. A longer "
                "report.interval uses all occurrences."
            )
        )
    return environment, averages, notes


def correlation_blocks(
    shown: Shown, occurrence: Occurrence, environment: Environment, averages: np.ndarray
) -> list[Block]:
    """Correlation at lag of each cluster with each series: a table, a picture, how to read them."""
    bins = occurrence.bins
    days = MONTH if bins.interval == "month" else LAG_DAYS[bins.interval]
    largest_lag = int(shown.run.settings.report.largest_lag / days + 1e-9)
    rate = occurrence.rate
    found = {
        (label, series): correlate_at_lags(rate[:, label], averages[:, series], largest_lag)
        for series in range(len(environment.names))
        for label in range(shown.catalogue.n_clusters)
    }
    known = {pair: one for pair, one in found.items() if one.best is not None}
    if not known:
        text = (
            f"No correlation with the environment: it needs {FEWEST} {bins.interval}s with data "
            "and values, and series that change."
        )
        return [Note(text)]
    table = _correlation_table(shown, environment, known, days)
    unit = "month" if bins.interval == "month" else bin_word(bins)
    return [table, _correlation_picture(shown, environment, known, days), Text(_reading(unit))]


def _reading(unit: str) -> str:
    """How correlations are made and how far they go."""
    return (
        f"Correlated are occurrences a day and station with data, in each {unit}, and the mean of "
        "the series, where both are known (Pearson's r). A positive lag means that occurrences "
        "follow the series by so many days. The level is what |r| of unrelated series stays below "
        f"with a probability of {CONFIDENCE:.0%}, approximately: with the effective number of "
        "pairs of autocorrelated series (Pyper and Peterman 1998), and, for the best lag, raised "
        "for having searched over all lags. It is not raised for having looked at several clusters "
        f"and series: of {1 / (1 - CONFIDENCE):.0f} pairs, about one passes by chance. Seasons and "
        "trends that both share correlate without one causing the other."
    )


def _correlation_table(
    shown: Shown,
    environment: Environment,
    found: dict[tuple[int, int], LagCorrelation],
    days: float,
) -> Table:
    header = (
        "cluster", "series", "best lag (days)", "r there", "level, searched", "beyond",
        "r at zero", "level, one lag", "bins", "effective",
    )  # fmt: skip
    rows = []
    for (label, series), one in found.items():
        best, zero = one.best, one.at_zero
        r = float(one.r[best])
        rows.append(
            (
                shown.titles[label],
                environment.names[series],
                float(one.lags[best] * days),
                r,
                one.level_searched,
                "yes" if abs(r) > one.level_searched else "no",
                zero if np.isfinite(zero) else None,
                one.level,
                int(one.n[best]),
                one.effective,
            )
        )
    return Table(
        "Correlation of occurrences with the environment",
        header,
        rows,
        clusters=[label for label, _ in found],
        note="Effective: number of independent pairs that the bins at the best lag are worth.",
        digits=3,
    )


def _correlation_picture(
    shown: Shown,
    environment: Environment,
    found: dict[tuple[int, int], LagCorrelation],
    days: float,
) -> Picture:
    panels = []
    for series, name in enumerate(environment.names):
        lines = [
            (int(label), found[label, series].r, found[label, series].level_searched)
            for label in shown.drawn
            if (label, series) in found
        ]
        if lines:
            panels.append((plain(name), lines))
    cut = f" The first {SERIES_PANELS} series are drawn." if len(panels) > SERIES_PANELS else ""
    names = [shown.figure_title(label) for label in range(shown.catalogue.n_clusters)]
    lags = next(iter(found.values())).lags * days
    return Picture(
        "report_correlation",
        lambda: lag_correlations(lags, panels[:SERIES_PANELS], names),
        "Correlation of each cluster's occurrences with each series, over the days by which they "
        f"follow it.{cut}{shown.cut}",
    )
