"""Blocks that stand aside: what is folded away until asked for, and text to be copied."""

from collections.abc import Sequence
from dataclasses import dataclass

from .blocks import Block


@dataclass(frozen=True)
class Listing:
    """Text in which every line break counts, as BibTeX or commands.

    Attributes
    ----------
    title : str
    text : str
    """

    title: str
    text: str


@dataclass(frozen=True)
class Folded:
    """Blocks that show when their title is clicked.

    Attributes
    ----------
    title : str
    blocks : sequence of Block
    """

    title: str
    blocks: Sequence["Block | Listing | Folded"]
