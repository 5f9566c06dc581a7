"""The page as one HTML file: templates, values as text, content security policy."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from .. import __version__
from ..clustering import fit, selection
from ..evaluation import comparison
from ..evaluation.samples import MAPS
from ..runs.run import FinishedRun
from ..runtime import count

MADE_FROM = re.compile('<meta name="riscluster-made-from" content="([^"]*)">')
HEAD = 4096  # characters at the beginning of a page that hold it
DOI = re.compile(r"\b10\.\d{4,9}/[\w./()-]*\w")
MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
SHADES = 10  # steps of the shading of a table


@cache
def environment() -> Environment:
    """Templates with every text escaped; an unknown name is an error."""
    made = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    made.filters |= {
        "shown": shown, "linked": linked, "percent": percent, "count": "{:,}".format,
        "counted": count, "time": time_text,
    }  # fmt: skip
    made.globals |= {
        "comparison": comparison, "map_titles": MAPS,
        "fit": fit, "selection": selection,
    }  # fmt: skip
    return made


def render(
    data: Mapping[str, Any],
    run: FinishedRun,
    title: str,
    sections: Sequence,
    technical: Sequence = (),
) -> str:
    """The whole page: data of the script, sections with an anchor, a title, notes, their HTML."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    footer = f"Made on {made} by RISCluster {__version__} from {run.folder.resolve()}"
    style, script = (
        files(__package__).joinpath(name).read_text(encoding="utf-8").strip()
        for name in ("page.css", "page.js")
    )
    data = {"clusters": [], "stations": [], "corrections": [], **data}
    share = "background:color-mix(in srgb,var(--accent) {}%,transparent)"
    shades = [f".h{step}{{{share.format(5 * step)}}}" for step in range(1, SHADES + 1)]
    colours = [f'[data-c="{k}"]{{--c:{x["colour"]}}}' for k, x in enumerate(data["clusters"])]
    style = "\n".join([style, *shades, *colours])
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    style, script, content = map(Markup, (style, script, content))
    return environment().get_template("page.html").render(
        data=data, content=content, style=style, script=script, policy=policy, title=title,
        sections=sections, technical=technical, footer=footer, made_from=run.stages,
    )  # fmt: skip


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def made_from(path: Path) -> list[str]:
    """Stages that a page shows; none where there is no page."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        found = MADE_FROM.search(file.read(HEAD))
    return found[1].split() if found else []


def linked(text: str) -> Markup:
    """Escaped text in which every DOI is a link."""
    link = r'<a href="https://doi.org/\g<0>" rel="noopener noreferrer">\g<0></a>'
    return Markup(DOI.sub(link, str(escape(text))))


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


def percent(share: float) -> str:
    """A share as ``12.5%``."""
    return MISSING if np.isnan(share) else f"{share:.1%}"


def time_text(time: Any) -> str | None:
    """UTC to the second, as ``2016-01-31 12:00:05``, of a time or its ISO 8601 text."""
    return None if time is None else str(time)[:19].replace("T", " ")
