"""What a report is made of: sections with words, pictures and tables, which go to files and into the page alike."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

Cell = str | int | float | bool | None
JPEG_QUALITY = 88
#: Dots per inch of the PNG files: sharp enough for print at their size.
DPI = 200


@dataclass(frozen=True)
class Picture:
    """A figure, or a sheet of faces: as it is written to files, and as the page shows it."""

    name: str
    caption: str
    """What it shows, and what to make of it. It is the alternative text too."""
    png: bytes
    svg: bytes | None = None
    """None for photographs, which no SVG makes better."""
    jpeg: bytes | None = None
    """What the page shows of a photograph: a tenth of the PNG."""


@dataclass(frozen=True)
class Table:
    """Numbers with names: a CSV file, a part of the JSON file, and, unless it is `hidden`, a table of the page."""

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    hidden: bool = False


@dataclass
class Section:
    """One chapter of a report."""

    name: str
    title: str
    intro: str
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be computed and why, and what else a reader should know."""

    def draw(self, name: str, caption: str, figure: Figure) -> None:
        """Add a figure of matplotlib."""
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.set_layout_engine("none")  # all has its place now, which takes as long to find as drawing does
        figure.savefig(png, format="png", dpi=DPI)
        self.pictures.append(Picture(name, caption, png.getvalue(), svg.getvalue()))

    def show(self, name: str, caption: str, sheet: Image.Image) -> None:
        """Add a sheet of faces."""
        png, jpeg = io.BytesIO(), io.BytesIO()
        sheet.save(png, "PNG")
        sheet.save(jpeg, "JPEG", quality=JPEG_QUALITY)
        self.pictures.append(Picture(name, caption, png.getvalue(), jpeg=jpeg.getvalue()))

    def tell(
        self, name: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[Any]], hidden: bool = False
    ) -> None:
        """Add a table; numpy's numbers become plain ones, and what is no number (NaN) None."""
        cells = [[plain(cell) for cell in row] for row in rows]
        self.tables.append(Table(name, caption, list(header), cells, hidden))

    def note(self, text: str) -> None:
        """Say what could not be computed, or what else a reader should know."""
        self.notes.append(text)


def plain(value: Any) -> Cell:
    """Return a cell's value for JSON: no numpy types, None for NaN."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
