"""Write the report of a run: figures, names of clusters, and one page."""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from ..errors import RunError, SettingsError
from ..evaluation.samples import require_package
from ..io import write_text
from ..runs.run import STAGES, open_run, write_names
from ..runtime import Progress, log
from . import sections as tables
from .figures import Draw, Results, image_of
from .overview import cards_section, chosen_section, overview_section, samples_section
from .page import environment, made_from, render

REPORT = "report.html"
COLOURS = 64  # of a figure on the page
# Anchor, title, function that returns values for the template or None, which leaves it out.
SECTIONS = (
    ("overview", "", overview_section),
    ("clusters", "Clusters", cards_section),
    ("samples", "What to look at next", samples_section),
    ("chosen", "Chosen samples", chosen_section),
    ("map", "Map and time line", lambda results: {}),
    ("stations", "Stations", tables.stations_section),
    ("time", "Time and environment", tables.time_section),
    ("relations", "Relations between clusters", tables.relations_section),
    ("truth", "Agreement with known classes", tables.truth_section),
)
TECHNICAL = (
    ("run", "Run", tables.run_section),
    ("training", "Training", tables.training_section),
    ("choice", "Why this number of clusters", tables.choice_section),
    ("measures", "Measures of the clusters", tables.measures_section),
    ("comparison", "Mixture against refinement", tables.refinement_section),
    ("citing", "Citing", lambda results: {}),
)


def write_report(
    run_folder: Path, overrides: Sequence[str] = (), output: Path | None = None
) -> Path:
    """Write ``report.html`` of a run, its figures, and the table of names of clusters.

    `overrides` are ``section.key=value`` words. With `output` the page is written there, alone.
    Raises RunError without labels or data, or if the existing page was made from more stages,
    SettingsError, and MissingPackage for that of ``report.embedding``.
    """
    path = output or run_folder / REPORT
    with open_run(run_folder, overrides) as run:
        why = "; ".join(note.rstrip(".") for note in run.notes)
        if run.final is None or run.file is None:
            raise RunError(f"{run_folder}: has no labels or no data, which a page needs: {why}")
        made = made_from(path)
        if lacking := [name for name in STAGES if name in made and name not in run.stages]:
            raise RunError(
                f"{path}: is not replaced by a page without {' and '.join(lacking)} ({why}); run "
                "the stages, or write another page with -o other.html"
            )
        require_package(run.settings.report.embedding)
        results = Results(run, writes=output is None)
        if (last := max(results.chosen, default=0)) >= run.file.n_samples:
            raise SettingsError(
                f"[report] samples: {run.settings.data.file} has no sample {last}; allowed: "
                f"indices from 0 to {run.file.n_samples - 1}"
            )
        log.info(f"drawing the report of {run_folder}")
        if output is None:
            write_names(run)
        found = [make_sections(results, group) for group in (SECTIONS, TECHNICAL)]
        write_text(path, render(results.data, run, run.folder.resolve().name, *found))
    n = sum(len(section["figures"]) for group in found for section in group)
    log.info(f"report: {path.stat().st_size / 1e6:.1f} MB, {n} figures")
    return path


def make_sections(results: Results, group: Sequence[tuple]) -> list[dict[str, Any]]:
    """Sections that are not empty, with their HTML and images; one that fails becomes a note."""
    template, found = environment().get_template("sections.html"), []
    common = {"results": results, "run": results.run, "file": results.file, "final": results.stage}
    with Progress("Report", len(group), "sections") as progress:
        for anchor, title, make in group:
            progress.add(1)
            section = {"anchor": anchor, "title": title, "notes": [], "figures": {}, "html": ""}
            try:
                if (context := make(results)) is None:
                    continue
                section |= context
                draws = section["figures"].items()
                section["figures"] = {name: _image(results, name, draw) for name, draw in draws}
                section["html"] = Markup(template.render(common | section))
            except Exception as error:  # the other sections do not depend on it
                fault = f"left out: {type(error).__name__}: {error}"
                log.warning(f"report: {title or anchor}: {fault}")
                section["notes"] = [f"This section is {fault}"]
            found.append(section)
    return found


def _image(results: Results, name: str, draw: Draw) -> dict[str, Any]:
    """A figure of fewer colours as a data URI, with its size; or its fault."""
    buffer = BytesIO()
    try:
        image = image_of(results, name, draw)
    except Exception as error:  # the other figures do not depend on it
        fault = f"{name} could not be drawn: {type(error).__name__}: {error}"
        log.warning(f"report: {fault}")
        return {"fault": fault}
    image.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "width": image.width, "height": image.height}
