"""What the sections on clusters and on samples to look at need.

Letters: m samples, S samples of a waveform.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
from matplotlib.figure import Figure

from .. import plots
from ..data.layouts import RowsFile, SpectrogramFile
from ..data.times import to_text
from ..evaluation.mapping import TITLES
from ..evaluation.metrics import MEASURED
from ..evaluation.performance import (
    Performance,
    compare_stages,
    performance_of,
    performance_table,
)
from ..evaluation.representatives import BORDERLINE, Representatives, representatives_of
from ..plots import latent, samples
from ..runs.labels import usable_sample
from ..runs.names import names_path, read_names, title_of
from ..runs.run import FinishedRun, FinishedStage, StageModel, cached, model_of
from ..runtime import count
from . import figures
from .page import Picture

Context = dict[str, Any]
MOST_GALLERIES = 24  # clusters that have figures of their own
LISTED = 6  # samples of a cluster in the table
WITH_WAVEFORMS = 4  # samples of a cluster that are drawn with their waveforms
SECOND = 0.05  # probability in a second cluster from which on a sample is borderline
DRAWN = 24  # borderline or outlying samples in a gallery


@dataclass(frozen=True)
class Study:
    """A run's final clusters, and what several figures need, computed once."""

    run: FinishedRun
    stage: FinishedStage

    @cached_property
    def names(self) -> dict[int, str]:
        """Names that were given to clusters."""
        return read_names(self.run)

    @cached_property
    def performances(self) -> list[Performance]:
        """Of all stages that label, the final one last."""
        return performance_of(self.run)

    @cached_property
    def representatives(self) -> Representatives:
        """Samples to look at."""
        return representatives_of(self.run, self.stage)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Indices of the samples whose latents are drawn, (m,), ascending."""
        return usable_sample(self.stage.labels, MEASURED, self.run.settings.run.seed)

    @cached_property
    def models(self) -> dict[str, StageModel]:
        """Networks of the stages that label."""
        return {stage.name: model_of(self.run, stage) for stage in self.run.labelling}

    @property
    def largest(self) -> list[int]:
        """The `MOST_GALLERIES` largest clusters that are not empty, ascending."""
        sizes = self.stage.sizes
        order = np.argsort(-sizes, kind="stable")[:MOST_GALLERIES]
        return np.sort(order[sizes[order] > 0]).tolist()

    @property
    def titled(self) -> list[tuple[int, str]]:
        """Label and title of the largest clusters."""
        return [(label, title_of(label, self.names)) for label in self.largest]

    @property
    def axes(self) -> plots.SpectrogramAxes:
        """Of the samples."""
        return plots.SpectrogramAxes.of(self.run.file)


def study_of(run: FinishedRun) -> Study:
    """The study of a run that labels, made once."""
    return cached(run, "study", lambda: Study(run, run.final))


def clusters_section(run: FinishedRun) -> Context | None:
    """Sizes, measures and figures of the final clusters."""
    if run.final is None:
        return None
    study, stage = study_of(run), run.final
    *before, final = study.performances
    pictures = {
        "report_silhouettes": lambda: _silhouettes(study),
        "report_latent_pairs": lambda: _latent_pairs(study),
        "report_distances": lambda: _distances(study),
        f"{stage.name}_embedding": lambda: _embedding(study),
    }
    drawn: dict[str, Picture] = {}
    if run.file is not None:
        for label in study.largest:
            name = f"report_cluster_{label}"
            drawn[name] = Picture(lambda label=label: _gallery(study, label), label)
        drawn["report_means"] = Picture(lambda: _means(study))
    return {
        "stage": stage.name,
        "method": figures.STAGE_METHODS[stage.name],
        "sizes": stage.sizes.tolist(),
        "n_unusable": int((stage.labels < 0).sum()),
        "has_data": run.file is not None,
        "refined": stage.metrics.get("refined") is not False,
        "empty": np.flatnonzero(stage.sizes == 0).tolist(),
        "performance": performance_table(final, study.names),
        "both": compare_stages(study.performances, study.names),
        "earlier": [{"stage": one.stage, **performance_table(one, study.names)} for one in before],
        "galleries": study.titled,
        "paired": latent.PAIRED,
        "n_features": stage.latents.shape[1],
        "embedding": TITLES[run.settings.report.embedding],
        "figures": drawn | {name: Picture(draw) for name, draw in pictures.items()},
    }


def _gallery(study: Study, label: int) -> Figure:
    chosen, sizes = study.representatives.typical[label], study.stage.sizes
    title = (
        f"Cluster {plots.cluster_title(label, study.names)}: {len(chosen)} of "
        f"{count(int(sizes[label]), 'sample')} ({sizes[label] / sizes.sum():.1%} of all)"
    )
    return samples.sample_gallery(study.axes, _typical(study, chosen), title)


def _typical(study: Study, chosen: pandas.DataFrame, waveforms: "Waveforms | None" = None) -> list:
    def title(place: int) -> str:
        where = place_of(study.stage.table, int(chosen["sample"].iloc[place]))
        return f"{where}  p {chosen['probability'].iloc[place]:.2f}"

    return _shown(study.run, chosen, title, waveforms)


def _means(study: Study) -> Figure:
    model, labels = study.models[study.stage.name], study.largest
    preparation = model.preparation
    return samples.means_and_centroids(
        study.axes,
        study.performances[-1].means[labels],
        model.decode(model.centroids)[labels],
        labels,
        study.stage.sizes[labels].tolist(),
        f"amplitude {preparation.amplitude}, {preparation.transform}",
        study.names,
    )


def _silhouettes(study: Study) -> Figure:
    panels = [
        latent.Scores(
            f"{one.stage}, {space} space", *one.scores[kind], float(one.measures[kind].values[-1])
        )
        for kind, space in (("silhouette_latent", "latent"), ("silhouette_data", "data"))
        for one in study.performances
        if kind in one.scores
    ]
    k = max(len(one.sizes) - 1 for one in study.performances)
    return latent.silhouette_profiles(panels, k, study.names, len(study.performances))


def _latent_pairs(study: Study) -> Figure:
    index, stage = study.drawn, study.stage
    n = stage.latents.shape[1]
    cut = (
        f"the {latent.PAIRED} of {n} with most variance between clusters"
        if n > latent.PAIRED
        else f"all {n}"
    )
    return latent.latent_pairs(
        stage.latents[index],
        stage.labels[index].astype(np.int64),
        study.models[stage.name].centroids,
        f"{figures.STAGE_METHODS[stage.name]}: latents in pairs of features, {cut}",
        study.run.feature_names,
        study.names,
    )


def _distances(study: Study) -> Figure:
    rows = []
    for stage in study.run.labelling:
        index = study.drawn[stage.labels[study.drawn] >= 0]
        labels = stage.labels[index].astype(np.int64)
        away = stage.latents[index] - study.models[stage.name].centroids[labels]
        rows.append(latent.Distances(stage.name, labels, np.linalg.norm(away, axis=1)))
    k = max(stage.n_clusters for stage in study.run.labelling)
    return latent.distance_curves(rows, k, study.names)


def _embedding(study: Study) -> Figure:
    stage, settings = study.stage, study.run.settings
    return figures.embedding(
        stage.name, stage.latents, stage.labels, stage.sizes, settings, study.names,
        method=settings.report.embedding,
    )  # fmt: skip


# ---- samples to look at -------------------------------------------------------------------------


def samples_section(run: FinishedRun) -> Context | None:
    """Typical, borderline and outlying samples."""
    if run.final is None:
        return None
    study = study_of(run)
    near, far = borderline(study), study.representatives.outlying
    pictures, waveforms = {}, waveforms_of(run.file)
    for label in study.largest if waveforms else ():
        name = f"report_waveforms_{label}"
        pictures[name] = Picture(lambda at=label: _detections(study, at, waveforms), label)
    for name, chosen, words in (
        ("borderline", near, _both_probabilities),
        ("outlying", far, _log_likelihood),
    ):
        if run.file is not None and len(chosen):
            first = chosen[:DRAWN]
            pictures[f"report_{name}"] = Picture(
                lambda first=first, name=name, words=words: _extreme(study, name, first, words)
            )
    typical = [part[:LISTED] for part in study.representatives.typical]
    return {
        "names_path": str(names_path(run)),
        "n_names": len(study.names),
        "n_clusters": run.final.n_clusters,
        "has_data": run.file is not None,
        "typical": _table(study, pandas.concat(typical)),
        "waveforms": study.titled if waveforms else [],
        "borderline": _table(study, near, ("Second cluster", "Its probability")),
        "outlying": _table(study, far, ("Log-likelihood", "Training samples less likely")),
        "most": BORDERLINE,
        "second": SECOND,
        "figures": pictures,
    }


def _table(study: Study, chosen: pandas.DataFrame, more: Sequence[str] = ()) -> Context:
    """Columns of all tables, onsets where they are known, and `more` by name."""
    table, index = study.stage.table, chosen["sample"].tolist()
    titles = [title_of(label, study.names) for label in range(study.stage.n_clusters)]
    columns = {
        "Cluster": [titles[label] for label in chosen["label"]],
        "Sample": list(map(str, index)),  # without separators
        "Start time (UTC)": [time_of(table.get("starttime"), i) or None for i in index],
        "Onset (UTC)": [time_of(table.get("onset"), i, "milliseconds") or None for i in index],
        "Trace": [trace_of(table, i) or None for i in index],
        "Probability": chosen["probability"],
        "Second cluster": [titles[label] if label >= 0 else None for label in chosen["second"]],
        "Its probability": chosen["second_probability"].where(chosen["second"] >= 0),
        "Log-likelihood": chosen["log_likelihood"],
        "Training samples less likely": chosen["less_likely"],
    }
    left_out = "Onset (UTC)" if "onset" not in table else ""
    header = [name for name in (*list(columns)[:6], *more) if name != left_out]
    rows = list(zip(*(columns[name] for name in header), strict=True))
    return {"header": header, "rows": rows, "clusters": chosen["label"].tolist(), "digits": 3}


def borderline(study: Study) -> pandas.DataFrame:
    """Samples with a second cluster, those with the most equal probabilities first."""
    chosen = pandas.concat(study.representatives.borderline)
    chosen = chosen[chosen["second_probability"] >= SECOND]
    lead = chosen["probability"] - chosen["second_probability"]
    return chosen.iloc[np.argsort(lead, kind="stable")]


def _extreme(
    study: Study, name: str, chosen: pandas.DataFrame, words: Callable[[pandas.DataFrame, int], str]
) -> Figure:
    def title(place: int) -> str:
        where = place_of(study.stage.table, int(chosen["sample"].iloc[place]))
        return f"{where}\n{words(chosen, place)}"

    drawn = _shown(study.run, chosen, title)
    return samples.sample_gallery(study.axes, drawn, f"{len(chosen)} {name} samples", columns=6)


def _both_probabilities(chosen: pandas.DataFrame, place: int) -> str:
    row = chosen.iloc[place]
    own, other = row["probability"], row["second_probability"]
    return f"{row['label']:.0f}: {own:.2f}, {row['second']:.0f}: {other:.2f}"


def _log_likelihood(chosen: pandas.DataFrame, place: int) -> str:
    return f"log-likelihood {chosen['log_likelihood'].iloc[place]:.4g}"


# ---- single samples -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Waveforms:
    """A data set (N, S) of waveforms; `sampling_rate` in Hz, `unit` may be empty."""

    path: Path
    dataset: str
    sampling_rate: float
    unit: str

    def read(self, index: np.ndarray) -> np.ndarray:
        """Of samples in any order, (m, S), float32."""
        with h5py.File(self.path, "r") as file:
            return np.stack([file[self.dataset][int(i)] for i in index]).astype(np.float32)


def waveforms_of(file: SpectrogramFile | None) -> Waveforms | None:
    """Waveforms of a data set made with ``build.traces=yes``; None where it has none."""
    if not isinstance(file, RowsFile):
        return None
    group = file.dataset.rpartition("/")[0]
    with h5py.File(file.path, "r") as opened:
        for name in ("trace", "Trace"):
            dataset = f"{group}/{name}".lstrip("/")
            found = opened.get(dataset)
            if isinstance(found, h5py.Dataset) and found.ndim == 2:
                rate = _sampling_rate(found, group)
                if len(found) == file.n_samples and found.shape[1] > 1 and rate:
                    unit = found.attrs.get("units", found.attrs.get("AmplUnits", ""))
                    return Waveforms(file.path, dataset, rate, to_text(unit))
    return None


def _sampling_rate(found: h5py.Dataset, group: str) -> float:
    """From the attributes, or from the group, which is named after the window's seconds."""
    if "sampling_rate" in found.attrs:
        return float(found.attrs["sampling_rate"])
    try:
        return found.shape[1] / float(group)
    except (ValueError, ZeroDivisionError):
        return 0.0


def _detections(study: Study, label: int, waveforms: Waveforms) -> Figure:
    chosen = study.representatives.typical[label][:WITH_WAVEFORMS]
    drawn = _typical(study, chosen, waveforms)
    title = f"Cluster {plots.cluster_title(label, study.names)}"
    return samples.detections(study.axes, drawn, waveforms.sampling_rate, waveforms.unit, title)


def _shown(
    run: FinishedRun,
    chosen: pandas.DataFrame,
    title: Callable[[int], str],
    waveforms: Waveforms | None = None,
) -> list[samples.Shown]:
    """Chosen samples with their titles, ready to be drawn."""
    images = figures.images(run.file, chosen["sample"], run.settings.data.amplitude)
    traces = [None] * len(chosen) if waveforms is None else waveforms.read(chosen["sample"])
    return [
        samples.Shown(image, title(place), int(label), trace)
        for place, (image, label, trace) in enumerate(
            zip(images, chosen["label"], traces, strict=True)
        )
    ]


def time_of(times: pandas.Series | None, index: int, unit: str = "seconds") -> str:
    """UTC to a unit of time; empty where it is not known."""
    if times is None or pandas.isna(times[index]):
        return ""
    return times[index].isoformat(" ", unit)


def trace_of(table: pandas.DataFrame, index: int) -> str:
    """Trace id; empty where it is not known."""
    return table["trace_id"][index] if "trace_id" in table else ""


def place_of(table: pandas.DataFrame, index: int) -> str:
    """Time and trace on two lines, or the sample's number where neither is known."""
    known = [
        text for text in (time_of(table.get("starttime"), index), trace_of(table, index)) if text
    ]
    return "\n".join(known).replace("$", r"\$") if known else f"sample {index:,}"
