"""What a report is made of: sections of texts, tables and pictures, free of how they look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph; plain text."""

    text: str


@dataclass(frozen=True)
class Note:
    """Something that the reader should know before believing what stands beside it."""

    text: str


@dataclass(frozen=True)
class Tiles:
    """Figures of merit at a glance.

    Attributes
    ----------
    tiles : sequence of (str, str, str)
        What it is, its value, and a few words on it (may be empty).
    """

    tiles: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each of its columns.

    Attributes
    ----------
    title : str
    header : sequence of str
    rows : sequence of sequence
        Texts, numbers (drawn with `digits` significant digits), None for an empty cell.
    clusters : sequence of int or None
        Cluster of each row, by which rows are filtered and marked with its colour; None for rows
        of none.
    note : str
        Below it.
    digits : int
    shades : int or None
        Shade the numbers from this column on by their share of the largest of them in their row,
        as in a confusion matrix.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    clusters: Sequence[int | None] | None = None
    note: str = ""
    digits: int = 4
    shades: int | None = None


@dataclass(frozen=True)
class Picture:
    """A figure; drawn when its turn comes, saved in the run's figures and shown in the page.

    Attributes
    ----------
    name : str
        Of its file, without a suffix, as ``report_gallery``.
    draw : callable
        Returns the figure.
    caption : str
        What it shows and how to read it.
    cluster : int or None
        The one it shows, by which it is filtered; None where it shows all or none.
    """

    name: str
    draw: Callable[[], Figure]
    caption: str
    cluster: int | None = None


Block = Text | Note | Tiles | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    title : str
    anchor : str
        By which it is linked to inside the page: letters and hyphens.
    blocks : list of Block
    """

    title: str
    anchor: str
    blocks: list[Block] = field(default_factory=list)
