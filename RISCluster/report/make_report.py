"""Write the report of a run: sections, figures and names of clusters, as one page."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .. import __version__
from ..errors import MissingPackage, RISClusterError, RunError
from ..evaluation.mapping import require_package
from ..io import write_text
from ..runs.names import names_notes, write_names
from ..runs.run import STAGES, FinishedRun, open_run
from ..runtime import Progress, log
from .context_clusters import clusters_section, comparison_section, samples_section, truth_section
from .context_occurrence import occurrence_section
from .context_run import choice_section, citing_section, run_section, training_section
from .figures import Results, inputs_of, png_of
from .page import environment, made_from, render

REPORT = "report.html"
INTERVAL = 5.0  # s between two lines of progress
LARGE_PAGE = 15e6  # bytes of a page from which on there is a warning
# Anchor, title, template, and function that returns values or None, which leaves the section out.
SECTIONS = (
    ("run", "Run", "run.html", run_section),
    ("training", "Training", "run.html", training_section),
    ("choice", "Why this number of clusters", "run.html", choice_section),
    ("clusters", "Clusters", "clusters.html", clusters_section),
    ("comparison", "Mixture against refinement", "clusters.html", comparison_section),
    ("truth", "Agreement with known classes", "clusters.html", truth_section),
    ("where-and-when", "Where and when", "clusters.html", occurrence_section),
    ("samples", "Samples to look at", "clusters.html", samples_section),
    ("citing", "Citing", "run.html", citing_section),
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
        results, notes = Results(run), names_notes(run)
        try:
            if output is None:
                write_names(run)
        except RISClusterError as error:
            log.warning(f"report: names of clusters: {error}")
            notes.append(f"The table of names is not written: {error}.")
        sections = make_sections(results)
        sections[0]["notes"][:0] = notes
        n, drawn = _draw(results, sections, output is None)
        write_text(path, make_page(results, sections))
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


def make_sections(results: Results) -> list[dict[str, Any]]:
    """Values of all sections that are not empty; one that fails becomes a note."""
    found = []
    with Progress("Report", len(SECTIONS), "sections") as progress:
        progress.interval = INTERVAL
        for anchor, title, template, make in SECTIONS:
            try:
                context = make(results)
            except Exception as error:  # the other sections do not depend on it
                fault = str(error) if isinstance(error, MissingPackage) else _describe(error)
                log.warning(f"report: {title} is left out: {fault}")
                context = {"notes": [f"Left out: {fault}"], "html": ""}
            if context is not None:
                common = {"anchor": anchor, "title": title, "template": template}
                found.append(common | {"notes": [], "figures": {}} | context)
            progress.add(1)
    return found


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _draw(results: Results, sections: Sequence[dict[str, Any]], writes: bool) -> tuple[int, int]:
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
            path = run.folder / "figures" / f"{name}.{run.settings.run.figure_format}"
            try:
                inputs = inputs_of(run.stages.values(), results.names, *more)
                if (stage := run.stages.get(name[:3])) is not None:  # as the stage draws it
                    names = results.names if stage is results.stage else {}
                    inputs = inputs_of([stage], names, report.embedding)
                png = png_of(path, inputs, images[name], writes)
                width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # IHDR
                source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
                images[name] = {"source": source, "width": width, "height": height}
                drawn += 1
            except Exception as error:  # the other figures do not depend on it
                images[name] = {"fault": f"{name} could not be drawn: {_describe(error)}"}
                log.warning(f"report: {images[name]['fault']}")
            progress.add(1)
    return len(figures), drawn


def make_page(results: Results, sections: Sequence[dict[str, Any]]) -> str:
    """The page of sections whose figures are images."""
    run, templates = results.run, environment()
    common = {"results": results, "run": run, "file": run.file, "final": run.final}
    for section in sections:
        if "html" not in section:
            template = templates.get_template(section["template"])
            section["html"] = Markup(template.render(common | section))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return render(
        run.folder.resolve().name,
        sections,
        n_clusters=max((stage.n_clusters for stage in run.labelling), default=0),
        names=results.names,
        made_from=_parts(run),
        footer=f"Made on {made} by RISCluster {__version__} from {run.folder.resolve()}",
    )
