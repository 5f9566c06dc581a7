"""The page as one HTML file: templates, values as text, figures, content security policy."""

import base64
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ..io import new_file, write_bytes
from ..plots import cluster_colour
from ..runtime import log

DPI = 120  # of embedded figures
HEAD = 4096  # characters at the beginning of a page that hold MADE_FROM
MADE_FROM = "riscluster-made-from"
DOI = re.compile(r"\b10\.\d{4,9}/[\w./()-]*\w")
MISSING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALLEST, LARGEST = 1e-4, 1e9  # numbers beyond them are written with a power of ten
SHADES = 10  # steps of the shading of a table
SHORT = 24  # characters of a text that is not wrapped


@dataclass(frozen=True)
class Picture:
    """A figure of the page; `cluster` is the one that it shows, by which it is filtered."""

    draw: Callable[[], Figure]
    cluster: int | None = None


@dataclass
class Drawer:
    """Draws figures, saves them in `folder` (None: not at all) and embeds them as PNG."""

    folder: Path | None
    file_format: str = "png"
    drawn: int = 0
    paths: list[Path] = field(default_factory=list)

    def __call__(self, name: str, picture: Picture) -> dict[str, Any]:
        """Name, cluster, and source, width and height of the image or else the fault."""
        image: dict[str, Any] = {"name": name, "cluster": picture.cluster, "fault": ""}
        try:
            figure = picture.draw()
            image |= self._save(name, figure)
            figure.clear()
            self.drawn += 1
        except Exception as error:  # costs this figure alone
            image["fault"] = f"{type(error).__name__}: {error}"
            log.warning(f"report: {name} could not be drawn: {image['fault']}")
        return image

    def _save(self, name: str, figure: Figure) -> dict[str, Any]:
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
        png = buffer.getvalue()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{name}.{self.file_format}"
            if self.file_format == "png":
                write_bytes(path, png)
            else:
                with new_file(path) as partial:
                    figure.savefig(partial, format=self.file_format)
            self.paths.append(path)
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # IHDR
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return {"source": source, "width": width, "height": height}


def render(
    title: str,
    sections: Sequence[Mapping[str, Any]],
    *,
    n_clusters: int = 0,
    names: Mapping[int, str] | None = None,
    made_from: Iterable[str] = (),
    footer: str = "",
) -> str:
    """The whole page.

    Parameters
    ----------
    title : str
    sections : sequence of dict
        ``anchor`` (the name of its template), ``title``, and what its template needs.
    n_clusters : int
    names : mapping of int to str, optional
        Names that were given to clusters.
    made_from : iterable of str
        Stages and data that the page shows; read again by `made_from`.
    footer : str
    """
    clusters = range(n_clusters)
    colours = (f'[data-c="{c}"]{{--c:{to_hex(cluster_colour(c))}}}' for c in clusters)
    style, script = "\n".join([_asset("page.css"), *colours]), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return environment().get_template("page.html").render(
        title=title,
        sections=sections,
        clusters=clusters,
        names=names or {},
        made_from=" ".join(made_from),
        footer=footer,
        style=Markup(style),
        script=Markup(script),
        policy=policy,
    )  # fmt: skip


def environment() -> Environment:
    """Templates with every text escaped; a name that is not known is an error."""
    loader = PackageLoader(__package__)
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"shown": shown, "linked": linked, "percent": percent, "count": "{:,}".format}
    made.globals |= {"cells": cells}
    return made


def made_from(path: Path) -> set[str] | None:
    """What a page was made from; None if it is no file or does not hold it.

    Raises
    ------
    OSError
        It can't be read.
    """
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        found = re.search(rf'<meta name="{MADE_FROM}" content="([^"]*)">', file.read(HEAD))
    return None if found is None else set(found[1].split())


def linked(text: str) -> Markup:
    """Escaped text in which every DOI is a link."""
    link = r'<a href="https://doi.org/\g<0>" rel="noopener noreferrer">\g<0></a>'
    return Markup(DOI.sub(link, str(escape(text))))


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# ---- tables -------------------------------------------------------------------------------------


def cells(table: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and rows of a table as its macro needs them.

    Parameters
    ----------
    table : dict
        ``header``; ``rows`` of texts, numbers and None; optionally ``clusters`` (label or None of
        each row), ``digits`` (significant ones), ``shades`` (number of the column from which on
        cells are shaded by their share of the largest in the row).

    Returns
    -------
    dict
        ``columns``: (name, is a number). ``rows``: (cluster, (class, sort key or None, text)).
    """
    header, rows = table["header"], table["rows"]
    numeric = [_is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(header)
    clusters = table.get("clusters") or [None] * len(rows)
    digits, shades = table.get("digits", 4), table.get("shades", len(header))
    body = []
    for row, cluster in zip(rows, clusters, strict=True):
        known = [plain(value) for value in row]
        largest = max((v for v in known[shades:] if is_number(v)), default=0)
        body.append(
            (
                cluster,
                [
                    _cell(value, number, digits, largest if column >= shades else 0)
                    for column, (value, number) in enumerate(zip(known, numeric, strict=True))
                ],
            )
        )
    return {"columns": list(zip(header, numeric, strict=True)), "rows": body}


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether most of the known values are numbers."""
    known = [is_number(value) for value in column if plain(value) is not None]
    return 2 * sum(known) > len(known)


def _cell(value: Any, numeric: bool, digits: int, largest: float) -> tuple[str, str | None, str]:
    text = shown(value, digits)
    kind = "n" if numeric else "w" if len(text) <= SHORT else ""
    shade = ""
    if is_number(value) and value > 0 and largest > 0:
        shade = f"h{round(SHADES * value / largest)}"
    key = repr(value) if is_number(value) else "" if value is None else None
    return f"{kind} {shade}".strip(), key, text


# ---- values -------------------------------------------------------------------------------------


def shown(value: Any, digits: int = 4) -> str:
    """Text of a value: integers with separators, `digits` significant digits, a dash for none."""
    value = plain(value)
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, float):
        return _real(value, digits).replace("-", MINUS)
    return value.isoformat() if isinstance(value, date) else str(value)


def plain(value: Any) -> Any:
    """A value without NumPy; NaN and NaT are None."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else time_text(value)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def is_number(value: Any) -> bool:
    """Whether a value is sorted and aligned as a number."""
    value = plain(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def percent(share: float, missing: str = "none") -> str:
    """A share as ``12.5%``."""
    return missing if np.isnan(share) else f"{share:.1%}"


def time_text(time: np.datetime64) -> str:
    """UTC to the second, as ``2016-01-31 12:00:05``."""
    return str(time.astype("datetime64[s]")).replace("T", " ")


def duration_text(seconds: float) -> str:
    """As ``3 min 20 s``: the two largest units."""
    left, parts = max(0, round(seconds)), []
    for name, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts) or "under 1 s"


def _real(value: float, digits: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    size = abs(float(f"{mantissa}e{exponent}"))  # as rounded: 9999.96 has five digits
    if not SMALLEST <= size < LARGEST:
        return f"{mantissa}×10{str(int(exponent)).translate(RAISED)}"
    return f"{value:,.{max(0, digits - 1 - int(exponent))}f}"
