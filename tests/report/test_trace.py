"""Traces: tracks of their own, arrows inside slices, counters and stalls, cuts of long passes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from support.process import Shell

from harness.measure.joined import first_calls, joined
from harness.measure.timeline import Stage, Timeline
from harness.report.pictures.strips import strips
from harness.report.trace import DEVICE_PID, HOST_PID, shown_tiles, trace

Event = dict[str, Any]
WRITE_NS, LAUNCH_NS, EXEC_NS, READ_NS = 2, 1, 10, 2
TILE_NS = WRITE_NS + LAUNCH_NS + EXEC_NS + READ_NS


def serial(tiles: int, slow: range = range(0), has_device: bool = True) -> Timeline:
    """A serial pass over tiles, of which `slow` ones execute for ten times as long."""
    rows, now = [], 0
    for tile in range(tiles):
        exec_ns = EXEC_NS * (10 if tile in slow else 1)
        launched, ended = now + WRITE_NS + LAUNCH_NS, now + WRITE_NS + LAUNCH_NS + exec_ns
        spans = [
            (Stage.WRITE, now, now + WRITE_NS),
            (Stage.LAUNCH, now + WRITE_NS, launched),
            (Stage.WAIT, launched, ended),
            (Stage.READ, ended, ended + READ_NS),
            *([(Stage.EXEC, launched, ended)] if has_device else []),
        ]
        rows += [(stage, tile, 1, 0, begin, end, 0) for stage, begin, end in spans]
        now = ended + READ_NS
    return Timeline(np.array(rows, np.int64), tiles, (1,), "virtual", has_device, ("attention",))


def of(events: list[Event], phase: str, name: str = "") -> list[Event]:
    return [each for each in events if each["ph"] == phase and name in each["name"]]


def values(events: list[Event], name: str) -> list[tuple[float, int]]:
    """Time in ns and value of a counter, which Perfetto names after its event and its value."""
    first, _, value = name.partition(" ")
    return [(each["ts"] * 1000, each["args"][value]) for each in of(events, "C", first)]


def test_a_serial_pass() -> None:
    events = trace(serial(3), "mine <1>")["traceEvents"]
    assert [each["args"]["name"] for each in of(events, "M", "process_name")] == [
        "host of mine <1>",
        "device of mine <1>",
    ]
    stalls = of(events, "i", "stall")
    assert [(each["ts"] * 1000, each["args"]["end_ns"]) for each in stalls] == [
        (13, 18),
        (28, 33),
    ], "between an execution and the next, which begins when it is launched"
    why = [(each["args"]["cause"], each["args"]["host"]) for each in stalls]
    assert why == [("no free slot", "write")] * 2
    assert values(events, "tiles in flight") == [
        (2, 1),
        (15, 0),
        (17, 1),
        (30, 0),
        (32, 1),
        (45, 0),
    ]
    assert values(events, "queue depth") == [(2, 1), (13, 0), (17, 1), (28, 0), (32, 1), (43, 0)]
    arrow = [each for each in events if each["ph"] in "stf" and each["id"] == 1]
    assert [(each["ph"], each["pid"], each["ts"] * 1000) for each in arrow] == [
        ("s", HOST_PID, 16),
        ("t", DEVICE_PID, 23),
        ("f", HOST_PID, 29),
    ]


def test_without_device_timestamps() -> None:
    events = trace(serial(2, has_device=False), "mine")["traceEvents"]
    assert {each["pid"] for each in events} == {HOST_PID}
    assert not of(events, "i")
    assert not of(events, "C", "queue")
    assert [each["ph"] for each in events if each.get("id") == 0] == ["s", "t", "f"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=pipelined", "depth=3"],
        ["strategy=stacked", "strategy.columns=4", "workload.tiles=40"],
        ["strategy=pipelined", "strategy.columns=2", "workload=encoder_block"],
        ["strategy=baseline", "measure.warmup=0"],
    ],
    ids=" ".join,
)
def test_ids_and_arrows(in_folder: Any, shell: Shell, arguments: list[str]) -> None:
    events = shell("tracking=off", "measure.repeats=1", *arguments).trace["traceEvents"]
    named = [(each["pid"], each["tid"]) for each in of(events, "M", "thread_name")]
    tids = [tid for _, tid in named]
    assert len(set(tids)) == len(tids), "in the whole trace, not in a process only"
    assert not set(tids) & {HOST_PID, DEVICE_PID}
    slices = of(events, "X")
    assert {(each["pid"], each["tid"]) for each in slices} <= set(named)
    arrows: dict[int, list[Event]] = {}
    for each in events:
        if each["ph"] in "stf":
            arrows.setdefault(each["id"], []).append(each)
    assert len(arrows) == len(of(events, "X", "read")) / len(set(kernels_of(events)))
    for arrow in arrows.values():
        assert re.fullmatch("st*f", "".join(each["ph"] for each in arrow))
        assert all(one["ts"] < other["ts"] for one, other in pairwise(arrow))
        names = [around(slices, each)["cat"] for each in arrow]
        assert (names[0], names[-1]) == ("write", "read")
        assert "exec" in names
    for name in ("tiles in flight", "queue depth"):
        counts = [value for _, value in values(events, name)]
        assert min(counts) == counts[-1] == 0 < max(counts)


def kernels_of(events: list[Event]) -> list[str]:
    return [each["args"].get("kernel", "") for each in of(events, "X", "exec")]


def around(slices: list[Event], point: Event) -> Event:
    """The only slice of its track around a point of an arrow."""
    (only,) = (
        each
        for each in slices
        if (each["pid"], each["tid"]) == (point["pid"], point["tid"])
        and each["ts"] < point["ts"] < each["ts"] + each["dur"]
    )
    return only


def test_which_tiles_of_a_long_pass_are_shown() -> None:
    assert shown_tiles(serial(10), most=10) == [(0, 10)]
    assert shown_tiles(serial(100, range(60, 63)), most=10) == [(0, 5), (58, 63)]
    assert shown_tiles(serial(100, range(95, 100)), most=10) == [(0, 5), (95, 100)]
    assert shown_tiles(serial(100, range(2)), most=10) == [(0, 10)], "the next to the first"
    assert shown_tiles(serial(11, range(10, 11)), most=10) == [(0, 5), (6, 11)]


def test_a_long_pass_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    pass_ = serial(100, range(60, 63))
    monkeypatch.setattr("harness.report.trace.shown_tiles", lambda timeline: [(0, 5), (58, 63)])
    whole = trace(pass_, "mine")
    events = whole["traceEvents"]
    assert {each["args"]["tile"] for each in of(events, "X", "exec")} == {*range(5), *range(58, 63)}
    assert whole["otherData"]["cut"] == (
        "tiles 0 to 4 and 58 to 62 of 100: the first and the slowest"
    )
    omitted = of(events, "X", "tiles ")
    assert [(each["name"], each["args"]["tiles"]) for each in omitted] == [
        ("tiles 5-57", 53),
        ("tiles 63-99", 37),
    ]
    assert [each["dur"] * 1000 for each in omitted] == [53 * TILE_NS, 37 * TILE_NS]
    periods = [(0, 5 * TILE_NS), (58 * TILE_NS, 63 * TILE_NS + 3 * 9 * EXEC_NS)]
    for each in [*of(events, "C"), *of(events, "i")]:
        assert any(begin <= each["ts"] * 1000 <= end for begin, end in periods)


def test_the_operations_of_an_encoder_follow_each_other_by_name() -> None:
    timeline = joined([("query", first_calls(serial(9), 3)), ("<key>", serial(2))])
    assert timeline
    events = trace(timeline, "mine")["traceEvents"]
    found = [each for each in of(events, "X") if "operation" in each["args"]]
    assert [(each["name"], each["args"]["tile"], each["args"]["tiles"]) for each in found] == [
        ("query", 0, 3),
        ("<key>", 3, 2),
    ]
    assert [each["ts"] * 1000 for each in found] == pytest.approx([0, 3 * TILE_NS])
    assert [each["dur"] * 1000 for each in found] == pytest.approx([3 * TILE_NS, 2 * TILE_NS])
    executions = [each["args"]["tile"] for each in of(events, "X", "exec")]
    assert executions == [0, 1, 2, 3, 4]
    assert len(of(events, "i", "stall")) == 3, "none between the operations"
    assert max(count for _, count in values(events, "tiles in flight")) == 1
    assert [*joined([("a", serial(2))]).rows[:, 5]] == [*serial(2).rows[:, 5]]
    assert joined([]) is None


def test_the_picture_of_an_encoder_names_its_operations() -> None:
    timeline = joined([("query", serial(20)), ("key", serial(20, slow=range(20)))])
    assert timeline
    record = {"name": "mine", "device": "simulator", "verdict": "OK"}
    content = strips(trace(timeline, "mine"), record)
    assert "40 calls of 2 operations, which represent all calls: OK" in content.about
    assert [each.name for each in content.stretches] == [
        "calls 0 to 11 of 40: the first; query",
        "calls 20 to 31 of 40: the slowest; key",
    ]
    short = joined([("query", serial(2)), ("key", serial(2))])
    assert short
    (stretch,) = strips(trace(short, "mine"), record).stretches
    assert stretch.name == "query to key"


def test_calls_are_cut_behind_whole_submissions() -> None:
    rows = [(Stage.LAUNCH, tile, 2, 0, tile, tile + 1, 0) for tile in (0, 2, 4)]
    rows += [(Stage.EXEC, tile, 1, 0, tile, tile + 1, 0) for tile in range(6)]
    cut = first_calls(Timeline(np.array(rows, np.int64), 6, (1,), "virtual", True), 3)
    assert cut.tiles == 4
    assert sorted(cut.rows[:, 1].tolist()) == [0, 0, 1, 2, 2, 3]
