"""The report of a run: every topic's section, in order, as one page in the run folder."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ... import __version__
from ...errors import MissingPackage
from ...files import write_text
from ...progress import Progress, log
from ..finished.names import names_notes, read_names, write_names
from ..finished.run import FinishedRun, open_run
from ..page.blocks import Note, Picture, Section
from ..page.page import Page, pictures_of
from ..page.pictures import Drawer, Image
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

REPORT = "report.html"
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


def write_report(run_folder: Path, overrides: Sequence[str] = ()) -> Path:
    """Write ``report.html`` of a run, its figures, and the table in which clusters are named.

    Parameters
    ----------
    run_folder : Path
        ``<run.folder>/<run.name>``.
    overrides : sequence of str
        ``section.key=value`` words, as ``report.stations=stations.xml``.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    RunError
        There is no run, or the page can't be written.
    SettingsError
        A word is not a setting.
    """
    with open_run(run_folder, overrides) as run:
        names, notes = _names(run)
        sections = [section for topic in TOPICS if (section := _section(*topic, run))]
        sections[0].blocks[:0] = [Note(text) for text in notes]
        drawer = Drawer(run.folder / "figures", run.settings.run.figure_format)
        pictures = sum(1 for section in sections for _ in pictures_of(section.blocks))
        with Progress("Drawing", pictures, "figures") as progress:

            def draw(picture: Picture) -> Image | str:
                image = drawer(picture)
                progress.add(1)
                return image

            text = _page(run, sections, draw, names).html()
    path = run_folder / REPORT
    write_text(path, text)
    _say_size(path, len(drawer.paths), pictures)
    return path


def _names(run: FinishedRun) -> tuple[dict[int, str], list[str]]:
    """Names of clusters, and what is to be said of their table."""
    if run.final is None:
        return {}, []
    try:
        notes = names_notes(run)  # before the table is made anew
        write_names(run)
        return read_names(run), notes
    except Exception as error:  # the page does without
        log.warning(f"report: names of clusters: {type(error).__name__}: {error}")
        return {}, [f"The names of clusters are left out: {error}"]


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
