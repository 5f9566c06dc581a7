"""Sections of a report as one HTML file that needs nothing else: no network, no other file.

Every text is escaped. The page's policy (Content-Security-Policy) lets it load nothing, and run no
script and no style but those of this package, which it names by their hashes.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from matplotlib.colors import to_hex

from ..plots import cluster_colour
from .asides import Folded, Listing
from .blocks import Note, Picture, Section, Table, Text, Tiles
from .pictures import Image
from .tables import table_html

Draw = Callable[[Picture], Image | str]
MADE_FROM = "riscluster-made-from"
HEAD = 4096  # characters, among the first of which a page says so
DOI = re.compile(r"\b10\.\d{4,9}/[\w./()-]*\w")


@dataclass(frozen=True)
class Page:
    """What a page is made of.

    Attributes
    ----------
    title : str
    subtitle : str
    sections : sequence of Section
    draw : callable
        Image of a picture, or what went wrong.
    names : mapping of int to str
        Names that were given to clusters.
    footer : str
    made_from : sequence of str
        What the page shows, in a word each, which `made_from` reads again.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    draw: Draw
    names: Mapping[int, str] = field(default_factory=dict)
    footer: str = ""
    made_from: Sequence[str] = ()

    def html(self) -> str:
        """The whole document."""
        clusters = sorted({c for s in self.sections for c in clusters_of(s.blocks)})
        style = f"{_asset('page.css')}\n{_colours(clusters)}"
        script = _asset("page.js")
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en">',
                "<head>",
                '<meta charset="utf-8">',
                f'<meta name="{MADE_FROM}" content="{escape(" ".join(self.made_from))}">',
                f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{style}</style>",
                "</head>",
                "<body>",
                '<a class="skip" href="#content">To the content</a>',
                self._head(),
                '<div class="columns">',
                self._navigation(clusters),
                '<main id="content">',
                *(self._section(section) for section in self.sections),
                "</main>",
                "</div>",
                f"<footer><p>{escape(self.footer)}</p></footer>",
                _VIEWER,
                f"<script>{script}</script>",
                "</body>",
                "</html>\n",
            ]
        )

    def _head(self) -> str:
        return (
            f'<header class="top" id="top"><div><h1>{escape(self.title)}</h1>'
            f'<p class="subtitle">{escape(self.subtitle)}</p></div>'
            '<button type="button" id="theme" class="needs-script">Dark</button></header>'
        )

    def _navigation(self, clusters: Sequence[int]) -> str:
        links = "".join(
            f'<li><a href="#{_anchor(section)}">{escape(section.title)}</a></li>'
            for section in self.sections
        )
        return (
            f'<nav aria-label="Sections"><ul>{links}</ul>'
            f"{self._filter(clusters) if len(clusters) > 1 else ''}</nav>"
        )

    def _filter(self, clusters: Sequence[int]) -> str:
        chips = "".join(
            f'<button type="button" class="chip" data-c="{c}" aria-pressed="false">'
            f"<i></i>{escape(self._cluster_name(c))}</button>"
            for c in clusters
        )
        return (
            '<details class="filter needs-script" open><summary>Filter by cluster</summary>'
            f'<div class="chips" role="group" aria-label="Clusters that show">{chips}'
            '<button type="button" class="chip clear" id="every" disabled>All</button></div>'
            '<p class="state" id="filter-state" role="status"></p></details>'
        )

    def _cluster_name(self, cluster: int) -> str:
        name = self.names.get(cluster, "")
        return f"{cluster} {name}" if name and name != str(cluster) else str(cluster)

    def _section(self, section: Section) -> str:
        return (
            f'<section id="{_anchor(section)}"><h2>{escape(section.title)}</h2>\n'
            f"{self._blocks(section.blocks)}\n</section>"
        )

    # ---- blocks ----

    def _blocks(self, blocks: Sequence[Any]) -> str:
        """Blocks in their order; pictures of single clusters that follow one another in a grid."""
        parts, grid = [], []
        for block in blocks:
            if isinstance(block, Picture) and block.cluster is not None:
                grid.append(self._picture(block))
                continue
            parts += _grid(grid)
            grid = []
            parts.append(self._block(block))
        return "\n".join([*parts, *_grid(grid)])

    def _block(self, block: Any) -> str:
        if isinstance(block, Text):
            return "".join(f"<p>{_linked(part)}</p>" for part in re.split(r"\n\s*\n", block.text))
        if isinstance(block, Note):
            return f'<p class="note">{_linked(block.text)}</p>'
        if isinstance(block, Tiles):
            return _tiles(block)
        if isinstance(block, Table):
            return table_html(block)
        if isinstance(block, Picture):
            return self._picture(block)
        if isinstance(block, Listing):
            title = f'<p class="title">{escape(block.title)}</p>' if block.title else ""
            return f'<div class="block">{title}<pre tabindex="0">{escape(block.text)}</pre></div>'
        if isinstance(block, Folded):
            inner = self._blocks(block.blocks)
            return (
                f'<details class="fold"><summary>{escape(block.title)}</summary>{inner}</details>'
            )
        raise TypeError(f"{type(block).__name__} is not a block of a report")

    def _picture(self, picture: Picture) -> str:
        mark = "" if picture.cluster is None else f' data-c="{int(picture.cluster)}"'
        image = self.draw(picture)
        if isinstance(image, str):
            fault = f"{picture.name} could not be drawn: {image}"
            return f'<p class="note"{mark}>{escape(fault)}</p>'
        return (
            f'<figure class="picture"{mark}><div class="paper"><img src="{image.source}" '
            f'width="{image.width}" height="{image.height}" '
            f'alt="{escape(picture.caption)}"></div>'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        )


_VIEWER = (
    '<dialog id="viewer" aria-label="Enlarged picture"><div class="bar">'
    '<button type="button" id="before" aria-label="Picture before">&#8592;</button>'
    '<span id="place"></span>'
    '<button type="button" id="after" aria-label="Next picture">&#8594;</button>'
    '<button type="button" id="larger">Full size</button>'
    '<button type="button" id="close">Close</button></div>'
    '<div class="paper" id="stand"></div><p id="what"></p></dialog>'
)


def made_from(path: Path) -> set[str] | None:
    """What a page says that it was made from; None where it is not there or does not say so.

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


def clusters_of(blocks: Sequence[Any]) -> Iterator[int]:
    """Clusters that blocks can be filtered by."""
    for block in blocks:
        if isinstance(block, Folded):
            yield from clusters_of(block.blocks)
        elif isinstance(block, Table):
            yield from (int(c) for c in block.clusters or () if c is not None)
        elif isinstance(block, Picture) and block.cluster is not None:
            yield int(block.cluster)


def pictures_of(blocks: Sequence[Any]) -> Iterator[Picture]:
    """Every picture, in the order in which they are drawn."""
    for block in blocks:
        if isinstance(block, Folded):
            yield from pictures_of(block.blocks)
        elif isinstance(block, Picture):
            yield block


def _grid(figures: list[str]) -> list[str]:
    """Pictures side by side; one alone has the whole width."""
    if len(figures) < 2:
        return figures
    return [f'<div class="grid">{"".join(figures)}</div>']


def _tiles(block: Tiles) -> str:
    tiles = "".join(
        f"<div><dt>{escape(str(what))}</dt><dd>{escape(str(value))}</dd>"
        + (f'<dd class="words">{escape(str(words))}</dd>' if words else "")
        + "</div>"
        for what, value, words in block.tiles
    )
    return f'<dl class="tiles">{tiles}</dl>'


def _linked(text: str) -> str:
    """Escaped text in which a DOI leads to its publication."""
    return DOI.sub(
        lambda found: (
            f'<a href="https://doi.org/{found[0]}" rel="noopener noreferrer">{found[0]}</a>'
        ),
        escape(text),
    )


def _anchor(section: Section) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", section.anchor)


def _asset(name: str) -> str:
    return package_files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _colours(clusters: Sequence[int]) -> str:
    """A rule a cluster: the policy of the page allows no style in its elements."""
    return "\n".join(f'[data-c="{c}"]{{--c:{to_hex(cluster_colour(c))}}}' for c in clusters)


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
