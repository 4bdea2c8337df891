"""Colours that readers can tell apart, and texts that matplotlib draws as they are."""

from __future__ import annotations

import re

import pytest
from matplotlib.cbook import is_math_text
from matplotlib.colors import to_rgb

from harness.measure.timeline import DEVICE_WORK, HOST, Stage
from harness.report.pictures.style import (
    SERIES_COLOURS,
    STAGE_COLOURS,
    STALL_COLOUR,
    plain,
)


def lightness(colour: str) -> float:
    """L* of a colour, 0 to 100 (CIE 1976)."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(colour)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return float(116 * luminance ** (1 / 3) - 16) if luminance > 0.008856 else 903.3 * luminance


def test_every_stage_has_a_colour_of_its_own() -> None:
    assert set(STAGE_COLOURS) == set(Stage)
    assert len({*STAGE_COLOURS.values(), STALL_COLOUR}) == len(Stage) + 1
    assert len(set(SERIES_COLOURS)) == len(SERIES_COLOURS)
    assert all(re.fullmatch("#[0-9A-F]{6}", each) for each in SERIES_COLOURS)


def test_neighbours_of_a_row_differ_in_grey() -> None:
    # Of a pass without allocations: its host's row is write, launch, wait, read, write ...
    host = [STAGE_COLOURS[stage] for stage in HOST if stage is not Stage.ALLOC]
    for one, other in zip(host, [*host[1:], host[0]], strict=True):
        assert abs(lightness(one) - lightness(other)) > 8, (one, other)
    load, execute = (lightness(STAGE_COLOURS[stage]) for stage in DEVICE_WORK)
    assert execute - load > 40


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pooled d3 b1 c1", "pooled d3 b1 c1"),
        (r"$\frac{1}{2}$ and $5", r"\$\frac{1}{2}\$ and \$5"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a\nb\t\x07c", "a b c"),
    ],
)
def test_a_text_is_drawn_as_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown
    assert not is_math_text(plain(text))


def test_a_long_text_is_cut() -> None:
    assert plain("x" * 200, 20) == "x" * 16 + " ..."
