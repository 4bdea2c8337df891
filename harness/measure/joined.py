"""The timelines of several operations, one after the other, as one timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.measure.timeline import Part, Timeline


def first_calls(timeline: Timeline, most: int) -> Timeline:
    """The first `most` tiles of a timeline, to the end of their submissions."""
    rows = timeline.rows
    whole = rows[rows[:, 1] < most]
    behind = int((whole[:, 1] + whole[:, 2]).max(initial=0))
    return replace(timeline, rows=rows[rows[:, 1] < behind], tiles=min(behind, timeline.tiles))


def joined(parts: Sequence[tuple[str, Timeline]]) -> Timeline | None:
    """One timeline of parts of a single kernel each, with their names; None without parts.

    A part begins where the work on the part before it ends. Tiles are numbered over all parts, and
    the kernels of a column share its track.
    """
    named, rows, tiles, begin_ns = list[Part](), [], 0, 0
    for name, each in parts:
        moved = each.rows.copy()
        begins_ns, ends_ns = moved[:, 4], moved[:, 5]
        shift_ns = begin_ns - int(begins_ns.min(initial=0))
        moved[:, 1] += tiles
        begins_ns += shift_ns
        ends_ns += shift_ns
        named.append(Part(name, tiles, begin_ns))
        rows.append(moved)
        tiles += each.tiles
        begin_ns = int(ends_ns.max(initial=begin_ns))
    if not rows:
        return None
    every = [each for _, each in parts]
    return Timeline(
        np.concatenate(rows),
        tiles,
        (max(each.columns for each in every),),
        every[0].clock,
        all(each.has_device for each in every),
        occupied_columns=max(each.occupied_columns for each in every),
        parts=tuple(named),
    )
