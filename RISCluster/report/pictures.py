"""Figures of a report: drawn when their turn comes, saved beside the run, embedded in the page."""

import base64
import re
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from ..io import new_file, write_bytes
from ..runtime import log
from .blocks import Picture

DPI = 120  # of what is embedded


@dataclass(frozen=True)
class Image:
    """A drawn picture.

    Attributes
    ----------
    source : str
        Its PNG as a ``data:`` address.
    width, height : int
        Pixels.
    """

    source: str
    width: int
    height: int


@dataclass
class Drawer:
    """Draws pictures one after the other; one that fails is said and does not stop the others.

    Attributes
    ----------
    folder : Path or None
        Where they are saved; None for those that are in the page alone.
    file_format : {"png", "pdf", "svg"}
    paths : list of Path
        What was saved.
    drawn : int
        Pictures that did not fail.
    """

    folder: Path | None
    file_format: str = "png"
    paths: list[Path] = field(default_factory=list)
    drawn: int = 0

    def __call__(self, picture: Picture) -> Image | str:
        """The picture, or what went wrong."""
        try:
            figure = picture.draw()
            image = self._save(picture, figure)
            figure.clear()
            self.drawn += 1
        except Exception as error:  # one picture of many: the page has a note in its place
            fault = f"{type(error).__name__}: {error}"
            log.warning(f"report: {picture.name} could not be drawn: {fault}")
            return fault
        return image

    def _save(self, picture: Picture, figure: Figure) -> Image:
        content = BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
        if self.folder is not None:
            self._save_file(picture, figure, content)
        return embedded(content.getvalue())

    def _save_file(self, picture: Picture, figure: Figure, content: BytesIO) -> None:
        path = self._path(picture.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.file_format == "png":
            write_bytes(path, content.getvalue())
        else:
            with new_file(path) as partial:
                figure.savefig(partial, format=self.file_format)
        self.paths.append(path)

    def _path(self, name: str) -> Path:
        """Of a picture's file; no two have the same."""
        stem = re.sub(r"[^\w.-]+", "_", name).strip(".") or "picture"
        path, number = self.folder / f"{stem}.{self.file_format}", 1
        while path in self.paths:
            number += 1
            path = self.folder / f"{stem}_{number}.{self.file_format}"
        return path


def embedded(png: bytes) -> Image:
    """A PNG as it goes into a page."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # of its IHDR
    return Image(f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height)
