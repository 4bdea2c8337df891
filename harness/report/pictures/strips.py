"""What a picture of a pass shows: its rows, and the spans and stalls of its stretches.

Read from the content of `trace.json`, so that the picture of an old run is that of a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measure.timeline import Stage

DEVICE_PID = 2
"""The process of a trace that has the device's tracks, as `harness.report.trace` writes it."""
HOST = "host"
MOST_SUBMISSIONS = 24
"""Most submissions in a picture, for each column; half of them in each of two stretches."""
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Stretch:
    """A part of a pass, from begin_ns to end_ns.

    spans: int64 (n, 6) of row, stage, tile, tiles, start_ns, end_ns: all that overlap the part, by
    stage. stalls: int64 (n, 3) of column, start_ns, end_ns.
    """

    name: str
    begin_ns: int
    end_ns: int
    spans: Numbers
    stalls: Numbers


@dataclass(frozen=True)
class Strips:
    """What a picture shows.

    name: of the run. about: its device, tiles and verdict. rows: names, from top to bottom.
    kernels: rows of each column.
    """

    name: str
    about: str
    rows: tuple[str, ...]
    kernels: int
    stretches: tuple[Stretch, ...]


def strips(trace: Mapping[str, Any], record: Mapping[str, Any]) -> Strips:
    """The strips of a pass: all of it, or the first and the slowest stretch.

    trace, record: the content of the files of a run.
    """
    events, other = trace["traceEvents"], trace["otherData"]
    names = {
        each["tid"]: str(each["args"]["name"])
        for each in events
        if each["name"] == "thread_name" and each["pid"] == DEVICE_PID
    }
    row_of = {tid: row for row, tid in enumerate(sorted(names), 1)}
    spans = _rows(
        [
            row_of.get(each["tid"], 0),
            Stage[each["cat"].upper()],
            *(each["args"][key] for key in ("tile", "tiles", "start_ns", "end_ns")),
        ]
        for each in events
        # One slice without a category stands for tiles that were left out.
        if each["ph"] == "X" and "cat" in each
    )
    stalls = _rows(
        (
            [each["args"][key] for key in ("column", "start_ns", "end_ns")]
            for each in events
            if each["name"] == "stall"
        ),
        width=3,
    )
    tiles, columns = int(other["tiles"]), int(other["columns"])
    parts = _parts(spans, MOST_SUBMISSIONS // 2 * columns)
    operations = [
        (each["args"]["tile"], each["name"])
        for each in events
        if each["ph"] == "X" and "operation" in each["args"]
    ]
    stretches = tuple(_stretch(spans, stalls, *part, tiles, operations) for part in parts)
    rows = (HOST, *(names[tid] for tid in sorted(names)))
    kernels = max(1, len(names) // columns)
    number = f"{tiles:,} tile{'s' * (tiles != 1)}"
    if operations:
        number = f"{tiles:,} calls of {len(operations)} operations, which represent all calls"
    return Strips(str(record["name"]), _about(other, record, number), rows, kernels, stretches)


def _rows(rows: Iterable[Sequence[int]], width: int = 6) -> Numbers:
    return np.array([*rows], np.int64).reshape(-1, width)


def _about(other: Mapping[str, Any], record: Mapping[str, Any], number: str) -> str:
    device, verdict = record["device"], record["verdict"]
    clock = "virtual" if other["clock"] == "virtual" else "real"
    return f"{clock} time on device={device}, {number}: {verdict}"


def _parts(spans: Numbers, half: int) -> list[tuple[str, int, int]]:
    """The parts to show, as name, first tile and the one behind the last.

    half: number of submissions in each of two parts.
    """
    reads = spans[spans[:, 1] == Stage.READ]
    # At each kernel of a chain a tile is read, or its end is marked; the last one counts.
    reads = reads[np.lexsort((reads[:, 5], reads[:, 2]))]
    reads = reads[np.append(reads[1:, 2] != reads[:-1, 2], True)] if len(reads) else reads
    tile, behind = reads[:, 2], reads[:, 2] + reads[:, 3]
    # In a chain, a later tile may end first.
    ends = np.maximum.accumulate(reads[:, 5])
    if len(reads) <= 2 * half:
        return [("", 0, int(behind[-1]) if len(reads) else 0)]
    lengths = ends[2 * half - 1 :] - ends[half - 1 : len(reads) - half]
    # Between tiles that the trace leaves out, the time of a stretch is not known.
    whole = np.append(0, np.cumsum(tile[1:] != behind[:-1]))
    lengths[whole[2 * half - 1 :] != whole[half - 1 : len(reads) - half]] = -1
    first = half + int(np.argmax(lengths))
    if first == half:
        return [("no other stretch is slower", 0, int(behind[2 * half - 1]))]
    slowest = int(tile[first]), int(behind[first + half - 1])
    return [("the first", 0, int(behind[half - 1])), ("the slowest", *slowest)]


def _stretch(
    spans: Numbers,
    stalls: Numbers,
    name: str,
    first: int,
    behind: int,
    tiles: int,
    operations: Sequence[tuple[int, str]],
) -> Stretch:
    own = spans[(first <= spans[:, 2]) & (spans[:, 2] < behind)]
    begin, end = (int(own[:, 4].min()), int(own[:, 5].max())) if len(own) else (0, 0)
    inside = (spans[:, 4] < end) & (spans[:, 5] > begin) & (spans[:, 4] < spans[:, 5])
    shown = spans[inside]
    what = "calls" if operations else "tiles"
    text = f"{what} {first:,} to {behind - 1:,} of {tiles:,}: {name}" if name else ""
    if operations:
        begins = np.array([tile for tile, _ in operations])
        ends = np.searchsorted(begins, [first, behind - 1], "right") - 1
        names = dict.fromkeys(operations[place][1] for place in ends.tolist())
        text = f"{text}; {' to '.join(names)}".removeprefix("; ")
    return Stretch(
        text,
        begin,
        end,
        shown[np.lexsort((shown[:, 4], shown[:, 1]))],
        stalls[(stalls[:, 1] < end) & (stalls[:, 2] > begin)],
    )
