"""Every hazard, as a script of the pyxrt API brings it about, and the nearest scripts without it.

A script is a generator: what it yields, with its bos and runs still alive, should read as
undefined. The comments `# earlier` and `# later` mark the two calls that the report has to name.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.rig import (
    COMPLETED,
    FROM_DEVICE,
    OPCODE,
    STATE,
    TO_DEVICE,
    Rig,
    content,
    stage,
    total_of,
    view_of,
)

from harness.config.device import Faults, Hazards
from harness.hazard import Hazard, Kind
from harness.sim import pyxrt
from harness.sim.clock import ProcessAborted
from harness.sim.memory import UNDEFINED

Script = Callable[[Rig], Iterator[Any]]
SLOW = {"exec_ns": {"add": 5_000_000, "neg": 100, "sub": 100, "odd": 100}}
EOL = "# "
LAUNCHES = "run.start", "runlist.execute", "kernel()", "write", "run.set_arg"
"""Named by what they do, in words of the sanitizer's own."""
GONE: list[Rig] = []
"""Rigs whose process is gone: nothing of theirs is freed any more."""


pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Of objects that outlive an aborted process: a test of its own looks at those."""


@dataclass
class Expected:
    """What a script brings about. bo: its number and size; calls: the earlier and the later."""

    script: Script
    kind: Kind
    bo: str
    span: tuple[int, int] | None
    calls: tuple[str, str]
    columns: int
    profile: dict[str, Any]
    aborts: bool


SCRIPTS: list[Expected] = []
CORRECT: list[Any] = []


def hazard(
    kind: Kind,
    bo: str = "",
    span: tuple[int, int] | None = None,
    calls: tuple[str, str] = ("", ""),
    columns: int = 1,
    aborts: bool = False,
    **profile: Any,
) -> Callable[[Script], Script]:
    def keep(script: Script) -> Script:
        SCRIPTS.append(Expected(script, kind, bo, span, calls, columns, profile, aborts))
        return script

    return keep


def correct(columns: int = 1, **profile: Any) -> Callable[[Script], Script]:
    def keep(script: Script) -> Script:
        CORRECT.append((script, columns, profile))
        return script

    return keep


def marked(script: Script, mark: str) -> int | None:
    """The line of a script that carries a comment `mark`, perhaps among others."""
    lines, first = inspect.getsourcelines(script)
    found = [
        first + i
        for i, line in enumerate(lines)
        if mark in line.partition(EOL)[2].replace(",", " ").split()
    ]
    assert len(found) <= 1
    return found[0] if found else None


def play(script: Script, rig: Rig) -> tuple[list[Hazard], Any]:
    """Hazards of a script, and what it yields."""
    playing = script(rig)
    shown = next(playing)
    shown = None if shown is None else np.array(shown)
    found = rig.take()
    close(playing)
    return found, shown


def close(playing: Iterator[Any]) -> None:
    """Let a script's objects go; another test covers what their destructors cannot say."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        playing.close()
    finally:
        sys.unraisablehook = hook


# --- write-in-flight ---


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.write"))
def write_to_an_input(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    operands.write(content(256, 1).astype(np.uint8), 0)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", calls=("run.start", "bo.write"))
def write_of_one_byte(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    operands.write(b"\0", 255)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", calls=("run.start", "bo.write"))
def write_of_what_is_there_already(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair(seed=4)
    run = rig.run(operands, total)
    run.start()  # earlier
    operands.write(content(256, 4).astype(np.uint8), 0)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 3 (128 B)", (0, 128), ("run.start", "bo.write"))
def write_to_an_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    total.write(bytes(128), 0)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.sync"))
def sync_of_an_input(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    operands.sync(TO_DEVICE)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.sync"))
def early_refill(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    view_of(operands)[:] = content(256, 1)
    operands.sync(TO_DEVICE)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"))
def sync_of_an_output_to_the_device(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    total.sync(TO_DEVICE)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "run.wait"))
def change_through_a_view(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    view = view_of(operands)
    run = rig.run(operands, total)
    run.start()  # earlier
    view[7] ^= 1
    run.wait()  # later
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "run.state"))
def change_through_a_view_seen_by_polling(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    view_of(operands)[255] ^= 1
    rig.machine.clock.now_ns += 1000
    assert run.state() is COMPLETED  # later
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "run.wait"))
def change_through_a_view_although_the_run_has_ended_by_the_clock(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    rig.machine.clock.now_ns += 10**6
    view_of(operands)[:] = 0
    run.wait()  # later
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 3 (128 B)", (0, 128), ("run.start", "run.wait"))
def change_of_an_output_through_a_view(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    view_of(total)[3] = 9
    run.wait()  # later
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "run.wait"))
def change_before_the_wait_for_a_later_run(rig: Rig) -> Iterator[Any]:
    """The end of the first run is seen with that of the second."""
    operands, total = rig.pair()
    others = rig.pair(1)
    first, second = rig.run(operands, total), rig.run(*others)
    first.start()  # earlier
    second.start()
    view_of(operands)[:] = 5
    second.wait()  # later
    total.sync(FROM_DEVICE)
    others[1].sync(FROM_DEVICE)
    shown = view_of(total).copy()
    first.wait()
    yield shown


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("runlist.execute", "runlist.wait"))
def change_of_a_member(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    others = rig.pair(1)
    members = [rig.run(operands, total), rig.run(*others)]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    runlist.execute()  # earlier
    view_of(operands)[0] ^= 1
    runlist.wait()  # later
    total.sync(FROM_DEVICE)
    others[1].sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(others[1]), total_of(1))
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 1 (16 B)", (0, 16), ("run.start", "bo.write"))
def write_to_the_instructions(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    rig.columns[0].instructions.write(b"\0", 0)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 1 (16 B)", (0, 16), ("run.start", "run.wait"))
def change_of_the_instructions_through_a_view(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    view_of(rig.columns[0].instructions)[0] ^= 1
    run.wait()  # later
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (512 B)", (256, 512), ("run.start", "bo.sync"))
def refill_through_the_parent(rig: Rig) -> Iterator[Any]:
    parent, total = rig.staged(512), rig.bo(128)
    run = rig.run(pyxrt.bo(parent, 256, 256), total)
    half = run  # the sub-buffer is deleted, its parent not
    half.start()  # earlier
    parent.sync(TO_DEVICE)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.sync"), **SLOW)
def refill_after_a_wait_that_raised(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    with pytest.raises(RuntimeError, match="unexpected command state"):
        run.wait(1)
    operands.sync(TO_DEVICE)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 3 (256 B)", (0, 256), ("run.start", "bo.write"), columns=2)
def refill_after_the_wait_for_another_context(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    others = rig.pair(1)
    first, second = rig.run(operands, total), rig.run(*others, column=1)
    first.start()  # earlier
    second.start()
    second.wait()
    operands.write(content(256, 2).astype(np.uint8), 0)  # later
    first.wait()
    total.sync(FROM_DEVICE)
    others[1].sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.write"))
def refill_after_the_wait_for_an_earlier_run(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    others = rig.pair(1)
    first, second = rig.run(*others), rig.run(operands, total)
    first.start()
    second.start()  # earlier
    first.wait()
    operands.write(content(256, 2).astype(np.uint8), 0)  # later
    second.wait()
    total.sync(FROM_DEVICE)
    others[1].sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.WRITE_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("kernel()", "bo.write"))
def refill_of_a_call(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    instructions = rig.columns[0].instructions
    run = rig.columns[0].kernel(OPCODE, instructions, 16, operands, total)  # earlier
    operands.write(b"\1", 0)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


# --- shared-output, overlap, unordered ---


@hazard(Kind.SHARED_OUTPUT, "bo 3 (128 B)", (0, 128), ("run.start", "run.start"))
def two_runs_into_one_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    more = rig.staged(256, 1)
    first, second = rig.run(operands, total), rig.run(more, total)
    first.start()  # earlier
    second.start()  # later
    first.wait()
    second.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.SHARED_OUTPUT, "bo 3 (128 B)", (0, 128), ("runlist.execute", "runlist.execute"))
def two_members_into_one_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    more = rig.staged(256, 1)
    members = [rig.run(operands, total), rig.run(more, total)]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    runlist.execute()  # earlier, later
    runlist.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.SHARED_OUTPUT, "bo 2 (256 B)", (128, 256), ("run.start", "run.start"))
def two_sub_buffers_of_the_same_bytes(rig: Rig) -> Iterator[Any]:
    parent = rig.bo(256)
    halves = [pyxrt.bo(parent, 128, 128) for _ in range(2)]
    operands = rig.staged(256), rig.staged(256, 1)
    first, second = (rig.run(data, half) for data, half in zip(operands, halves, strict=True))
    first.start()  # earlier
    second.start()  # later
    second.wait()
    first.wait()
    parent.sync(FROM_DEVICE)
    yield view_of(parent)[128:]


@hazard(Kind.OVERLAP, "bo 2 (256 B)", calls=("run.start", "run.start"))
def outputs_overlap(rig: Rig) -> Iterator[Any]:
    parent = rig.bo(256)
    windows = pyxrt.bo(parent, 128, 0), pyxrt.bo(parent, 128, 64)
    operands = rig.staged(256), rig.staged(256, 1)
    first, second = (rig.run(data, window) for data, window in zip(operands, windows, strict=True))
    first.start()  # earlier
    second.start()  # later
    first.wait()
    second.wait()
    parent.sync(FROM_DEVICE)
    yield view_of(parent)[64:128]


@hazard(Kind.OVERLAP, "bo 2 (256 B)", calls=("runlist.execute", "runlist.execute"))
def outputs_of_a_runlist_overlap(rig: Rig) -> Iterator[Any]:
    parent = rig.bo(256)
    windows = pyxrt.bo(parent, 128, 100), pyxrt.bo(parent, 128, 0)
    operands = rig.staged(256), rig.staged(256, 1)
    members = [rig.run(data, window) for data, window in zip(operands, windows, strict=True)]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    runlist.execute()  # earlier, later
    runlist.wait()
    parent.sync(FROM_DEVICE)
    yield view_of(parent)[100:128]


@hazard(Kind.SHARED_OUTPUT, "bo 2 (512 B)", (0, 128), ("run.start", "run.start"))
def output_beside_the_input_of_the_same_bo(rig: Rig) -> Iterator[Any]:
    """The second run uses the bo twice, and only its output clashes."""
    arena = rig.staged(512)
    total, operands = pyxrt.bo(arena, 128, 0), pyxrt.bo(arena, 256, 256)
    more = rig.staged(256, 1)
    first, second = rig.run(more, total), rig.run(operands, total)
    first.start()  # earlier
    second.start()  # later
    first.wait()
    second.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.UNORDERED, "bo 4 (128 B)", (0, 128), ("run.start", "run.start"))
def read_before_another_context_has_written(rig: Rig) -> Iterator[Any]:
    negate = rig.open("neg")
    operands, total = rig.pair()
    negated = rig.bo(128)
    first, second = rig.run(operands, total), rig.run(total, negated, column=negate)
    first.start()  # earlier
    second.start()  # later
    second.wait()
    first.wait()
    negated.sync(FROM_DEVICE)
    yield view_of(negated)


@hazard(Kind.UNORDERED, "bo 3 (256 B)", calls=("run.start", "run.start"), columns=2)
def write_before_another_context_has_read(rig: Rig) -> Iterator[Any]:
    shared, total = rig.pair()
    half = pyxrt.bo(shared, 128, 128)
    other = rig.staged(256, 1)
    first, second = rig.run(shared, total), rig.run(other, half, column=1)
    first.start()  # earlier
    second.start()  # later
    first.wait()
    second.wait()
    total.sync(FROM_DEVICE)
    half.sync(FROM_DEVICE)
    yield view_of(total)


# --- read-before-completion, stale-read ---


@hazard(Kind.READ_BEFORE_COMPLETION, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"))
def sync_before_the_wait(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    total.sync(FROM_DEVICE)  # later
    shown = view_of(total).copy()
    run.wait()
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.READ_BEFORE_COMPLETION, "bo 3 (128 B)", calls=("run.start", "bo.sync"))
def partial_sync_before_the_wait(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    total.sync(FROM_DEVICE, 64, 64)  # later
    shown = view_of(total)[64:].copy()
    run.wait()
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.READ_BEFORE_COMPLETION, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"))
def sync_when_the_run_has_ended_by_the_clock(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    rig.machine.clock.now_ns += 10**9
    total.sync(FROM_DEVICE)  # later
    shown = view_of(total).copy()
    run.wait()
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.READ_BEFORE_COMPLETION, "bo 3 (128 B)", (0, 128), ("run.start", "bo.read"))
def read_before_the_wait(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    shown = total.read(128, 0).view(np.uint8)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.READ_BEFORE_COMPLETION, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"))
def sync_after_a_poll_that_shows_it_in_flight(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    assert run.state() is STATE.ERT_CMD_STATE_NEW
    total.sync(FROM_DEVICE)  # later
    shown = view_of(total).copy()
    run.wait()
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.READ_BEFORE_COMPLETION, calls=("runlist.execute", "bo.sync"))
def sync_of_the_parent_before_the_wait(rig: Rig) -> Iterator[Any]:
    inputs, outputs = rig.staged(512), rig.bo(256)
    windows = [(pyxrt.bo(inputs, 256, 256 * i), pyxrt.bo(outputs, 128, 128 * i)) for i in range(2)]
    runlist = pyxrt.runlist(rig.columns[0].context)
    members = [rig.run(*pair) for pair in windows]
    for member in members:
        runlist.add(member)
    runlist.execute()  # earlier
    outputs.sync(FROM_DEVICE)  # later
    shown = view_of(outputs).copy()
    runlist.wait()
    outputs.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.READ_BEFORE_COMPLETION, "bo 4 (128 B)", (0, 128), ("run.start", "bo.sync"))
def sync_of_a_second_run_after_the_wait_for_the_first(rig: Rig) -> Iterator[Any]:
    """The second's output was the first's last time: what was bound earlier does not count."""
    one, other = rig.pair()
    last, more = rig.bo(128), rig.staged(256, 1)
    first, second = rig.run(one, other), rig.run(more, last)
    first.start()
    second.start()  # earlier
    first.wait()
    last.sync(FROM_DEVICE)  # later
    shown = view_of(last).copy()
    second.wait()
    other.sync(FROM_DEVICE)
    last.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(other), total_of(0))
    yield shown


@hazard(Kind.STALE_READ, "bo 3 (128 B)", (0, 128), ("run.start", "bo.read"))
def read_without_a_sync(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    shown = total.read(128, 0).view(np.uint8)  # later
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.STALE_READ, "bo 3 (128 B)", calls=("run.start", "bo.read"))
def read_of_the_part_that_was_not_synced(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    total.sync(FROM_DEVICE, 64, 0)
    np.testing.assert_array_equal(total.read(64, 0).view(np.uint8), total_of(0)[:64])
    shown = total.read(64, 64).view(np.uint8)  # later
    total.sync(FROM_DEVICE)
    yield shown


@hazard(Kind.STALE_READ, "bo 3 (128 B)", (0, 128), ("run.start", "bo.read"))
def read_after_the_second_launch_without_a_second_sync(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    stage(operands, 1)
    run.start()  # earlier
    run.wait()
    shown = total.read(128, 0).view(np.uint8)  # later
    total.sync(FROM_DEVICE)
    yield shown


# --- not-synced ---


@hazard(Kind.NOT_SYNCED, "bo 2 (256 B)", (0, 256), ("write", "run.start"))
def launch_on_what_was_written(rig: Rig) -> Iterator[Any]:
    operands, total = rig.bo(256), rig.bo(128)
    run = rig.run(operands, total)
    operands.write(content(256).astype(np.uint8), 0)  # earlier
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NOT_SYNCED, "bo 2 (256 B)", (0, 256), ("write", "run.start"))
def launch_on_what_was_mapped(rig: Rig) -> Iterator[Any]:
    operands, total = rig.bo(256), rig.bo(128)
    run = rig.run(operands, total)
    view = np.frombuffer(operands.map(), np.uint8)  # earlier
    view[:] = content(256)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NOT_SYNCED, "bo 2 (256 B)", (0, 256), ("write", "run.start"))
def launch_with_one_line_not_synced(rig: Rig) -> Iterator[Any]:
    operands, total = rig.bo(256), rig.bo(128)
    run = rig.run(operands, total)
    operands.write(content(256).astype(np.uint8), 0)  # earlier
    operands.sync(TO_DEVICE, 128, 0)
    operands.sync(TO_DEVICE, 64, 192)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NOT_SYNCED, "bo 2 (256 B)", (0, 256), ("write", "run.start"))
def second_launch_on_a_view_filled_anew(rig: Rig) -> Iterator[Any]:
    operands, total = rig.bo(256), rig.bo(128)
    view = np.frombuffer(operands.map(), np.uint8)  # earlier
    view[:] = content(256)
    operands.sync(TO_DEVICE)
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    view[:] = content(256, 1)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NOT_SYNCED, "bo 3 (128 B)", (0, 128), ("write", "run.start"))
def launch_into_an_output_that_was_written(rig: Rig) -> Iterator[Any]:
    """The first sync back would write those lines over the output."""
    operands, total = rig.pair()
    run = rig.run(operands, total)
    total.write(b"\1", 0)  # earlier
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.NOT_SYNCED, "bo 4 (16 B)", (0, 16), ("write", "run.start"))
def instructions_not_synced(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    instructions = pyxrt.bo(rig.device, 16, pyxrt.bo.cacheable, rig.columns[0].kernel.group_id(1))
    run = rig.run(operands, total)
    run.set_arg(1, instructions)
    instructions.write(bytes(range(16)), 0)  # earlier
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NOT_SYNCED, "bo 2 (512 B)", (256, 512), ("write", "runlist.execute"))
def a_member_not_synced(rig: Rig) -> Iterator[Any]:
    inputs, outputs = rig.bo(512), rig.bo(256)
    windows = [(pyxrt.bo(inputs, 256, 256 * i), pyxrt.bo(outputs, 128, 128 * i)) for i in range(2)]
    members = [rig.run(*pair) for pair in windows]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    inputs.write(content(512).astype(np.uint8), 0)  # earlier
    windows[0][0].sync(TO_DEVICE)
    runlist.execute()  # later
    runlist.wait()
    outputs.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(outputs)[:128], total_of(0))
    yield view_of(outputs)[128:]


# --- freed-in-flight, run-dropped, argument-in-flight ---


@hazard(Kind.FREED_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.__del__"))
def input_freed(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    del operands  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.FREED_IN_FLIGHT, "bo 3 (128 B)", (0, 128), ("run.start", "bo.__del__"))
def output_freed(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    del total  # later
    run.wait()
    yield None


@hazard(Kind.FREED_IN_FLIGHT, "bo 4 (16 B)", (0, 16), ("run.start", "bo.__del__"))
def instructions_freed(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    instructions = pyxrt.bo(rig.device, 16, pyxrt.bo.cacheable, rig.columns[0].kernel.group_id(1))
    run = rig.run(operands, total)
    run.set_arg(1, instructions)
    run.start()  # earlier
    del instructions  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.FREED_IN_FLIGHT, "bo 2 (512 B)", calls=("run.start", "bo.__del__"))
def last_window_freed(rig: Rig) -> Iterator[Any]:
    parent, total = rig.staged(512), rig.bo(128)
    half = pyxrt.bo(parent, 256, 256)
    del parent
    run = rig.run(half, total)
    run.start()  # earlier
    del half  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


def _start_on_bos_of_its_own(rig: Rig, total: pyxrt.bo) -> pyxrt.run:
    operands = rig.staged(256)
    run = rig.run(operands, total)
    run.start()
    return run


@hazard(Kind.FREED_IN_FLIGHT, "bo 3 (256 B)", (0, 256), ("run.start", "bo.__del__"))
def input_goes_out_of_scope(rig: Rig) -> Iterator[Any]:
    total = rig.bo(128)
    run = _start_on_bos_of_its_own(rig, total)
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.FREED_IN_FLIGHT, "bo 2 (256 B)", (0, 256), ("run.start", "bo.__del__"))
def freed_after_the_end_by_the_clock(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    rig.machine.clock.now_ns += 10**9
    del operands  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.MISALIGNED_SYNC, calls=("write", "bo.sync"))
def output_beside_bytes_that_the_host_wrote(rig: Rig) -> Iterator[Any]:
    """A line that the host wrote to is written back over the end of the output in it."""
    operands, _ = rig.pair()
    root = rig.bo(256)
    total = pyxrt.bo(root, 128, 100)
    beside = pyxrt.bo(root, 20, 228)
    run = rig.run(operands, total)
    run.start()
    run.wait()
    beside.write(np.ones(20, np.int8), 0)  # earlier
    total.sync(FROM_DEVICE)  # later
    yield np.frombuffer(total.map(), np.uint8)


@hazard(Kind.NEVER_READ, calls=("write", "bo.sync"))
def output_overwritten_by_the_host(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.write(np.ones(128, np.int8), 0)  # earlier
    total.sync(FROM_DEVICE)  # later
    yield view_of(total)


@hazard(Kind.RUN_DROPPED, calls=("run.start", "run.__del__"), aborts=True)
def run_dropped(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    del run  # later
    yield None


@hazard(Kind.RUN_DROPPED, calls=("run.start", "run.__del__"), aborts=True)
def run_dropped_after_the_end_of_a_later_one_was_seen(rig: Rig) -> Iterator[Any]:
    """XRT asks each run object whether its own end was seen."""
    pairs = [rig.pair(0), rig.pair(1)]
    first, second = (rig.run(*pair) for pair in pairs)
    first.start()  # earlier
    second.start()
    second.wait()
    del first  # later
    yield None


@hazard(Kind.RUN_DROPPED, calls=("kernel()", "run.__del__"), aborts=True)
def result_of_a_call_not_kept(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    instructions = rig.columns[0].instructions
    rig.columns[0].kernel(OPCODE, instructions, 16, operands, total)  # earlier, later
    yield None


@hazard(Kind.RUN_DROPPED, calls=("kernel()", "run.__del__"), aborts=True)
def run_replaced_by_the_next(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    others = rig.pair(1)
    instructions = rig.columns[0].instructions
    run = rig.columns[0].kernel(OPCODE, instructions, 16, operands, total)  # earlier
    run = rig.columns[0].kernel(OPCODE, instructions, 16, *others)  # later
    assert run
    yield None


@hazard(Kind.ARGUMENT_IN_FLIGHT, calls=("run.start", "run.set_arg"))
def argument_set(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    other = rig.bo(128)
    run = rig.run(operands, total)
    run.start()  # earlier
    run.set_arg(4, other)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.ARGUMENT_IN_FLIGHT, calls=("run.start", "run.set_arg"))
def scalar_set(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.set_arg(2, 8)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.ARGUMENT_IN_FLIGHT, calls=("runlist.execute", "run.set_arg"))
def argument_of_a_member_set(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    more = rig.staged(256, 1)
    run = rig.run(operands, total)
    runlist = pyxrt.runlist(rig.columns[0].context)
    runlist.add(run)
    runlist.execute()  # earlier
    run.set_arg(3, more)  # later
    runlist.wait()
    total.sync(FROM_DEVICE)
    yield None


# --- misaligned-sync ---


@hazard(Kind.MISALIGNED_SYNC, "bo 4 (320 B)", calls=("run.start", "bo.sync"))
def sync_back_beside_an_output_in_flight(rig: Rig) -> Iterator[Any]:
    one, other = rig.staged(256), rig.staged(256, 1)
    outputs = rig.bo(320)
    windows = pyxrt.bo(outputs, 128, 32), pyxrt.bo(outputs, 128, 160)
    first, second = rig.run(one, windows[0]), rig.run(other, windows[1])
    first.start()
    first.wait()
    second.start()  # earlier
    windows[0].sync(FROM_DEVICE)  # later
    np.testing.assert_array_equal(view_of(windows[0]), total_of(0))
    second.wait()
    windows[1].sync(FROM_DEVICE)
    yield view_of(windows[1])


@hazard(Kind.MISALIGNED_SYNC, "bo 3 (512 B)", calls=("run.start", "bo.sync"))
def staging_beside_an_output_in_flight(rig: Rig) -> Iterator[Any]:
    operands = rig.staged(256)
    both = rig.bo(512)
    total, next_operands = pyxrt.bo(both, 128, 0), pyxrt.bo(both, 256, 128 + 32)
    run = rig.run(operands, pyxrt.bo(both, 128, 32))
    del total
    run.start()  # earlier
    view_of(next_operands)[:] = content(256, 2)
    next_operands.sync(TO_DEVICE)  # later
    run.wait()
    both.sync(FROM_DEVICE)
    yield view_of(both)[32:160]


@hazard(Kind.MISALIGNED_SYNC, "bo 2 (256 B)", calls=("run.start", "bo.sync"))
def partial_sync_of_a_line(rig: Rig) -> Iterator[Any]:
    """Sync of 10 bytes of the output's own neighbourhood: the rest of the line is the output's."""
    parent = rig.bo(256)
    operands = rig.staged(256)
    run = rig.run(operands, pyxrt.bo(parent, 128, 70))
    run.start()  # earlier
    parent.sync(FROM_DEVICE, 6, 64)  # later
    run.wait()
    parent.sync(FROM_DEVICE)
    yield view_of(parent)[70:198]


# --- failed-output ---


@hazard(
    Kind.FAILED_OUTPUT, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"), faults=Faults(error=[0])
)
def sync_of_a_failed_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    assert run.wait() is STATE.ERT_CMD_STATE_ERROR
    total.sync(FROM_DEVICE)  # later
    yield view_of(total)


@hazard(
    Kind.FAILED_OUTPUT, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"), faults=Faults(hang=[0])
)
def sync_of_the_output_of_a_run_that_hung(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    assert run.wait() is STATE.ERT_CMD_STATE_TIMEOUT
    total.sync(FROM_DEVICE)  # later
    yield view_of(total)


@hazard(
    Kind.FAILED_OUTPUT, "bo 3 (128 B)", (0, 128), ("run.start", "bo.sync"), faults=Faults(abort=[0])
)
def sync_of_an_aborted_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    assert run.wait() is STATE.ERT_CMD_STATE_ABORT
    total.sync(FROM_DEVICE)  # later
    yield view_of(total)


@hazard(
    Kind.FAILED_OUTPUT,
    "bo 5 (128 B)",
    (0, 128),
    ("runlist.execute", "bo.sync"),
    faults=Faults(error=[0]),
)
def sync_of_a_member_behind_one_that_failed(rig: Rig) -> Iterator[Any]:
    pairs = [rig.pair(), rig.pair(1)]
    members = [rig.run(*pair) for pair in pairs]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    runlist.execute()  # earlier
    with pytest.raises(RuntimeError, match="failed execution"):
        runlist.wait()
    pairs[1][1].sync(FROM_DEVICE)  # later
    yield view_of(pairs[1][1])


@hazard(
    Kind.FAILED_OUTPUT,
    "bo 4 (128 B)",
    (0, 128),
    ("run.start", "run.start"),
    faults=Faults(error=[0]),
)
def failed_output_as_an_input(rig: Rig) -> Iterator[Any]:
    negate = rig.open("neg")
    operands, total = rig.pair()
    negated = rig.bo(128)
    first, second = rig.run(operands, total), rig.run(total, negated, column=negate)
    first.start()  # earlier
    first.wait()
    second.start()  # later
    second.wait()
    negated.sync(FROM_DEVICE)
    yield view_of(negated)


@hazard(Kind.FAILED_OUTPUT, faults=Faults(error=[0]))
def chain_whose_first_run_fails(rig: Rig) -> Iterator[Any]:
    """The failure is seen after the second launch, which used what the first run did not write."""
    column = rig.columns[0]
    operands, parent, result = rig.staged(256), rig.bo(256), rig.bo(128)
    half = pyxrt.bo(parent, 128, 0)
    first, second = rig.run(operands, half, column=column), rig.run(parent, result, column=column)
    first.start()
    second.start()
    assert first.wait() is STATE.ERT_CMD_STATE_ERROR
    second.wait()
    result.sync(FROM_DEVICE)
    yield view_of(result)


# --- output-never-read ---


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", "bo.__del__"))
def output_freed_unread(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    del total  # later
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", ""))
def output_unread_at_the_end(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    rig.end()
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", "run.start"))
def output_lost_to_other_data(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    stage(operands, 1)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", "run.start"))
def output_lost_to_data_staged_by_write(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    operands.write(content(256, 1).astype(np.uint8), 0)
    operands.sync(TO_DEVICE, 128, 0)
    operands.sync(TO_DEVICE, 128, 128)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", "run.start"))
def output_lost_to_another_bo(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    more = rig.staged(256, 1)
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    run.set_arg(3, more)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", "run.start"))
def output_lost_to_another_run(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    more = rig.staged(256, 1)
    first, second = rig.run(operands, total), rig.run(more, total)
    first.start()  # earlier
    first.wait()
    second.start()  # later
    second.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(1))
    yield None


@hazard(Kind.NEVER_READ, "bo 2 (256 B)", calls=("run.start", ""))
def one_of_two_outputs_unread(rig: Rig) -> Iterator[Any]:
    outputs = rig.bo(256)
    halves = pyxrt.bo(outputs, 128, 0), pyxrt.bo(outputs, 128, 128)
    inputs = rig.staged(256), rig.staged(256, 1)
    runs = [rig.run(*pair) for pair in zip(inputs, halves, strict=True)]
    runs[0].start()
    runs[1].start()  # earlier
    runs[1].wait()
    runs[0].wait()
    halves[0].sync(FROM_DEVICE)
    rig.end()
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", ""))
def unread_after_it_was_read_once(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    run.start()  # earlier
    run.wait()
    rig.end()
    yield None


@hazard(Kind.NEVER_READ, calls=("run.start", ""))
def used_once_then_unread(rig: Rig) -> Iterator[Any]:
    """What another run used of the first execution does not save the second."""
    operands, parent, result = rig.staged(256), rig.bo(256), rig.bo(128)
    half = pyxrt.bo(parent, 128, 0)
    first, second = rig.run(operands, half), rig.run(parent, result)
    first.start()
    second.start()
    second.wait()
    first.wait()
    result.sync(FROM_DEVICE)
    stage(operands, 1)
    first.start()  # earlier
    first.wait()
    rig.end()
    yield None


@hazard(Kind.NEVER_READ, "bo 3 (128 B)", (0, 128), ("run.start", ""))
def unread_although_its_run_is_gone(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()  # earlier
    run.wait()
    del run, operands
    rig.end()
    yield None


@hazard(Kind.NEVER_READ, calls=("run.start", ""))
def end_seen_with_a_later_run_and_unread(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    others = rig.pair(1)
    first, second = rig.run(operands, total), rig.run(*others)
    first.start()  # earlier
    second.start()
    second.wait()
    others[1].sync(FROM_DEVICE)
    rig.end()
    first.wait()
    yield None


# --- unset-argument, wrong-bank, nested-sub-buffer ---


def _run_without(rig: Rig, missing: int, *bos: pyxrt.bo) -> pyxrt.run:
    run = pyxrt.run(rig.columns[0].kernel)
    for index, value in enumerate((OPCODE, rig.columns[0].instructions, 16, *bos)):
        if index != missing:
            run.set_arg(index, value)
    return run


def _unset(missing: int) -> Script:
    def argument_unset(rig: Rig) -> Iterator[Any]:
        operands, total = rig.pair()
        run = _run_without(rig, missing, operands, total)
        run.start()  # later
        run.wait()
        total.sync(FROM_DEVICE)
        yield None if missing == 4 else view_of(total)

    argument_unset.__name__ = f"argument_{missing}_unset"
    return argument_unset


for _missing in range(5):
    hazard(Kind.UNSET_ARGUMENT, calls=("", "run.start"))(_unset(_missing))


@hazard(Kind.UNSET_ARGUMENT, calls=("", "kernel()"))
def call_without_the_last_argument(rig: Rig) -> Iterator[Any]:
    operands = rig.staged(256)
    instructions = rig.columns[0].instructions
    run = rig.columns[0].kernel(OPCODE, instructions, 16, operands)  # later
    run.wait()
    yield None


@hazard(Kind.UNSET_ARGUMENT, calls=("", "kernel()"))
def call_with_an_argument_that_is_swallowed(rig: Rig) -> Iterator[Any]:
    """pyxrt's `kernel()` takes no numpy array, and says nothing."""
    _, total = rig.pair()
    instructions = rig.columns[0].instructions
    run = rig.columns[0].kernel(OPCODE, instructions, 16, content(256), total)  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.UNSET_ARGUMENT, calls=("run.set_arg", "run.start"))
def number_where_a_bo_belongs(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.set_arg(3, 7)  # earlier
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.UNSET_ARGUMENT, calls=("run.set_arg", "run.start"))
def input_too_small(rig: Rig) -> Iterator[Any]:
    operands, total = rig.staged(255), rig.bo(128)
    run = rig.run(rig.staged(256), total)
    run.set_arg(3, operands)  # earlier
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.UNSET_ARGUMENT, calls=("run.set_arg", "run.start"))
def output_window_too_small(rig: Rig) -> Iterator[Any]:
    operands, parent = rig.staged(256), rig.bo(128)
    window = pyxrt.bo(parent, 64, 0)
    run = rig.run(operands, parent)
    run.set_arg(4, window)  # earlier
    run.start()  # later
    run.wait()
    window.sync(FROM_DEVICE)
    yield view_of(window)


@hazard(Kind.WRONG_BANK, calls=("run.set_arg", "kernel()"))
def a_call_with_instructions_in_the_data_bank(rig: Rig) -> Iterator[Any]:
    """`set_arg` would raise; a call of the kernel ignores that, and the kernel gets address 0."""
    operands, total = rig.pair()
    instructions = rig.staged(16)
    run = rig.columns[0].kernel(OPCODE, instructions, 16, operands, total)  # earlier, later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.UNSET_ARGUMENT, calls=("", "run.start"), faults=Faults(error=[0]))
def a_failed_run_repeated_as_it_is(rig: Rig) -> Iterator[Any]:
    """The driver has filled the packet of the failed run with 0xff."""
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    assert run.wait() is STATE.ERT_CMD_STATE_ERROR
    stage(operands, 1)
    for index, value in ((3, operands), (4, total), (0, OPCODE)):
        run.set_arg(index, value)
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NESTED_SUB_BUFFER, calls=("run.set_arg", "run.start"))
def input_in_a_window_of_a_window(rig: Rig) -> Iterator[Any]:
    parent, total = rig.staged(1024), rig.bo(128)
    outer = pyxrt.bo(parent, 512, 256)
    inner = pyxrt.bo(outer, 256, 128)
    run = rig.run(rig.staged(256), total)
    run.set_arg(3, inner)  # earlier
    run.start()  # later
    run.wait()
    total.sync(FROM_DEVICE)
    yield view_of(total)


@hazard(Kind.NESTED_SUB_BUFFER, calls=("run.set_arg", "run.start"))
def output_in_a_window_of_a_window(rig: Rig) -> Iterator[Any]:
    operands, parent = rig.staged(256), rig.bo(1024)
    inner = pyxrt.bo(pyxrt.bo(parent, 512, 512), 128, 0)
    run = rig.run(operands, rig.bo(128))
    run.set_arg(4, inner)  # earlier
    run.start()  # later
    run.wait()
    inner.sync(FROM_DEVICE)
    yield None


# --- strided-write ---


@hazard(Kind.STRIDED_WRITE, "bo 2 (256 B)", (0, 256), ("", "bo.write"))
def write_of_a_transposed_array(rig: Rig) -> Iterator[Any]:
    operands = rig.bo(256)
    array = np.arange(256, dtype=np.uint8).reshape(16, 16)
    operands.write(array.T, 0)  # later
    assert (view_of(operands) == array.ravel()).all(), "the memory of the array, not transposed"
    yield None


@hazard(Kind.STRIDED_WRITE, "bo 2 (256 B)", (64, 72), ("", "bo.write"))
def write_of_every_second_element(rig: Rig) -> Iterator[Any]:
    operands = rig.bo(256)
    operands.write(np.arange(16, dtype=np.uint8)[::2], 64)  # later
    assert view_of(operands)[64:72].tolist() == list(range(8))
    yield None


@hazard(Kind.STRIDED_WRITE, "bo 2 (256 B)", (0, 8), ("", "bo.write"))
def write_of_a_broadcast_array(rig: Rig) -> Iterator[Any]:
    """One element in memory: pyxrt reads what lies behind it."""
    operands = rig.bo(256)
    operands.write(np.broadcast_to(np.uint8(7), 8), 0)  # later
    yield view_of(operands)[1:8]


@hazard(Kind.STRIDED_WRITE, "bo 2 (256 B)", (0, 8), ("", "bo.write"))
def write_of_a_reversed_array(rig: Rig) -> Iterator[Any]:
    """The first element is the last one in memory."""
    operands = rig.bo(256)
    operands.write(np.arange(8, dtype=np.uint8)[::-1], 0)  # later
    assert view_of(operands)[0] == 7
    yield view_of(operands)[1:8]


# --- what is none, although it is near ---


@correct()
def cacheable_bos_for_data(rig: Rig) -> Iterator[Any]:
    """The group of a bo decides its bank, not its kind."""
    kernel = rig.columns[0].kernel
    operands = pyxrt.bo(rig.device, 256, pyxrt.bo.cacheable, kernel.group_id(3))
    total = pyxrt.bo(rig.device, 128, pyxrt.bo.cacheable, kernel.group_id(4))
    stage(operands)
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(0))
    yield None


@correct()
def write_of_strided_arrays_with_the_same_bytes(rig: Rig) -> Iterator[Any]:
    """A column of one element each, and an array of equal values, are the same either way."""
    operands, total = rig.bo(256), rig.bo(128)
    operands.write(np.full((16, 16), 3, np.uint8).T, 0)
    operands.sync(TO_DEVICE)
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    assert (view_of(total) == 6).all()
    yield None


@correct()
def refill_after_the_wait(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    for seed in range(3):
        stage(operands, seed)
        run.start()
        run.wait()
        total.sync(FROM_DEVICE)
        np.testing.assert_array_equal(total.read(128, 0).view(np.uint8), total_of(seed))
    rig.end()
    yield


@correct()
def refill_after_the_wait_for_a_later_run(rig: Rig) -> Iterator[Any]:
    """The wait for the second shows the end of the first; its own comes once its input is new."""
    pairs = [rig.pair(0), rig.pair(1)]
    first, second = (rig.run(*pair) for pair in pairs)
    first.start()
    second.start()
    second.wait()
    view_of(pairs[0][0])[:] = content(256, 2)
    first.wait()
    for seed, (_, total) in enumerate(pairs):
        total.sync(FROM_DEVICE)
        np.testing.assert_array_equal(view_of(total), total_of(seed))
    rig.end()
    yield


@correct()
def argument_set_after_the_end_of_a_later_run_was_seen(rig: Rig) -> Iterator[Any]:
    pairs = [rig.pair(0), rig.pair(1)]
    first, second = (rig.run(*pair) for pair in pairs)
    more = rig.bo(128)
    first.start()
    second.start()
    second.wait()
    first.set_arg(4, more)
    first.wait()
    for _, total in pairs:
        total.sync(FROM_DEVICE)
    first.start()
    first.wait()
    more.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(more), total_of(0))
    rig.end()
    yield


@correct(columns=2)
def inputs_are_shared(rig: Rig) -> Iterator[Any]:
    operands = rig.staged(256)
    totals = [rig.bo(128) for _ in range(4)]
    runs = [rig.run(operands, total, column=index % 2) for index, total in enumerate(totals)]
    for run in runs:
        run.start()
    for run, total in zip(runs, totals, strict=True):
        run.wait()
        total.sync(FROM_DEVICE)
        np.testing.assert_array_equal(view_of(total), total_of(0))
    rig.end()
    yield


@correct()
def chain(rig: Rig) -> Iterator[Any]:
    column = rig.open("neg")
    operand, between, result = rig.staged(128), rig.bo(128), rig.bo(128)
    first, second = (
        rig.run(operand, between, column=column),
        rig.run(between, result, column=column),
    )
    for _ in range(3):
        first.start()
        second.start()
        second.wait()
        first.wait()
    result.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(result), content(128))
    rig.end()
    yield


@correct()
def chain_back_and_forth(rig: Rig) -> Iterator[Any]:
    """The second run writes what the first reads: one context does one after the other."""
    column = rig.open("neg")
    one, other = rig.staged(128), rig.bo(128)
    forth, back = rig.run(one, other, column=column), rig.run(other, one, column=column)
    forth.start()
    back.start()
    back.wait()
    forth.wait()
    one.sync(FROM_DEVICE)
    other.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(one), content(128))
    np.testing.assert_array_equal(view_of(other), 255 - content(128))
    rig.end()
    yield


@correct(columns=2)
def handed_to_another_context_after_the_wait(rig: Rig) -> Iterator[Any]:
    column = rig.open("neg")
    operands, total = rig.pair()
    result = rig.bo(128)
    first, second = rig.run(operands, total), rig.run(total, result, column=column)
    for _ in range(2):
        first.start()
        first.wait()
        second.start()
        second.wait()
    result.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(result), 255 - total_of(0))
    rig.end()
    yield


@correct()
def warm_up_unread(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    for _ in range(5):
        run.start()
        run.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(0))
    rig.end()
    yield


@correct()
def warm_up_with_the_same_data_staged_again(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    for _ in range(3):
        stage(operands)
        run.start()
        run.wait()
    total.sync(FROM_DEVICE)
    rig.end()
    yield


@correct()
def warm_up_by_calls(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    column = rig.columns[0]
    for _ in range(3):
        column.kernel(OPCODE, column.instructions, 16, operands, total).wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(0))
    rig.end()
    yield


@correct()
def warm_up_of_a_poisoned_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    for _ in range(3):
        view_of(total)[:] = 0x5A
        total.sync(TO_DEVICE)
        run.start()
        run.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(0))
    rig.end()
    yield


@correct()
def restaged_after_the_output_was_used(rig: Rig) -> Iterator[Any]:
    column = rig.open("neg")
    operand, between, result = rig.staged(128), rig.bo(128), rig.bo(128)
    first, second = (
        rig.run(operand, between, column=column),
        rig.run(between, result, column=column),
    )
    for seed in range(3):
        stage(operand, seed)
        first.start()
        second.start()
        second.wait()
        first.wait()
        result.sync(FROM_DEVICE)
        np.testing.assert_array_equal(view_of(result), content(128, seed))
    rig.end()
    yield


@correct()
def prefetch_of_other_data_while_an_output_is_unread(rig: Rig) -> Iterator[Any]:
    """Double-buffered: the next input is staged and its run started before the last is read."""
    pairs = [rig.pair(0), rig.pair(1)]
    runs = [rig.run(*pair) for pair in pairs]
    runs[0].start()
    for tile in range(1, 6):
        mine, last = tile % 2, 1 - tile % 2
        stage(pairs[mine][0], tile)
        runs[mine].start()
        runs[last].wait()
        pairs[last][1].sync(FROM_DEVICE)
        np.testing.assert_array_equal(view_of(pairs[last][1]), total_of(tile - 1))
    runs[1].wait()
    pairs[1][1].sync(FROM_DEVICE)
    rig.end()
    yield


@correct()
def runlist_of_aligned_windows(rig: Rig) -> Iterator[Any]:
    inputs, outputs = rig.bo(768), rig.bo(384)
    windows = [(pyxrt.bo(inputs, 256, 256 * i), pyxrt.bo(outputs, 128, 128 * i)) for i in range(3)]
    members = [rig.run(*pair) for pair in windows]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    for seed in range(3):
        for index, (data, _) in enumerate(windows):
            view_of(data)[:] = content(256, seed + index)
        inputs.sync(TO_DEVICE)
        runlist.execute()
        runlist.wait()
        outputs.sync(FROM_DEVICE)
        for index, (_, total) in enumerate(windows):
            np.testing.assert_array_equal(view_of(total), total_of(seed + index))
    runlist.execute()
    runlist.wait()
    runlist.execute()
    runlist.wait()
    outputs.sync(FROM_DEVICE)
    rig.end()
    yield


@correct()
def outputs_of_a_batch_taken_one_by_one(rig: Rig) -> Iterator[Any]:
    """In an order other than they were launched in."""
    inputs, outputs = rig.staged(768), rig.bo(384)
    windows = [(pyxrt.bo(inputs, 256, 256 * i), pyxrt.bo(outputs, 128, 128 * i)) for i in range(3)]
    members = [rig.run(*pair) for pair in windows]
    runlist = pyxrt.runlist(rig.columns[0].context)
    for member in members:
        runlist.add(member)
    runlist.execute()
    runlist.wait()
    for index in (2, 0, 1):
        windows[index][1].sync(FROM_DEVICE)
        windows[index][1].read(128, 0)
    rig.end()
    yield


@correct()
def window_outlives_its_parent(rig: Rig) -> Iterator[Any]:
    parent, total = rig.staged(512), rig.bo(128)
    half = pyxrt.bo(parent, 256, 0)
    run = rig.run(half, total)
    run.start()
    del parent
    run.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(0))
    yield


@correct()
def bos_freed_after_the_wait(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    del operands, total
    rig.end()
    yield run


@correct()
def sync_of_bos_without_a_run(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    other, more = rig.bo(100), rig.bo(64)
    run = rig.run(operands, total)
    run.start()
    other.sync(FROM_DEVICE)
    more.sync(TO_DEVICE, 10, 3)
    other.write(b"abc", 0)
    more.read(64, 0)
    run.wait()
    total.sync(FROM_DEVICE)
    rig.end()
    yield


@correct()
def partial_syncs_cover_an_output(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE, 28, 100)
    total.sync(FROM_DEVICE, 60, 0)
    total.sync(FROM_DEVICE, 40, 60)
    np.testing.assert_array_equal(total.read(128, 0).view(np.uint8), total_of(0))
    rig.end()
    yield


@correct()
def a_sync_of_a_byte_moves_its_line(rig: Rig) -> Iterator[Any]:
    """Whole lines are made equal: a byte of each of the two is enough."""
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE, 1, 0)
    total.sync(FROM_DEVICE, 1, 127)
    np.testing.assert_array_equal(total.read(128, 0).view(np.uint8), total_of(0))
    rig.end()
    yield


@correct()
def sync_beside_an_input_in_flight(rig: Rig) -> Iterator[Any]:
    """The host has not changed the input's share of the line, so it is written back as it is."""
    parent, total = rig.staged(512), rig.bo(128)
    used, free = pyxrt.bo(parent, 256, 32), pyxrt.bo(parent, 128, 288)
    run = rig.run(used, total)
    run.start()
    view_of(free)[:] = 7
    free.sync(TO_DEVICE)
    run.wait()
    total.sync(FROM_DEVICE)
    data = content(512)[32:288].astype(np.uint8)
    np.testing.assert_array_equal(view_of(total), data[:128] + data[128:])
    rig.end()
    yield


@correct()
def change_of_a_window_beside_the_one_in_flight(rig: Rig) -> Iterator[Any]:
    """What is outside the run's argument is free, and so is the part the kernel does not take."""
    parent, total = rig.staged(512), rig.bo(192)
    run = rig.run(parent, total)
    run.start()
    parent.write(bytes(256), 256)
    parent.sync(TO_DEVICE, 256, 256)
    total.write(bytes(64), 128)
    run.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total)[:128], total_of(0))
    rig.end()
    yield


@correct()
def window_of_a_window_at_offset_zero(rig: Rig) -> Iterator[Any]:
    parent, total = rig.staged(512), rig.bo(128)
    inner = pyxrt.bo(pyxrt.bo(parent, 512, 0), 256, 256)
    run = rig.run(inner, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    data = content(512)[256:].astype(np.uint8)
    np.testing.assert_array_equal(view_of(total), data[:128] + data[128:])
    rig.end()
    yield


@correct()
def window_of_a_window_that_only_the_host_uses(rig: Rig) -> Iterator[Any]:
    parent, total = rig.bo(512), rig.bo(128)
    outer = pyxrt.bo(parent, 256, 256)
    inner = pyxrt.bo(outer, 128, 128)
    view_of(outer)[:] = content(256)
    inner.sync(TO_DEVICE)
    outer.sync(TO_DEVICE, 128, 0)
    run = rig.run(outer, total)
    run.start()
    run.wait()
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(0))
    rig.end()
    yield


@correct(faults=Faults(error=[0]))
def failed_run_repeated(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    assert run.wait() is STATE.ERT_CMD_STATE_ERROR
    stage(operands, 1)
    arguments = OPCODE, rig.columns[0].instructions, 16, operands, total
    for index, value in enumerate(arguments):
        run.set_arg(index, value)
    run.start()
    assert run.wait() is COMPLETED
    total.sync(FROM_DEVICE)
    np.testing.assert_array_equal(view_of(total), total_of(1))
    rig.end()
    yield


@correct(faults=Faults(error=[0]))
def failed_output_left_alone(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    run.wait()
    rig.end()
    del total
    yield


@correct(columns=4, **SLOW)
def polling(rig: Rig) -> Iterator[Any]:
    pairs = [rig.pair(seed) for seed in range(4)]
    runs = [rig.run(*pair, column=index) for index, pair in enumerate(pairs)]
    for run in runs:
        run.start()
    left = set(range(4))
    while left:
        for index in list(left):
            if runs[index].state() is COMPLETED:
                left.remove(index)
                pairs[index][1].sync(FROM_DEVICE)
                np.testing.assert_array_equal(view_of(pairs[index][1]), total_of(index))
        rig.machine.clock.now_ns += 100_000
    rig.end()
    yield


@correct()
def read_of_an_input_in_flight(rig: Rig) -> Iterator[Any]:
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    np.testing.assert_array_equal(operands.read(256, 0).view(np.uint8), content(256))
    run.wait()
    total.sync(FROM_DEVICE)
    rig.end()
    yield


@correct()
def written_by_runs_and_host_in_turn(rig: Rig) -> Iterator[Any]:
    """One bo is an output first, then an input that the host fills, then an output again."""
    column = rig.open("neg")
    one, other = rig.staged(128), rig.bo(128)
    forth, back = rig.run(one, other, column=column), rig.run(other, one, column=column)
    forth.start()
    forth.wait()
    other.sync(FROM_DEVICE)
    stage(other, 3)
    back.start()
    back.wait()
    one.sync(FROM_DEVICE)
    np.testing.assert_array_equal(one.read(128, 0).view(np.uint8), 255 - content(128, 3))
    rig.end()
    yield


# --- the tests ---


@pytest.mark.parametrize("expected", SCRIPTS, ids=[each.script.__name__ for each in SCRIPTS])
def test_hazard(expected: Expected) -> None:
    rig = Rig(expected.columns, **expected.profile)
    GONE.extend([rig] * expected.aborts)
    found, shown = play(expected.script, rig)
    assert {each.kind for each in found} == {expected.kind}, [str(each) for each in found]
    (only,) = found
    own = str(Path(__file__).name)
    for call, mark, what in zip(
        (only.earlier, only.later), ("earlier", "later"), expected.calls, strict=True
    ):
        line = marked(expected.script, mark)
        if line is not None:
            assert call is not None, mark
            assert (Path(call.file).name, call.line) == (own, line), f"{mark}: {call}"
            assert Path(call.file).resolve() == Path(__file__).resolve()
        if what and call and what not in LAUNCHES:
            assert what in call.what, f"{mark}: {call}"
    if expected.calls[0] and marked(expected.script, "earlier"):
        assert only.earlier is not None
        assert only.earlier.now_ns <= only.later.now_ns
    if expected.bo:
        assert only.bo == expected.bo
    if expected.span:
        assert (only.low, only.high) == expected.span
    assert only.count == 1 or not expected.bo
    assert expected.kind.value in str(only)
    if shown is not None:
        assert (shown == UNDEFINED).all(), shown
    assert bool(rig.machine.aborted) == expected.aborts


@pytest.mark.parametrize(
    ("script", "columns", "profile"), CORRECT, ids=[each[0].__name__ for each in CORRECT]
)
def test_no_hazard(script: Script, columns: int, profile: dict[str, Any]) -> None:
    found, _ = play(script, Rig(columns, **profile))
    assert not found, [str(each) for each in found]


@pytest.mark.parametrize("expected", SCRIPTS, ids=[each.script.__name__ for each in SCRIPTS])
def test_off_reports_nothing(expected: Expected) -> None:
    rig = Rig(expected.columns, **expected.profile, hazards=Hazards.off)
    GONE.extend([rig] * expected.aborts)
    playing = expected.script(rig)
    next(playing)
    lengths = [(len(each.host), len(each.device)) for each in rig.machine.memories.values()]
    close(playing)
    assert all(host == device for host, device in lengths), "no copy has grown"
    assert rig.machine.sanitizer is None
    assert rig.take() == []
    assert bool(rig.machine.aborted) == expected.aborts, "XRT aborts the process that looks"


def test_every_kind_is_covered() -> None:
    assert {each.kind for each in SCRIPTS} == set(Kind)


def test_a_conflict_in_a_loop_is_reported_once_and_counted() -> None:
    rig = Rig()
    operands, total = rig.pair(seed=10)
    run = rig.run(operands, total)
    for seed in range(10):
        operands.write(content(256, seed).astype(np.uint8), 0)
        run.start()
        run.wait()
        total.sync(FROM_DEVICE)
    (only,) = rig.take()
    assert (only.kind, only.count) == (Kind.NOT_SYNCED, 10)
    assert rig.take() == [], "taken once"


def test_places_are_distinguished() -> None:
    rig = Rig()
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    operands.write(b"\0", 0)
    operands.write(b"\0", 1)
    for index in range(3):
        operands.write(b"\0", index)
    run.wait()
    total.sync(FROM_DEVICE)
    found = rig.take()
    assert [each.count for each in found] == [1, 1, 3]
    assert len({each.later.line for each in found}) == 3


def test_hazards_are_bounded() -> None:
    """Of a program that clashes at every line."""
    rig = Rig()
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    text = "operands.write(b'0', 0)\n" * 5000
    exec(compile(text, "generated.py", "exec"), {"operands": operands})
    run.wait()
    total.sync(FROM_DEVICE)
    found = rig.take()
    assert 1 <= len(found) <= 1000
    assert found[0].later.file == "generated.py"
    assert [each.later.line for each in found[:20]] == list(range(1, 21)), "the first ones are kept"


def test_a_dropped_run_aborts_the_process() -> None:
    rig = Rig()
    operands, total = rig.pair()
    run = rig.run(operands, total)
    run.start()
    del run
    assert [each.kind for each in rig.take()] == [Kind.RUN_DROPPED]
    assert rig.machine.aborted
    with pytest.raises(ProcessAborted):
        total.sync(FROM_DEVICE)


def test_destructors_are_quiet_once_the_process_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bos that a run in flight uses, freed after another run was dropped."""
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda each: said.append(repr(each.exc_value)))
    rig = Rig()
    pairs = [rig.pair(0), rig.pair(1)]
    runs = [rig.run(*pair) for pair in pairs]
    for run in runs:
        run.start()
    del run, runs[1]
    assert rig.machine.aborted
    del pairs
    gc.collect()
    assert not said


def test_the_run_is_named() -> None:
    rig = Rig(contexts=2)
    operands, total = rig.pair()
    run = rig.run(operands, total, column=1)
    run.start()
    operands.write(b"\0", 0)
    run.wait()
    total.sync(FROM_DEVICE)
    (only,) = rig.take()
    assert "add" in only.run
    assert "context 1" in only.run
