"""Page, gallery and map of new data that a finished run has labelled."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas

from ..data.cube_file import CubeFile
from ..data.layouts import SpectrogramFile
from ..evaluation.comparison import certainty
from ..evaluation.performance import measure
from ..evaluation.samples import DRIFT, OUTLYING
from ..io import new_file, open_rows, write_text
from ..run_folder import StageFolder
from ..runs.labels import read_labels
from ..runs.run import FinishedRun, FinishedStage, open_run, read_names
from ..runtime import log
from ..settings import Settings
from .figures import METHODS, Results, gallery, label_map
from .make_report import make_sections
from .overview import cards_section, samples_section
from .page import render

LARGEST = 10**7  # samples of new data, whose table is in memory


@dataclass(frozen=True)
class NewLabels(FinishedStage):
    """Labels of new data, as a stage with the models of the one that gave them."""

    output: Path = Path()  # their table
    posterior: Callable[[np.ndarray], np.ndarray] | None = None

    table = cached_property(lambda self: read_labels(self.output))
    latents = cached_property(lambda self: open_rows(self.output.with_suffix(".latent.npy")))

    @cached_property
    def sizes(self) -> np.ndarray:
        """Members of each cluster; `cluster_sizes` are those of the stage."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.n_clusters)

    def soft(self, index: np.ndarray) -> np.ndarray:
        """See `FinishedStage`."""
        return self.posterior(self.latents[index])


class NewResults(Results):
    """Results of new data, on the map of the stage that labelled them."""

    @cached_property
    def performances(self) -> list[Any]:
        """Mean probabilities alone: the others need all data again."""
        probability = self.stage.table["probability"].to_numpy("f8")
        found = measure(probability, self.stage.labels, self.stage.n_clusters)
        return [SimpleNamespace(measures={"probability": found})]


def write_new_page(
    output: Path, folder: StageFolder, file: SpectrogramFile, settings: Settings,
    posterior: Callable[[np.ndarray], np.ndarray],
) -> None:  # fmt: skip
    """Write page and gallery beside a table of labels, and of a cube the figure of its map."""
    if file.n_samples > LARGEST:
        log.info(f"{output}: no page of more than {LARGEST:,} samples")
        return
    page, image = output.with_suffix(".html"), settings.run.figure_format
    with open_run(folder.run_folder) as known:
        trained = replace(known.stages[folder.name], corrections=None)
        metrics = {"n_clusters": trained.n_clusters, "cluster_sizes": trained.cluster_sizes}
        stage = NewLabels(folder.name, folder.path, metrics, {}, settings, None, output, posterior)
        names = read_names(known.folder, stage, [])
        run = FinishedRun(known.folder, settings, {stage.name: stage}, file, names=names)
        results = NewResults(run)
        results.mapped, results.chosen = trained, ()  # report.samples are of the run
        draws = {output.with_suffix(f".gallery.{image}"): partial(gallery, results)}
        if isinstance(file, CubeFile):
            draw = partial(label_map, results, output.with_suffix(".h5"), output.stem)
            draws[output.with_suffix(f".{image}")] = draw
        for path, draw in draws.items():
            with new_file(path) as partial_file:
                draw().savefig(partial_file, format=image)
        sections = make_sections(results, SECTIONS)
        title = f"{output.stem}, labelled with {known.folder.resolve().name}"
        write_text(page, render(results.data, results.run, title, sections))
    log.info(f"{page}: page; {', '.join(map(str, draws))}")


def _overview(results: NewResults) -> dict[str, Any]:
    """What is new, and how much it differs from the training set."""
    stage, old = results.stage, results.mapped.cluster_sizes
    outlying = pandas.read_csv(stage.output, usecols=["outlier"])["outlier"].to_numpy() == 1
    n, share = stage.sizes.sum(), outlying.sum() / stage.sizes.sum()
    note = "The data differ from the training set: labels of outliers are doubtful; train anew."
    means = results.performances[0].measures["probability"]
    rows = [
        (
            results.titles[label], size, f"{size / n:.1%}", f"{old[label] / old.sum():.1%}",
            means[label], int(outlying[stage.labels == label].sum()),
        )
        for label, size in enumerate(stage.sizes.tolist())
    ]  # fmt: skip
    header = "Cluster", "Samples", "Share", "Share in the run", "Mean probability", "Outliers"
    return {
        "method": METHODS[stage.name], "choice": None, "sure": certainty(stage),
        "outliers": int(outlying.sum()), "share": share, "most": OUTLYING,
        "notes": [note] * int(share > DRIFT),
        "table": {"header": header, "rows": rows, "clusters": [*range(len(rows))]},
    }  # fmt: skip


SECTIONS = (
    ("overview", "", _overview),
    ("clusters", "Clusters", cards_section),
    ("samples", "What to look at next", samples_section),
    ("map", "Map and time line", lambda results: {}),
)
