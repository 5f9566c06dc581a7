"""Where clusters occur, as blocks of the report: counts at stations, and a map.

Letters: S stations, K clusters.
"""

from collections.abc import Sequence

import numpy as np

from ..catalogue.catalogue import largest
from ..catalogue.stations import read_stations
from ..errors import RISClusterError
from ..plots.station_map import station_map
from ..plots.stations import station_counts
from .blocks import Block, Note, Picture, Table, Text
from .shown import Shown, kind_of, plain

ROWS = 40  # stations of a table and of a figure
LISTED = 10  # names in a sentence


def where_blocks(shown: Shown) -> list[Block]:
    """Counts at stations, and a map where coordinates are known; or what is missing for them."""
    catalogue = shown.catalogue
    if not catalogue.has_stations:
        return [Note("The data have no trace ids: occurrences are shown over time alone.")]
    counts = catalogue.by_station()
    rows = largest(counts, ROWS)
    kind = kind_of(shown.run)
    cut = (
        f"The {ROWS} {kind}s with most samples, of {len(counts):,}."
        if len(rows) < len(counts)
        else ""
    )
    stations = [catalogue.stations[row] for row in rows]
    table = Table(
        f"Samples of each cluster at each {kind}",
        (kind, "all", *shown.titles),
        [
            (name, int(mine.sum()), *mine.tolist())
            for name, mine in zip(stations, counts[rows], strict=True)
        ],
        note=cut,
        shades=2,
    )
    picture = Picture(
        "report_stations",
        lambda: station_counts(list(map(plain, stations)), *shown.with_others(counts[rows])),
        f"Samples at each {kind}, left, and which share of them is of each cluster, right. {cut}",
    )
    return [table, picture, *_map(shown, counts)]


def _map(shown: Shown, counts: np.ndarray) -> list[Block]:
    place = shown.run.settings.report.stations
    if place is None:
        return [
            Text("For a map of the stations name their coordinates: report.stations=stations.xml.")
        ]
    try:
        table = read_stations(place)
    except RISClusterError as error:
        return [Note(f"There is no map: {error}.")]
    stations = shown.catalogue.stations
    places = table.locate(stations)
    known = np.isfinite(places[:, 0])
    notes: list[Block] = [Note(text) for text in table.notes]
    lacking = [name for name, there in zip(stations, known, strict=True) if not there]
    if lacking:
        notes.append(
            Note(
                f"{len(lacking):,} of {len(stations):,} have no coordinates in {table.path} and "
                f"are not on the map: {_listed(lacking)}."
            )
        )
    if not known.any():
        return notes
    named = [plain(name) for name, there in zip(stations, known, strict=True) if there]
    picture = Picture(
        "report_station_map",
        lambda: station_map(named, places[known], *shown.with_others(counts[known])),
        "Where clusters occur: each pie is a station, its area the number of samples there (small "
        "ones are drawn larger), its sectors the clusters. Where names would cover "
        "each other, some are left out.",
    )
    return [picture, *notes]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
