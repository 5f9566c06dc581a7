"""Tables of a report as HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any

from .blocks import Table
from .values import is_number, plain, shown

SHADES = 10  # steps from none to the largest of a row
SHORT = 24  # characters of a text that is not broken
LONG = 30  # rows from which a table is broken over printed pages


def table_html(table: Table) -> str:
    """A table in a box of its own, in which it scrolls where it is wider than the page."""
    numeric = [_is_numeric(column) for column in zip(*table.rows, strict=True)]
    numeric = numeric or [False] * len(table.header)
    head = "".join(
        f'<th scope="col"{" class=n" if number else ""}>{escape(str(name))}</th>'
        for name, number in zip(table.header, numeric, strict=True)
    )
    clusters = table.clusters or [None] * len(table.rows)
    body = "\n".join(
        _row(row, cluster, numeric, table)
        for row, cluster in zip(table.rows, clusters, strict=True)
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    note = f'<p class="under">{escape(table.note)}</p>' if table.note else ""
    kind = " marked" if table.clusters else ""
    if len(table.header) == 2 and not table.header[0]:
        kind += " pairs"  # names and values: nothing to sort
    name = escape(table.title or "table")
    return (
        f'<div class="block{" long" * (len(table.rows) > LONG)}">'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">'
        f'<table class="data{kind}">{caption}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{note}</div>"
    )


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether most of what is known is a number."""
    known = [is_number(value) for value in column if plain(value) is not None]
    return 2 * sum(known) > len(known)


def _row(row: Sequence[Any], cluster: int | None, numeric: list[bool], table: Table) -> str:
    shades = _shades(row, len(row) if table.shades is None else table.shades)
    cells = "".join(
        _cell(value, number, shade, table.digits)
        for value, number, shade in zip(row, numeric, shades, strict=True)
    )
    mark = "" if cluster is None else f' data-c="{int(cluster)}"'
    return f"<tr{mark}>{cells}</tr>"


def _cell(value: Any, numeric: bool, shade: str, digits: int) -> str:
    text = shown(value, digits)
    kind = "n" if numeric else "w" if len(text) <= SHORT else ""
    classes = " ".join(filter(None, (kind, shade)))
    attributes = f' class="{classes}"' if classes else ""
    if is_number(value):
        attributes += f' data-v="{plain(value)!r}"'
    elif plain(value) is None:
        attributes += ' data-v=""'
    return f"<td{attributes}>{escape(text)}</td>"


def _shades(row: Sequence[Any], first: int) -> list[str]:
    """Class of each cell from `first` on by its share of the largest number among them."""
    numbers = [plain(value) if is_number(value) else None for value in row[first:]]
    largest = max((value for value in numbers if value is not None), default=0)
    return [""] * min(first, len(row)) + [
        f"h{round(SHADES * value / largest)}" if value and value > 0 and largest > 0 else ""
        for value in numbers
    ]
