"""Write the report of a run: figures, names of clusters, and one HTML page."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from .. import __version__
from ..clustering import fit, selection
from ..errors import RunError, SettingsError
from ..evaluation import comparison, performance
from ..evaluation.samples import MAPS, require_package
from ..io import write_text
from ..plots.figures import image_of
from ..plots.results import METHODS, Results
from ..plots.scores import PANELS
from ..runs.run import STAGES, open_run, write_names
from ..runtime import Progress, count, log
from . import sections

REPORT = "report.html"
COLOURS = 64  # of a figure on the page
# Anchor, title, function that returns values for the template; without content it is left out.
SECTIONS = (
    ("overview", "", sections.overview),
    ("clusters", "Clusters", sections.cards),
    ("samples", "What to look at next", None),
    ("chosen", "Chosen samples", None),
    ("map", "Map and time line", None),
    ("stations", "", sections.stations),
    ("time", "Time and environment", sections.time),
    ("relations", "Relations between clusters", None),
    ("truth", "Agreement with known classes", None),
)
TECHNICAL = (
    ("run", "Run", sections.run),
    ("training", "Training", None),
    ("choice", "Why this number of clusters", None),
    ("measures", "Measures of the clusters", None),
    ("comparison", "Mixture against refinement", None),
)
MADE_FROM = re.compile('<meta name="riscluster-made-from" content="([^"]*)">')
MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
SHADES = 10  # steps of the shading of a table


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
        made = MADE_FROM.search(path.read_text("utf-8", "replace") if path.is_file() else "")
        made = made[1].split() if made else []
        if lacking := [name for name in STAGES if name in made and name not in run.stages]:
            raise RunError(
                f"{path}: is not replaced by a page without {' and '.join(lacking)} ({why}); run "
                "the stages, or write another page with -o other.html"
            )
        require_package(run.settings.report.embedding)
        results = Results(run, writes=output is None)
        # A table that can't be used is an error now, before the page is replaced by one without it.
        _ = results.environment, results.report.stations and results.located
        if (last := max(results.chosen, default=0)) >= run.file.n_samples:
            raise SettingsError(
                f"[report] samples: {run.settings.data.file} has no sample {last}; allowed: "
                f"indices from 0 to {run.file.n_samples - 1}"
            )
        log.info(f"drawing the report of {run_folder}")
        if output is None:
            write_names(run)
        found = [make_sections(results, group) for group in (SECTIONS, TECHNICAL)]
        page = render(results, run.folder.resolve().name, *found)
        write_text(path, page)
        for text in run.notes:
            log.warning(text)
    n = page.count('<figure class="picture">')
    log.info(f"report: {path.stat().st_size / 1e6:.1f} MB, {n} figures")
    return path


def make_sections(results: Results, group: Sequence[tuple]) -> list[dict[str, Any]]:
    """Sections with content, as HTML, and their notes; one that fails becomes a note."""
    template, found = environment().get_template("sections.html"), []
    common = {"results": results, "run": results.run, "file": results.file, "final": results.stage}
    common["picture"] = lambda name: picture(results, name)
    with Progress("Report", len(group), "sections") as progress:
        for anchor, title, values in group:
            progress.add(1)
            section = {"anchor": anchor, "title": title, "notes": []}
            try:
                section |= (values(results) if values else None) or {}
                section["html"] = Markup(template.render(common | section).strip())
            except Exception as error:  # the other sections do not depend on it
                fault = f"left out: {type(error).__name__}: {error}"
                log.warning(f"report: {title or anchor}: {fault}")
                section |= {"notes": [f"This section is {fault}"], "html": ""}
            if section["html"] or section["notes"]:
                found.append(section)
    return found


def picture(results: Results, name: str) -> dict[str, Any] | None:
    """A figure of fewer colours as a data URI, with its size, or None without it."""
    if (image := image_of(results, name)) is None:
        return None
    buffer = BytesIO()
    image.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"source": source, "width": image.width, "height": image.height}


# ---- HTML ---------------------------------------------------------------------------------------


def render(results: Results, title: str, first: Sequence, technical: Sequence = ()) -> str:
    """The whole page: data of the script, sections with an anchor, a title, notes, their HTML."""
    time, folder = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), results.run.folder.resolve()
    data = {"clusters": [], "stations": [], "corrections": [], **results.data}
    style, script = (
        files(__package__).joinpath(name).read_text(encoding="utf-8").strip()
        for name in ("page.css", "page.js")
    )
    share = "background:color-mix(in srgb,var(--accent) {}%,transparent)"
    shades = [f".h{step}{{{share.format(5 * step)}}}" for step in range(1, SHADES + 1)]
    style = "\n".join([style, *shades])
    hashes = (hashlib.sha256(text.encode()).digest() for text in (style, script))
    of_style, of_script = (f"'sha256-{base64.b64encode(one).decode()}'" for one in hashes)
    policy = (
        f"default-src 'none'; img-src data:; style-src {of_style}; script-src {of_script}; "
        "base-uri 'none'; form-action 'none'"
    )
    content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    style, script, content = map(Markup, (style, script, content))
    return environment().get_template("page.html").render(
        data=data, content=content, style=style, script=script, policy=policy, title=title,
        sections=first, technical=technical, made_from=results.run.stages,
        footer=f"Made on {time} by RISCluster {__version__} from {folder}",
    )  # fmt: skip


@cache
def environment() -> Environment:
    """Templates with every text escaped; an unknown name is an error."""
    templates = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    templates.filters |= {
        "shown": shown, "count": "{:,}".format, "counted": count,
        "percent": lambda share: MISSING if np.isnan(share) else f"{share:.1%}",
        "time": lambda time: str(time)[:19].replace("T", " "),  # UTC
    }  # fmt: skip
    templates.globals |= {
        "comparison": comparison, "fit": fit, "selection": selection,
        "performance": performance, "MAPS": MAPS, "METHODS": METHODS, "PANELS": PANELS,
    }  # fmt: skip
    return templates


def shown(value: Any, digits: int = 4) -> str:
    """Text of a value: integers with separators, `digits` significant digits, a dash for none."""
    if value is None or value != value:  # NaN
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    whole = isinstance(value, (int, np.integer)) or abs(value) >= 1000
    text = f"{value:,.0f}" if whole else f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", MINUS)
