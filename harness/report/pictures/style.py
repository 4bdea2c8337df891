"""Colours, sizes and texts of all pictures, and of the HTML page.

Okabe and Ito, "Color Universal Design" (2008): eight colours that people with any common colour
blindness can tell apart. Colours of one row of a picture also differ in lightness.
"""

from __future__ import annotations

from harness.measure.timeline import Stage

BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
LIGHT_GREY, GREY = "#D0D0D0", "#767676"

STAGE_COLOURS: dict[Stage, str] = {
    Stage.ALLOC: YELLOW,
    Stage.WRITE: ORANGE,
    Stage.LAUNCH: PURPLE,
    Stage.WAIT: LIGHT_GREY,
    Stage.READ: BLUE,
    Stage.LOAD: BLACK,
    Stage.EXEC: GREEN,
}
STALL_COLOUR = VERMILION
"""Of stalls, and of anything that is wrong."""
SERIES_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILION, BLACK)
"""Of the lines of a chart, in order; a chart with more lines starts again with other MARKERS."""
MARKERS = "osD^vPX"
ACCOUNTING_COLOURS = {"guide": BLUE, "full": ORANGE}
BEST_COLOUR, TARGET_COLOUR, CEILING_COLOUR = VERMILION, BLACK, VERMILION
EXPECTED_COLOUR = GREEN
"""Of what the guide expects."""

WIDTH_INCHES = 10.0
DPI = 120
FONT_SIZE, TITLE_SIZE, SMALL_SIZE = 9.0, 10.0, 8.0
MOST_CURVES = 14
"""Most curves of a chart: colours and markers tell no more apart."""
BOUND = "bound: the shortest time with the same stage times"
"""Of the line of a bound, in a legend or in a sentence."""
MOST_CHARACTERS = 120
"""Longest text of a title or a label, in characters."""


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text that matplotlib draws as it is: one line, without mathematics, cut at `most`."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if len(line) > most:
        line = f"{line[: most - 4]} ..."
    # Between two $, matplotlib would read mathematics; an escaped one is only a character.
    return line.replace("$", r"\$")
