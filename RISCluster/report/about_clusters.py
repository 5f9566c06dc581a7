"""Section of the report: what the clusters look like, and how good they are.

Letters: N samples of the file, m latents drawn of them, D features, K clusters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from .. import plots as figures
from ..clustering.initialisation import MAX_MAP_SIZE
from ..evaluation.mapping import TITLES, mapped
from ..evaluation.performance import (
    MEASURED,
    Performance,
    compare_stages,
    performance_of,
    performance_table,
)
from ..evaluation.representatives import Chosen, Representatives, representatives_of
from ..plots import latent, members
from ..progress import count
from ..runs.cached import kept
from ..runs.labels import usable_sample
from ..runs.models import StageModel, model_of
from ..runs.names import read_names, title_of
from ..runs.run import FinishedRun, FinishedStage
from .asides import Folded
from .blocks import Note, Picture, Section, Table, Text
from .samples_of import place_of, shown

MOST = 24  # clusters that have a picture of their own
METHODS = {"GMM": "Gaussian mixture", "DEC": "Deep embedded clustering"}


def section(run: FinishedRun) -> Section | None:
    """Sizes and measures of the clusters, and pictures of them; None where none were made."""
    if run.final is None:
        return None
    study = Study(run, run.final)
    blocks = [Text(study.introduction), *_notes(study), *_tables(study)]
    if run.file is not None:
        blocks += [*_galleries(study), _means(study)]
    blocks += [_silhouettes(study), _pairs(study), _distances(study), _embedding(study)]
    return Section("Clusters", "clusters", blocks)


@dataclass(frozen=True)
class Study:
    """A run's final clusters, and what several blocks need of them, each computed when asked for.

    Attributes
    ----------
    run : FinishedRun
    stage : FinishedStage
        The final one.
    """

    run: FinishedRun
    stage: FinishedStage

    @cached_property
    def names(self) -> dict[int, str]:
        """That were given to clusters."""
        return read_names(self.run)

    @cached_property
    def performances(self) -> list[Performance]:
        """Of all stages that label, the final one last."""
        return kept(self.run, "performance", lambda: performance_of(self.run))

    @cached_property
    def representatives(self) -> Representatives:
        """Samples to look at."""
        return kept(self.run, "representatives", lambda: representatives_of(self.run, self.stage))

    @cached_property
    def drawn(self) -> np.ndarray:
        """Indices of the samples whose latents are drawn, (m,), ascending."""
        return usable_sample(self.stage.table.labels, MEASURED, self.run.settings.run.seed)

    def model(self, stage: FinishedStage) -> StageModel:
        """Network of a stage."""
        return kept(self.run, f"model of {stage.name}", lambda: model_of(self.run, stage))

    @property
    def largest(self) -> list[int]:
        """Clusters with a picture of their own: the largest that are not empty, ascending."""
        sizes = self.stage.sizes
        order = np.argsort(-sizes, kind="stable")[:MOST]
        return np.sort(order[sizes[order] > 0]).tolist()

    @property
    def axes(self) -> figures.SpectrogramAxes:
        """Of the samples."""
        return figures.SpectrogramAxes.of(self.run.file)

    @property
    def introduction(self) -> str:
        """What the clusters are."""
        sizes, unusable = self.stage.sizes, int((self.stage.table.labels < 0).sum())
        without = f"; {unusable:,} unusable ones have no label" if unusable else ""
        return (
            f"{METHODS[self.stage.name]} ({self.stage.name}) has sorted {int(sizes.sum()):,} "
            f"samples into {len(sizes)} clusters{without}. Everything here is of these labels, "
            "unless it says otherwise. A cluster is a proposal: look at its samples before you "
            "believe in it."
        )


def _notes(study: Study) -> Iterator[Note]:
    stage, k = study.stage, study.stage.n_clusters
    if study.run.file is None:
        yield Note(
            "Without the data, pictures of samples, mean spectrograms and measures in data space "
            "are left out."
        )
    if stage.metrics.get("refined") is False:
        yield Note(
            "Refinement was not kept, for it parted neighbours: the labels of DEC are those of a "
            "mixture of the autoencoder's latents, as GMM has them."
        )
    empty = np.flatnonzero(stage.sizes == 0)
    if len(empty):
        yield Note(f"No sample is in cluster {', '.join(map(str, empty))}.")
    if study.run.file is not None and len(study.largest) < k - len(empty):
        yield Note(
            f"The {len(study.largest)} largest clusters have pictures of their own; the tables "
            f"have all {k}."
        )


def _tables(study: Study) -> list:
    *before, final = study.performances
    blocks: list = [Table(**performance_table(final, study.names), digits=3)]
    both = compare_stages(study.performances, study.names)
    if both is not None:
        blocks.append(Table(**both, digits=3))
    for one in before:
        table = Table(**performance_table(one, study.names), digits=3)
        blocks.append(Folded(f"{one.stage} alone", [table]))
    return blocks


# ---- pictures of samples ------------------------------------------------------------------------


def _galleries(study: Study) -> list[Picture]:
    """Typical members of each cluster."""
    return [
        Picture(
            f"report_cluster_{label}",
            lambda label=label: _gallery(study, label),
            f"Cluster {title_of(label, study.names)}: members spread over it, the most central "
            "first; above each its start time and trace, and its probability.",
            cluster=label,
        )
        for label in study.largest
    ]


def _gallery(study: Study, label: int) -> Figure:
    chosen = study.representatives.typical[label]
    sizes = study.stage.sizes
    heading = (
        f"Cluster {figures.cluster_title(label, study.names)}: {len(chosen)} of "
        f"{count(int(sizes[label]), 'sample')} ({sizes[label] / sizes.sum():.1%} of all)"
    )
    samples = shown(study.run, chosen, lambda place: typical_title(study.stage, chosen, place))
    return members.sample_gallery(study.axes, samples, heading)


def typical_title(stage: FinishedStage, chosen: Chosen, place: int) -> str:
    """When, where, and how probable a chosen sample's label is."""
    where = place_of(stage.table, int(chosen.index[place]))
    return f"{where}  p {chosen.probability[place]:.2f}"


def _means(study: Study) -> Picture:
    preparation = study.model(study.stage).preparation
    unit = f"amplitude {preparation.amplitude}, {preparation.transform}"

    def draw() -> Figure:
        model, labels = study.model(study.stage), study.largest
        means = study.performances[-1].means[labels]
        decoded = model.decode(model.centroids)[labels]
        sizes = study.stage.sizes[labels].tolist()
        return members.means_and_centroids(
            study.axes, means, decoded, labels, sizes, unit, study.names
        )

    return Picture(
        "report_means",
        draw,
        "Above, the mean spectrogram of each cluster; below, its centroid in latent space as the "
        "decoder draws it, in the same range, without standardisation. Where the two differ, the "
        "network has not learnt what the cluster is, or the cluster is of several kinds.",
    )


# ---- pictures of latents ------------------------------------------------------------------------


def _silhouettes(study: Study) -> Picture:
    def draw() -> Figure:
        panels = []
        for kind, space in (("silhouette_latent", "latent"), ("silhouette_data", "data")):
            for one in study.performances:
                if kind in one.scores:
                    title = f"{one.stage}, {space} space"
                    mean = float(one.measures[kind].values[-1])
                    panels.append(latent.Scores(title, *one.scores[kind], mean))
        k = max(len(one.sizes) - 1 for one in study.performances)
        columns = len(study.performances)
        return latent.silhouette_profiles(panels, k, study.names, columns)

    return Picture(
        "report_silhouettes",
        draw,
        "Silhouettes of the samples of each cluster, sorted: 1 is deep inside its cluster, below 0 "
        "nearer to another one. Refinement raises them in latent space whatever happens to the "
        "clusters; those in data space it can't inflate. Dotted: the mean.",
    )


def _pairs(study: Study) -> Picture:
    features = study.stage.latents.shape[1]
    cut = (
        f"the {latent.PAIRED} of {features} in which most of the variance lies between clusters"
        if features > latent.PAIRED
        else f"all {features}"
    )

    def draw() -> Figure:
        index, stage = study.drawn, study.stage
        labels = stage.table.labels[index].astype(np.int64)
        title = f"{METHODS[stage.name]}: latents in pairs of features, {cut}"
        centroids = study.model(stage).centroids
        return latent.latent_pairs(
            stage.latents.take(index),
            labels,
            centroids,
            title,
            study.run.feature_names,
            study.names,
        )

    return Picture(
        "report_latent_pairs",
        draw,
        f"Latent space in pairs of features, {cut}; marks are the centroids. Features are learnt "
        "by the autoencoder; beside them stand components of the smoothed spectrogram and of its "
        "modulation spectrum, where the run has these views.",
    )


def _distances(study: Study) -> Picture:
    def draw() -> Figure:
        rows = []
        for stage in study.run.labelling:
            index = study.drawn[stage.table.labels[study.drawn] >= 0]
            labels = stage.table.labels[index].astype(np.int64)
            away = stage.latents.take(index) - study.model(stage).centroids[labels]
            rows.append(latent.Distances(stage.name, labels, np.linalg.norm(away, axis=1)))
        k = max(stage.n_clusters for stage in study.run.labelling)
        return latent.distance_curves(rows, k, study.names)

    return Picture(
        "report_distances",
        draw,
        "Distance of the members of each cluster from its centroid: the share that is nearer "
        "(left), and the density (right). A hump far out is a second kind of sample.",
    )


def _embedding(study: Study) -> Picture:
    method = study.run.settings.report.embedding

    def draw() -> Figure:
        stage, seed = study.stage, study.run.settings.run.seed
        index = usable_sample(stage.table.labels, MAX_MAP_SIZE, seed)
        points = mapped(stage.latents.take(index), method, seed)
        index = index if len(points) else index[:0]  # too few for a map
        title = f"{METHODS[stage.name]}: {len(index):,} of {int(stage.sizes.sum()):,} latents"
        return figures.embedding(
            points, stage.table.labels[index], stage.sizes.tolist(), title, study.names,
            TITLES[method],
        )  # fmt: skip

    return Picture(
        "report_embedding",
        draw,
        f"Latents in two dimensions by {TITLES[method]} (report.embedding): neighbours stay "
        "neighbours, distances between clusters and their areas mean little.",
    )
