"""The report of a run: every topic's section, in order, as one page in the run folder."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from .. import __version__
from ..errors import MissingPackage, RunError
from ..evaluation.mapping import require_package
from ..io import write_text
from ..runs.names import names_notes, read_names, write_names
from ..runs.run import STAGES, FinishedRun, open_run
from ..runtime import Progress, log
from . import (
    about_choice,
    about_citing,
    about_clusters,
    about_comparison,
    about_occurrence,
    about_run,
    about_samples,
    about_training,
    about_truth,
)
from .blocks import Note, Picture, Section
from .page import Page, made_from, pictures_of
from .pictures import Drawer, Image

REPORT = "report.html"
INTERVAL = 5.0  # s between two lines on how far it is
LARGE = 15e6  # bytes of a page, from which on it is said how to do with less

Topic = Callable[[FinishedRun], Section | None]


TOPICS: tuple[tuple[str, Topic], ...] = (
    ("Run", about_run.section),
    ("Training", about_training.section),
    ("Choice of K", about_choice.section),
    ("Clusters", about_clusters.section),
    ("Comparison", about_comparison.section),
    ("Known classes", about_truth.section),
    ("Occurrence", about_occurrence.section),
    ("Samples", about_samples.section),
    ("Citing", about_citing.section),
)


def write_report(
    run_folder: Path,
    overrides: Sequence[str] = (),
    output: Path | None = None,
    complete: bool = False,
) -> Path:
    """Write ``report.html`` of a run, its figures, and the table in which clusters are named.

    A page is never replaced by one that shows less of the run.

    Parameters
    ----------
    run_folder : Path
        ``<run.folder>/<run.name>``.
    overrides : sequence of str
        ``section.key=value`` words, as ``report.stations=stations.xml``.
    output : Path, optional
        Where the page goes instead, alone: figures and the table of names are left as they are.
    complete : bool
        Whether a missing package that a figure needs is an error, and not a line in the page.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    RunError
        There is no run, the page can't be written, or the one that is there was made from more.
    SettingsError
        A word is not a setting.
    MissingPackage
        ``report.embedding`` needs a package that is not installed, and the page is to be complete.
    """
    path = output or run_folder / REPORT
    with open_run(run_folder, overrides) as run:
        _refuse_less(path, run)
        if complete:
            require_package(run.settings.report.embedding)
        log.info(f"drawing the report of {run_folder}")
        names, notes = _names(run, writes=output is None)
        sections = _sections(run)
        sections[0].blocks[:0] = [Note(text) for text in notes]
        folder = run.folder / "figures" if output is None else None
        drawer = Drawer(folder, run.settings.run.figure_format)
        pictures = sum(1 for section in sections for _ in pictures_of(section.blocks))
        with Progress("Report", pictures, "figures") as progress:
            progress.interval = INTERVAL

            def draw(picture: Picture) -> Image | str:
                image = drawer(picture)
                progress.add(1)
                return image

            text = _page(run, sections, draw, names).html()
    write_text(path, text)
    _say_size(path, drawer.drawn, pictures)
    return path


def _shows(run: FinishedRun) -> list[str]:
    """What a page of a run is made from: its complete stages, and the data."""
    return [*run.stages, *(["data"] if run.file is not None else [])]


def _refuse_less(path: Path, run: FinishedRun) -> None:
    """Refuse to replace a page by one made from less; what does not say so was made from all.

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
    parts = (*STAGES, "data")
    shown = [part for part in parts if before is None or part in before]
    lacking = [part for part in shown if part not in _shows(run)]
    if lacking:
        why = "; ".join(note.rstrip(".") for note in run.notes)
        raise RunError(
            f"{path}: is made from {', '.join(shown)}, and is not replaced by a page without "
            f"{' and '.join(lacking)} ({why}); make them complete, or write another page with "
            "-o other.html"
        )


def _names(run: FinishedRun, writes: bool) -> tuple[dict[int, str], list[str]]:
    """Names of clusters, and what is to be said of their table."""
    if run.final is None:
        return {}, []
    try:
        notes = names_notes(run)  # before the table is made anew
        if writes:
            write_names(run)
        return read_names(run), notes
    except Exception as error:  # the page does without
        log.warning(f"report: names of clusters: {type(error).__name__}: {error}")
        return {}, [f"The names of clusters are left out: {error}"]


def _sections(run: FinishedRun) -> list[Section]:
    """Those of the topics that have something to say."""
    found = []
    with Progress("Report", len(TOPICS), "sections") as progress:
        progress.interval = INTERVAL
        for topic in TOPICS:
            section = _section(*topic, run)
            found += [] if section is None else [section]
            progress.add(1)
    return found


def _section(title: str, topic: Topic, run: FinishedRun) -> Section | None:
    """Section of a topic; one that fails is said, and does not stop the others."""
    try:
        return topic(run)
    except MissingPackage as error:
        fault = str(error)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    log.warning(f"report: {title} is left out: {fault}")
    return Section(title, title.lower().replace(" ", "-"), [Note(f"Left out: {fault}")])


def _page(
    run: FinishedRun,
    sections: Sequence[Section],
    draw: Callable[[Picture], Image | str],
    names: dict[int, str],
) -> Page:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Page(
        title=run.folder.resolve().name,
        subtitle="Report of a run of deep embedded clustering",
        sections=sections,
        draw=draw,
        names=names,
        made_from=_shows(run),
        footer=f"Made on {made} by RISCluster {__version__} from {run.folder.resolve()}",
    )


def _say_size(path: Path, drawn: int, pictures: int) -> None:
    size = path.stat().st_size
    log.info(
        f"report: {size / 1e6:.1f} MB, {drawn} figures"
        + (f" of {pictures}; the others could not be drawn" if drawn < pictures else "")
    )
    if size > LARGE:
        log.warning(f"report: {path} is large for a page: a browser may take long to open it")
