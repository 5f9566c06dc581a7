"""Write the report of a run: sections, figures and names of clusters, as one page."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .. import __version__
from ..errors import MissingPackage, RunError
from ..evaluation.mapping import require_package
from ..io import write_text
from ..runs.names import names_notes, read_names, write_names
from ..runs.run import STAGES, FinishedRun, open_run
from ..runtime import Progress, log
from .context_clusters import clusters_section, samples_section
from .context_occurrence import occurrence_section
from .context_run import choice_section, citing_section, run_section, training_section
from .context_scores import comparison_section, truth_section
from .page import Drawer, environment, made_from, render

REPORT = "report.html"
INTERVAL = 5.0  # s between two lines of progress
LARGE = 15e6  # bytes of a page from which on there is a warning

Context = dict[str, Any]
# Anchor, which names the template; title; what the template needs, or None to leave it out.
SECTIONS: tuple[tuple[str, str, Callable[[FinishedRun], Context | None]], ...] = (
    ("run", "Run", run_section),
    ("training", "Training", training_section),
    ("choice", "Why this number of clusters", choice_section),
    ("clusters", "Clusters", clusters_section),
    ("comparison", "Mixture against refinement", comparison_section),
    ("truth", "Agreement with known classes", truth_section),
    ("where-and-when", "Where and when", occurrence_section),
    ("samples", "Samples to look at", samples_section),
    ("citing", "Citing", citing_section),
)


def write_report(
    run_folder: Path,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    complete: bool = False,
) -> Path:
    """Write ``report.html`` of a run, its figures, and the table of names of clusters.

    Parameters
    ----------
    run_folder : Path
        ``<run.folder>/<run.name>``.
    overrides : sequence of str
        ``section.key=value`` words, as ``report.stations=stations.xml``.
    output : Path, optional
        Another place for the page; figures and the table of names are then not written.
    complete : bool
        Whether a missing package that a figure needs is an error instead of a note in the page.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    RunError
        There is no run, the page can't be written, or the existing page was made from more.
    SettingsError
        A word is not a setting.
    MissingPackage
        ``report.embedding`` needs a package that is not installed, and `complete`.
    """
    path = output or run_folder / REPORT
    with open_run(run_folder, overrides) as run:
        _refuse_less(path, run)
        if complete:
            require_package(run.settings.report.embedding)
        log.info(f"drawing the report of {run_folder}")
        names, notes = _names(run, writes=output is None)
        sections = _sections(run)
        sections[0]["notes"][:0] = notes
        folder = run.folder / "figures" if output is None else None
        drawer = Drawer(folder, run.settings.run.figure_format)
        n_figures = sum(len(section["figures"]) for section in sections)
        _draw(sections, drawer, n_figures)
        write_text(path, _page(run, sections, names))
    _log_size(path, drawer.drawn, n_figures)
    return path


def _parts(run: FinishedRun) -> list[str]:
    """What a page of a run is made from: its complete stages, and the data."""
    return [*run.stages, *(["data"] if run.file is not None else [])]


def _refuse_less(path: Path, run: FinishedRun) -> None:
    """Refuse to replace a page that was made from more; one without the mark was made from all.

    Raises
    ------
    RunError
    """
    if not path.is_file():
        return
    try:
        before = made_from(path)
    except OSError as error:
        raise RunError(
            f"{path}: can't be read: {error}; move it away, or name another page: -o"
        ) from None
    shown = [part for part in (*STAGES, "data") if before is None or part in before]
    lacking = [part for part in shown if part not in _parts(run)]
    if lacking:
        why = "; ".join(note.rstrip(".") for note in run.notes)
        raise RunError(
            f"{path}: is made from {', '.join(shown)}, and is not replaced by a page without "
            f"{' and '.join(lacking)} ({why}); make them complete, or write another page with "
            "-o other.html"
        )


def _names(run: FinishedRun, writes: bool) -> tuple[dict[int, str], list[str]]:
    """Names of clusters, and notes on their table."""
    if run.final is None:
        return {}, []
    try:
        notes = names_notes(run)  # before the table is written
        if writes:
            write_names(run)
        return read_names(run), notes
    except Exception as error:  # costs the names alone
        log.warning(f"report: names of clusters: {type(error).__name__}: {error}")
        return {}, [f"The names of clusters are left out: {error}"]


def _sections(run: FinishedRun) -> list[Context]:
    """Contexts of all sections that are not empty; one that fails becomes a note."""
    found = []
    with Progress("Report", len(SECTIONS), "sections") as progress:
        progress.interval = INTERVAL
        for anchor, title, make in SECTIONS:
            try:
                context = make(run)
            except Exception as error:  # costs this section alone
                missing = isinstance(error, MissingPackage)
                fault = str(error) if missing else f"{type(error).__name__}: {error}"
                log.warning(f"report: {title} is left out: {fault}")
                context = {"notes": [f"Left out: {fault}"], "figures": {}, "fault": fault}
            if context is not None:
                found.append({"notes": [], "anchor": anchor, "title": title} | context)
            progress.add(1)
    return found


def _draw(sections: Sequence[Context], drawer: Drawer, n_figures: int) -> None:
    """Replace the figures of all sections by images."""
    with Progress("Report", n_figures, "figures") as progress:
        progress.interval = INTERVAL
        for section in sections:
            for name, picture in section["figures"].items():
                section["figures"][name] = drawer(name, picture)
                progress.add(1)


def _page(run: FinishedRun, sections: Sequence[Context], names: dict[int, str]) -> str:
    templates, made = environment(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    for section in sections:
        template = f"{section['anchor']}.html"
        html = "" if "fault" in section else templates.get_template(template).render(section)
        section["html"] = Markup(html)
    return render(
        run.folder.resolve().name,
        sections,
        n_clusters=max((stage.n_clusters for stage in run.labelling), default=0),
        names=names,
        made_from=_parts(run),
        footer=f"Made on {made} by RISCluster {__version__} from {run.folder.resolve()}",
    )


def _log_size(path: Path, drawn: int, n_figures: int) -> None:
    size = path.stat().st_size
    failed = f" of {n_figures}; the others could not be drawn" if drawn < n_figures else ""
    log.info(f"report: {size / 1e6:.1f} MB, {drawn} figures{failed}")
    if size > LARGE:
        log.warning(f"report: {path} is large for a page: a browser may take long to open it")
