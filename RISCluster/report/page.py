"""The page as one HTML file: templates, values as text, tables, content security policy."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ..catalogue import environment as environment_series
from ..clustering import selection, stability
from ..data import transforms
from ..evaluation import comparison, mapping
from ..runtime import count

MADE_FROM = "riscluster-made-from"
HEAD = 4096  # characters at the beginning of a page that hold MADE_FROM
DOI = re.compile(r"\b10\.\d{4,9}/[\w./()-]*\w")
MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SHADES = 10  # steps of the shading of a table
SHORT = 24  # characters of a text that is not wrapped


def environment() -> Environment:
    """Templates with every text escaped and their macros; an unknown name is an error."""
    made = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    made.filters |= {
        "shown": shown, "linked": linked, "percent": percent, "count": "{:,}".format,
        "counted": count, "time": time_text, "duration": duration_text,
    }  # fmt: skip
    made.globals |= {
        "cells": cells, "comparison": comparison, "environment": environment_series,
        "mapping": mapping,
        "selection": selection, "stability": stability, "transforms": transforms,
    }  # fmt: skip
    macros = made.get_template("macros.html").module
    made.globals |= {name: macro for name, macro in vars(macros).items() if name[0] != "_"}
    return made


def render(
    title: str,
    sections: Sequence[Mapping[str, Any]],
    technical: Sequence[Mapping[str, Any]] = (),
    data: Mapping[str, Any] | None = None,
    *,
    made_from: Iterable[str] = (),
    footer: str = "",
) -> str:
    """The whole page, from sections with an anchor, a title, notes and their HTML.

    `data` are those of the script; `made_from` are the stages and data that the page shows.
    """
    style, script = (
        files(__package__).joinpath(name).read_text(encoding="utf-8").strip()
        for name in ("page.css", "page.js")
    )
    empty = {"clusters": [], "stations": [], "place": "station", "corrections": []}
    data = empty | dict(data or {})
    clusters = data["clusters"]
    colours = (f'[data-c="{k}"]{{--c:{one["colour"]}}}' for k, one in enumerate(clusters))
    share = "background:color-mix(in srgb,var(--accent) {}%,transparent)"
    shades = (f".h{step}{{{share.format(5 * step)}}}" for step in range(1, SHADES + 1))
    style = "\n".join([style, *shades, *colours])
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    content = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return environment().get_template("page.html").render(
        title=title, sections=sections, technical=technical, clusters=clusters,
        stations=data["stations"], place=data["place"], made_from=" ".join(made_from),
        footer=footer, style=Markup(style), script=Markup(script), data=Markup(content),
        policy=policy, corrected=data["corrections"] is not None,
    )  # fmt: skip


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def made_from(path: Path) -> set[str] | None:
    """Stages and data that a page shows; None if it is no file or does not hold them."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        found = re.search(rf'<meta name="{MADE_FROM}" content="([^"]*)">', file.read(HEAD))
    return None if found is None else set(found[1].split())


def linked(text: str) -> Markup:
    """Escaped text in which every DOI is a link."""
    link = r'<a href="https://doi.org/\g<0>" rel="noopener noreferrer">\g<0></a>'
    return Markup(DOI.sub(link, str(escape(text))))


# ---- tables -------------------------------------------------------------------------------------


def cells(table: Mapping[str, Any]) -> dict[str, Any]:
    """Columns (name, is a number) and rows (cluster, (class, sort key, text)) of a table.

    Tables have ``header``; ``rows`` of texts, numbers and None; and can have ``clusters`` (label
    or None of each row), ``digits`` (significant ones) and ``shades`` (number of the column from
    which on cells are shaded by their share of the largest in the row).
    """
    header, digits = table["header"], table.get("digits", 4)
    rows = [[plain(value) for value in row] for row in table["rows"]]
    clusters = table.get("clusters") or [None] * len(rows)
    shades, body = table.get("shades", len(header)), []
    numeric = [_is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(header)
    for row, cluster in zip(rows, clusters, strict=True):
        largest = max(filter(is_number, row[shades:]), default=0)
        limits = [largest if column >= shades else 0 for column in range(len(row))]
        cell = [_cell(*one, digits) for one in zip(row, numeric, limits, strict=True)]
        body.append((cluster, cell))
    return {"columns": list(zip(header, numeric, strict=True)), "rows": body}


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether most of the known values are numbers."""
    known = [is_number(value) for value in column if value is not None]
    return 2 * sum(known) > len(known)


def _cell(value: Any, numeric: bool, largest: float, digits: int) -> tuple[str, str | None, str]:
    text = shown(value, digits)
    kind = "n" if numeric else "w" if len(text) <= SHORT else ""
    if is_number(value):
        shade = f" h{round(SHADES * value / largest)}" if largest > 0 and value > 0 else ""
        return kind + shade, repr(value), text
    return kind, "" if value is None else None, text


# ---- values -------------------------------------------------------------------------------------


def shown(value: Any, digits: int = 4) -> str:
    """Text of a value: integers with separators, `digits` significant digits, a dash for none."""
    value = plain(value)
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value):
        text = f"{value:,}" if isinstance(value, int) else _real(value, digits)
        return text.replace("-", MINUS)
    return value.isoformat() if isinstance(value, date) else str(value)


def plain(value: Any) -> Any:
    """A value without NumPy; NaN and NaT are None."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else time_text(value)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def is_number(value: Any) -> bool:
    """Whether a plain value is sorted and aligned as a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _real(value: float, digits: int) -> str:
    """A power of ten below 10^-4 and from 10^9 on."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if value == 0 or -4 <= int(exponent) < 9:
        return f"{value:,.{max(0, digits - 1 - int(exponent))}f}" if value else "0"
    return f"{mantissa}×10{str(int(exponent)).translate(RAISED)}"


def percent(share: float, missing: str = "none") -> str:
    """A share as ``12.5%``."""
    return missing if np.isnan(share) else f"{share:.1%}"


def time_text(time: np.datetime64 | str | None) -> str | None:
    """UTC to the second, as ``2016-01-31 12:00:05``, of a time or its ISO 8601 text."""
    return None if time is None else str(time)[:19].replace("T", " ")


def duration_text(duration: np.timedelta64) -> str:
    """As ``3 min 20 s``: the two largest units."""
    left, parts = max(0, round(duration / np.timedelta64(1, "s"))), []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts) or "under 1 s"
