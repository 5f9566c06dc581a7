"""Results of a run that figures and sections of its page need, computed once.

Letters: K clusters, S stations.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pandas

from ..catalogue.catalogue import Bins, Catalogue, Span, choose_bins, read_environment
from ..catalogue.stations import read_stations
from ..clustering.selection import TITLES, choose, contradictions, read_rows
from ..data.times import parse_time
from ..evaluation.comparison import refinement
from ..evaluation.metrics import Overlap, Reliability, against_truth, reliability
from ..evaluation.performance import performance_of
from ..evaluation.samples import representatives_of
from ..runs.labels import cluster_title
from ..runs.run import FinishedRun, FinishedStage, model_of

METHODS = {"GMM": "Gaussian mixture", "DEC": "Deep embedded clustering"}
LARGEST = 16  # clusters that figures draw


class Results:
    """A run, its final stage and data; what is computed of them is computed where first read."""

    def __init__(self, run: FinishedRun, writes: bool = False):
        self.run, self.stage, self.file = run, run.final, run.file
        self.settings, self.report = run.settings, run.settings.report
        self.folder, self.writes = run.folder / "figures", writes  # whether figures are saved
        self.names = run.names  # of the final clusters by label, by the user
        self.mapped = self.stage  # whose latents make the map
        self.chosen = self.report.samples or ()  # indices
        self.look, self.data = [], {}  # what to look at next; data of the script

    performances = cached_property(lambda self: performance_of(self.run))  # the final stage last
    refinement = cached_property(lambda self: refinement(self.run))  # None without one
    representatives = cached_property(lambda self: representatives_of(self.run, self.stage))
    catalogue = cached_property(lambda self: Catalogue(self.stage))
    model = cached_property(lambda self: model_of(self.run, self.stage))
    label_image = cached_property(lambda self: self.stage.path / "labels.h5")  # of a cube

    # ---- clusters ----

    @cached_property
    def titles(self) -> list[str]:
        """Titles of the clusters, (K,)."""
        return [cluster_title(label, self.names) for label in range(self.stage.n_clusters)]

    @cached_property
    def centroid_distances(self) -> np.ndarray:
        """Distances between the centroids, (K, K)."""
        centroids = self.model.centroids
        return np.linalg.norm(centroids[:, None] - centroids[None], axis=2)

    @cached_property
    def choice(self) -> dict[str, Any] | None:
        """Criteria over K, the choice of each, and what contradicts the run's; or None."""
        if (gmm := self.run.stages.get("GMM")) is None:
            return None
        k, criterion = gmm.n_clusters, gmm.settings.gmm.select
        rows = read_rows(gmm.path / "selection.csv")
        stability = next((row.stability for row in rows if row.n_clusters == k), np.nan)
        doubts = [f"{text[0].upper()}{text[1:]}." for text in contradictions(rows, k, criterion)]
        return {
            "k": k, "criterion": criterion, "contradictions": doubts, "rows": rows,
            "choices": {name: choose(rows, name) for name in TITLES}, "stability": stability,
        }  # fmt: skip

    @cached_property
    def scores(self) -> list[tuple[FinishedStage, Overlap, Reliability]]:
        """Of each stage that labels its clusters by known classes; empty without these."""
        found = []
        for stage in self.run.labelling:
            if (table := against_truth(self.run, stage)) is not None:
                known = (stage.labels >= 0) & (self.run.truth >= 0)
                right = table.is_right(stage.labels[known], self.run.truth[known])
                probability = stage.table["probability"][known].to_numpy()
                found.append((stage, table, reliability(right, probability)))
        return found

    @property
    def largest(self) -> list[int]:
        """The `LARGEST` largest clusters that are not empty, ascending."""
        order = np.argsort(-self.stage.sizes, kind="stable")[:LARGEST]
        return np.sort(order[self.stage.sizes[order] > 0]).tolist()

    # ---- samples, stations, time ----

    @property
    def place(self) -> str:
        """What traces are of: stations, or channels of a cube."""
        return "channel" if self.file.layout == "cube" else "station"

    @cached_property
    def stations(self) -> list[str]:
        """Stations; channels of a cube with their distance."""
        at, file = {}, self.file
        if getattr(file, "distance", None) is not None:
            pairs = zip(file.channel_names(), file.distance, strict=True)
            at = {name: f" at {x:,.5g} {file.distance_unit}" for name, x in pairs}
        return [name + at.get(name, "") for name in self.catalogue.stations]

    @cached_property
    def located(self) -> tuple[np.ndarray, list[str]]:
        """Latitudes and longitudes of the stations, (S, 2), NaN where not known; notes."""
        names, table = self.catalogue.stations, read_stations(self.report.stations)
        places, notes = table.locate(names), [*table.notes]
        if (unknown := np.isnan(places[:, 0])).any():
            notes.append(
                f"{unknown.sum():,} of {len(names):,} have no coordinates in {table.path} and are "
                f"not on the map, the first is {names[unknown.argmax()]}."
            )
        return places, notes

    @cached_property
    def span(self) -> Span:
        """First and last time by ``report.span``, or of the samples; only of data with times."""
        text = self.report.span
        return self.catalogue.span if text is None else tuple(map(_utc, text.split("/")))

    @cached_property
    def moments(self) -> list[tuple[np.datetime64, str]]:
        """Times and names of ``report.moments``."""
        parts = (part.split(None, 1) for part in (self.report.moments or "").split(","))
        return [(_utc(part[0]), part[-1]) for part in parts if part]

    @property
    def has_days(self) -> bool:
        """Whether the samples span a day or more."""
        span = self.catalogue.span
        return span is not None and span[1] - span[0] >= np.timedelta64(1, "D")

    @cached_property
    def bins(self) -> Bins:
        """Bins of the time lines, by ``report.interval``."""
        return choose_bins(self.span, self.report.interval)

    @cached_property
    def environment(self) -> tuple[pandas.DataFrame, list[str]]:
        """Environmental series by time, and notes; none without ``report.environment``."""
        if (path := self.report.environment) is None:
            return pandas.DataFrame(), []
        series, notes = read_environment(path)
        return series, [f"{path}: {text}" for text in notes]


def _utc(text: str) -> np.datetime64:
    return np.datetime64(parse_time(text), "ns").astype("M8[us]")
