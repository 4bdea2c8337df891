"""A hazard: two calls that leave the content of a buffer to chance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Classes of hazards, by what they are called in reports; `explanation` says what is wrong with it."""

    explanation: str

    def __new__(cls, name: str, explanation: str) -> Kind:
        """A member whose value is its name, with an explanation beside it."""
        member = object.__new__(cls)
        member._value_ = name
        member.explanation = explanation
        return member

    WRITE_IN_FLIGHT = "write-in-flight", "the host wrote or synced a bo that a run in flight uses"
    SHARED_OUTPUT = (
        "shared-output",
        "two runs in flight write the same bytes: the first output is lost",
    )
    OVERLAP = "overlap", "sub-buffers of runs in flight overlap, and one of them is written"
    UNORDERED = (
        "unordered",
        "runs in flight on different contexts use the same bytes, and one of them writes",
    )
    READ_BEFORE_COMPLETION = (
        "read-before-completion",
        "an output was read or synced before its run was seen to complete",
    )
    NOT_SYNCED = (
        "not-synced",
        "a run was launched on bytes that the host had written and not synced to the device",
    )
    STALE_READ = "stale-read", "an output was read without a sync from the device"
    FREED_IN_FLIGHT = "freed-in-flight", "a bo was freed while a run in flight uses it"
    MISALIGNED_SYNC = (
        "misaligned-sync",
        "a sync of part of a cache line touched bytes that a run in flight uses",
    )
    FAILED_OUTPUT = "failed-output", "an output was used although its run did not complete"
    NEVER_READ = (
        "output-never-read",
        "an output was never synced from the device: its result is lost",
    )
    UNSET_ARGUMENT = (
        "unset-argument",
        "a run was launched with an argument that was not set, or too small",
    )
    WRONG_BANK = (
        "wrong-bank",
        "a bo in another memory bank: XRT silently binds a copy, and the output lands in it",
    )
    NESTED_SUB_BUFFER = (
        "nested-sub-buffer",
        "a sub-buffer of a sub-buffer: the device address loses the outer offset",
    )
    ARGUMENT_IN_FLIGHT = "argument-in-flight", "an argument of a run was set while it was in flight"
    RUN_DROPPED = (
        "run-dropped",
        "a run was dropped before its completion was seen: XRT aborts the process",
    )


@dataclass(frozen=True)
class Call:
    """One call of the pyxrt API: what was called, from where, at what time of the device's clock.

    line: 0 where `file` tells the place in words.
    """

    what: str
    file: str
    line: int
    now_ns: int

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{self.what} at {place} ({self.now_ns / 1e6:.3f} ms)"


@dataclass(frozen=True)
class Hazard:
    """`earlier` and `later` are the calls that do not go together; bytes `low` to `high` of `bo`, end excluded.

    earlier: None where what is wrong is that a call is missing. run: the run concerned. count: how often these two
    places in the program clashed.
    """

    kind: Kind
    bo: str
    low: int
    high: int
    run: str
    earlier: Call | None
    later: Call
    count: int = 1

    def __str__(self) -> str:
        after = f", after {self.earlier}" if self.earlier else ""
        span = f", bytes {self.low} to {self.high}" if self.high else ""
        return f"{self.kind.value}: {self.later}{after}: {self.bo}{span}, {self.run}"
