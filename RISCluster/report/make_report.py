"""Write the report of a run: figures, names of clusters, and one page."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from .. import __version__
from ..errors import MissingPackage, RISClusterError, RunError
from ..evaluation.mapping import require_package
from ..io import write_text
from ..runs.names import write_names
from ..runs.run import STAGES, FinishedRun, open_run
from ..runtime import Progress, log
from . import sections as tables
from .figures import Results, inputs_of, png_of
from .overview import cards_section, overview_section, samples_section
from .page import environment, made_from, render

REPORT = "report.html"
INTERVAL = 5.0  # s between two lines of progress
LARGE_PAGE = 15e6  # bytes of a page from which on there is a warning
# Anchor, title, function that returns values or None, which leaves the section out.
SECTIONS = (
    ("overview", "", overview_section),
    ("clusters", "Clusters", cards_section),
    ("samples", "What to look at next", samples_section),
    ("map", "Map and time line", lambda results: {} if results.stage else None),
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
    ("citing", "Citing", tables.citing_section),
)


def write_report(
    run_folder: Path,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    complete: bool = False,
) -> Path:
    """Write ``report.html`` of a run, its figures, and the table of names of clusters.

    `overrides` are ``section.key=value`` words. With `output` the page is written there, alone. A
    missing package for ``report.embedding`` is an error if `complete`, or else a note. Raises
    RunError if there is no run or the existing page was made from more, and SettingsError.
    """
    path = output or run_folder / REPORT
    with open_run(run_folder, overrides) as run:
        _refuse_less(path, run)
        if complete:
            require_package(run.settings.report.embedding)
        log.info(f"drawing the report of {run_folder}")
        results = Results(run, writes=output is None)
        try:
            if output is None:
                write_names(run)
        except RISClusterError as error:
            log.warning(f"report: names of clusters: {error}")
            run.notes.append(f"the table of names is not written: {error}.")
        found = [make_sections(results, group) for group in (SECTIONS, TECHNICAL)]
        n, drawn = _draw(results, [*found[0], *found[1]])
        write_text(path, make_page(results, *found))
    size = path.stat().st_size
    failed = f" of {n}; the others could not be drawn" if drawn < n else ""
    log.info(f"report: {size / 1e6:.1f} MB, {drawn} figures{failed}")
    if size > LARGE_PAGE:
        log.warning(f"report: {path} is large for a page: a browser may take long to open it")
    return path


def _parts(run: FinishedRun) -> list[str]:
    """What a page is made from: complete stages, and the data."""
    return [*run.stages, *["data"] * bool(run.file)]


def _refuse_less(path: Path, run: FinishedRun) -> None:
    """Refuse to replace a page that was made from more; an unmarked one was made from all."""
    if not path.is_file():
        return
    try:
        before = made_from(path)
    except OSError as error:
        raise RunError(
            f"{path}: can't be read: {error}; move it away, or name another page: -o"
        ) from None
    shown = [part for part in (*STAGES, "data") if before is None or part in before]
    lacking = " and ".join(part for part in shown if part not in _parts(run))
    if lacking:
        why = "; ".join(note.rstrip(".") for note in run.notes)
        raise RunError(
            f"{path}: is made from {', '.join(shown)}, and is not replaced by a page without "
            f"{lacking} ({why}); make them complete, or write another page with -o other.html"
        )


def make_sections(results: Results, group: Sequence[tuple]) -> list[dict[str, Any]]:
    """Values of all sections that are not empty; one that fails becomes a note."""
    found = []
    with Progress("Report", len(group), "sections") as progress:
        progress.interval = INTERVAL
        for anchor, title, make in group:
            try:
                context = make(results)
            except Exception as error:  # the other sections do not depend on it
                fault = str(error) if isinstance(error, MissingPackage) else _describe(error)
                log.warning(f"report: {title or anchor} is left out: {fault}")
                context = {"notes": [f"Left out: {fault}"], "html": ""}
            if context is not None:
                common = {"anchor": anchor, "title": title, "notes": [], "figures": {}}
                found.append(common | context)
            progress.add(1)
    return found


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _draw(results: Results, sections: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Replace the figures of all sections by images; how many there are, and how many drawn."""
    run, report, drawn = results.run, results.settings.report, 0
    paths = [Path(place).expanduser() for place in (report.stations, report.environment) if place]
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.exists()]
    stamps = sorted((str(file), file.stat().st_mtime_ns) for file in files)
    more = (run.settings.as_ini(), _parts(run), stamps)
    figures = [(section["figures"], name) for section in sections for name in section["figures"]]
    with Progress("Report", len(figures), "figures") as progress:
        progress.interval = INTERVAL
        for images, name in figures:
            path = results.folder / f"{name}.{run.settings.run.figure_format}"
            try:
                inputs = inputs_of(run.stages.values(), results.names, *more)
                if (stage := run.stages.get(name[:3])) is not None:  # as the stage draws it
                    names = results.names if stage is results.stage else {}
                    inputs = inputs_of([stage], names, report.embedding)
                images[name] = _embedded(png_of(path, inputs, images[name], results.writes))
                drawn += 1
            except Exception as error:  # the other figures do not depend on it
                images[name] = {"fault": f"{name} could not be drawn: {_describe(error)}"}
                log.warning(f"report: {images[name]['fault']}")
            progress.add(1)
    return len(figures), drawn


def _embedded(png: bytes) -> dict[str, Any]:
    """A figure of fewer colours as a data URI, with its size."""
    buffer = BytesIO()
    with Image.open(BytesIO(png)) as image:
        image.convert("RGB").quantize(64, Image.Quantize.FASTOCTREE).save(buffer, "PNG")
        width, height = image.size
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "width": width, "height": height}


def make_page(
    results: Results,
    sections: Sequence[dict[str, Any]],
    technical: Sequence[dict[str, Any]],
    title: str = "",
) -> str:
    """The page of sections whose figures are images; the title is by default that of the run."""
    run, templates = results.run, environment()
    common = {"results": results, "run": run, "file": run.file, "final": run.final}
    for section in (*sections, *technical):
        if "html" not in section:
            template = templates.get_template("sections.html")
            section["html"] = Markup(template.render(common | section))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return render(
        title or run.folder.resolve().name,
        sections,
        technical,
        results.data if run.final else {},
        made_from=_parts(run),
        footer=f"Made on {made} by RISCluster {__version__} from {run.folder.resolve()}",
    )
