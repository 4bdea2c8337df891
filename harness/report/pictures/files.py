"""What a picture is, and how it gets into its file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.report.pictures.style import DPI, SMALL_SIZE
from harness.results.whole_file import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Picture(Protocol):
    """A picture that can be sent to another process. path: of its PNG file."""

    @property
    def path(self) -> Path:
        """The PNG file."""

    def figure(self) -> Figure:
        """Draw; OSError or ValueError if the files that it reads are missing or damaged."""


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure that needs no display, and that no list of pyplot keeps in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Take away the lines at the top and at the right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def legend_below(
    figure: Figure, columns: int, keys: Sequence[Any] | None = None, size: float = SMALL_SIZE
) -> None:
    """A legend below the axes, without a frame; keys: None for the labels of the axes."""
    figure.legend(
        **({} if keys is None else {"handles": keys}),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=size,
    )


def save(picture: Picture) -> Path:
    """Write the file of a picture, whole or not at all; raises what `figure` raises, or OSError."""
    with replacing(picture.path) as temporary, warnings.catch_warnings():
        # Of characters that the font lacks, which are drawn as boxes.
        warnings.simplefilter("ignore")
        # Without the name and version of the library, equal data give equal files.
        picture.figure().savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    return picture.path
