"""How figures look: on white paper, told apart without colour, of colours that colour-blind people tell apart."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

#: Okabe and Ito's colours. Green and vermilion are darker and the eighth is another, so that no two are alike to people
#: without red or green cones. Each class has a marker of its own too.
COLOURS = ("#0072B2", "#E69F00", "#006B4A", "#56B4E9", "#B83A00", "#CC79A7", "#000000", "#4B0055")
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "*")
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (3, 1)), (0, (1, 1)), (0, (8, 2)))
INK, SOFT = "#202124", "#bcc1c8"
#: One hue from light to dark: it stays in order in gray print.
SHADES = "Blues"
WIDE, HIGH = 6.4, 3.6  # inches
#: The width of A4 paper without its edges: wider figures, and the text in them, would shrink in print.
PAGE = 7.2

STYLE = {
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "text.parse_math": False,  # names of groups and classes may hold dollars
    # The same figures give the same file.
    "svg.hashsalt": "pfvit",
    "svg.fonttype": "path",
}


def axes(columns: int = 1, rows: int = 1, width: float = WIDE, height: float = HIGH) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure of `width` x `height` inches, and its axes row by row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def percent(axis: Axes, x: bool = False, y: bool = False) -> None:
    """Write shares as percentages."""
    for wanted, ticks in ((x, axis.xaxis), (y, axis.yaxis)):
        if wanted:
            ticks.set_major_formatter(PercentFormatter(1.0))
