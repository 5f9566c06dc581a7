"""Page, gallery and map of new data that a finished run has labelled."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas

from ..data.cube_file import CubeFile
from ..data.layouts import SpectrogramFile
from ..evaluation.performance import measure
from ..evaluation.samples import DRIFT, OUTLYING
from ..io import new_file, open_rows, write_text
from ..plots.figures import gallery, label_map
from ..plots.results import Results
from ..run_folder import StageFolder
from ..runs.labels import read_labels
from ..runs.run import FinishedRun, open_run, read_names
from ..runtime import log
from ..settings import Settings
from .make_report import SECTIONS, make_sections, render

LARGEST = 10**7  # samples of new data, whose table is in memory


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
        k, table = trained.n_clusters, read_labels(output)
        labels, latents = table["label"].to_numpy(), open_rows(output.with_suffix(".latent.npy"))
        stage = trained.of_new_data(settings, table, latents, posterior)
        names = read_names(known.folder, stage, [])
        run = FinishedRun(known.folder, settings, {stage.name: stage}, file, names=names)
        results = Results(run)
        results.mapped, results.label_image = trained, output.with_suffix(".h5")
        results.chosen, results.choice = (), None  # report.samples and K are of the run
        probability = measure(table["probability"].to_numpy("f8"), labels, k)
        results.performances = [SimpleNamespace(measures={"probability": probability})]
        draws = {output.with_suffix(f".gallery.{image}"): gallery}
        if isinstance(file, CubeFile):
            draws[output.with_suffix(f".{image}")] = label_map
        for path, draw in draws.items():
            with new_file(path) as partial_file:
                draw(results).savefig(partial_file, format=image)
        sections = [section for section in SECTIONS if section[0] in ("clusters", "samples", "map")]
        sections.insert(0, ("overview", "", lambda results: _overview(results, output)))
        title = f"{output.stem}, labelled with {known.folder.resolve().name}"
        write_text(page, render(results, title, make_sections(results, sections)))
    log.info(f"{page}: page; {', '.join(map(str, draws))}")


def _overview(results: Results, output: Path) -> dict[str, Any]:
    """What is new, and how much it differs from the training set."""
    stage, old = results.stage, results.mapped.cluster_sizes
    outlying = pandas.read_csv(output, usecols=["outlier"])["outlier"].to_numpy() == 1
    counts = np.bincount(stage.labels[outlying & (stage.labels >= 0)], minlength=len(old))
    share = outlying.sum() / stage.sizes.sum()
    note = (
        "The data differ from the training set: labels of outliers are doubtful; train a new run."
    )
    columns = {
        "Cluster": results.titles, "Samples": stage.sizes,
        "Share": [f"{x:.1%}" for x in stage.sizes / stage.sizes.sum()],
        "Share in the run": [f"{x:.1%}" for x in old / old.sum()],
        "Mean probability": results.performances[0].measures["probability"][: len(old)],
        "Outliers": counts,
    }  # fmt: skip
    rows = list(zip(*columns.values(), strict=True))
    return {
        "outliers": int(outlying.sum()), "share": share, "most": OUTLYING,
        "notes": [note] * int(share > DRIFT),
        "table": {"header": [*columns], "rows": rows, "clusters": [*range(len(rows))]},
    }  # fmt: skip
