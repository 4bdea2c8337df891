"""Hazards: uses of a buffer whose result depends on timing, or is wrong on real hardware."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The classes of hazards.

    value: the name in reports and records. explanation: what is wrong. remedy: what to change in
    the program.
    """

    explanation: str
    remedy: str

    # A value that is the name alone lets a record refer to a member by Kind("overlap").
    def __new__(cls, name: str, explanation: str, remedy: str) -> Kind:
        """Create a member whose value is `name`."""
        member = object.__new__(cls)
        member._value_ = name
        member.explanation = explanation
        member.remedy = remedy
        return member

    WRITE_IN_FLIGHT = (
        "write-in-flight",
        "the host wrote or synced a bo while a run in flight was using it",
        "wait for the run before the write, or give each run in flight bos of its own",
    )
    SHARED_OUTPUT = (
        "shared-output",
        "two runs in flight write the same bytes: the first output is lost",
        "give each run in flight an output bo of its own, or read the first output before the "
        "second launch",
    )
    OVERLAP = (
        "overlap",
        "two runs in flight write sub-buffers that overlap: one overwrites a part of the other",
        "choose offsets and sizes of the sub-buffers so that they do not overlap",
    )
    # amdxdna orders the commands of one context only (xdna-driver, drivers/accel/amdxdna).
    UNORDERED = (
        "unordered",
        "runs on different contexts use the same bytes, one of them writes, and nothing orders "
        "the two",
        "wait for the first run before the launch of the second, or use one context for both: it "
        "executes in order",
    )
    READ_BEFORE_COMPLETION = (
        "read-before-completion",
        "an output was read or synced before the program had waited for its run",
        "wait for the run, then sync its output from the device, then read it",
    )
    NOT_SYNCED = (
        "not-synced",
        "a run was launched on bytes that the host had written but not synced to the device",
        "sync the bo to the device (XCL_BO_SYNC_BO_TO_DEVICE) between the write and the launch",
    )
    STALE_READ = (
        "stale-read",
        "the host read an output without a sync from the device, and so read old bytes",
        "sync the bo from the device (XCL_BO_SYNC_BO_FROM_DEVICE) between the wait and the read",
    )
    # xrt::run holds no reference to its bos (XRT, xrt_kernel.cpp); only the program's own keep
    # them.
    FREED_IN_FLIGHT = (
        "freed-in-flight",
        "a bo was freed while a run in flight was using it",
        "keep a reference to the bo until the program has waited for the run",
    )
    MISALIGNED_SYNC = (
        "misaligned-sync",
        "a sync moves whole cache lines: it also moved other bytes of a line, which a run uses",
        "start each buffer at a multiple of 64 bytes, so that no two share a cache line",
    )
    FAILED_OUTPUT = (
        "failed-output",
        "an output was used although its run did not complete",
        "use an output only if the state of its run is ERT_CMD_STATE_COMPLETED",
    )
    NEVER_READ = (
        "output-never-read",
        "an output was never synced from the device before it was overwritten, freed or left: "
        "its result is lost",
        "sync the output from the device after the wait and before the next launch on its bo",
    )
    UNSET_ARGUMENT = (
        "unset-argument",
        "a run was launched with an argument that was not set, or with a bo that is too small",
        "set every argument of the kernel before the launch, each to a bo of the size it uses",
    )
    WRONG_BANK = (
        "wrong-bank",
        "the bo is not in the argument's memory bank: kernel() ignores XRT's error, and the kernel "
        "gets address 0",
        "allocate the bo with kernel.group_id(index of the argument)",
    )
    # pyxrt.cpp: bo.write(info.ptr, info.itemsize * info.size, seek).
    STRIDED_WRITE = (
        "strided-write",
        "bo.write copies the memory behind an array's first element and ignores its strides: the "
        "bytes are not those of the array",
        "write numpy.ascontiguousarray(array)",
    )
    # XRT #9952, reported for npu4.
    NESTED_SUB_BUFFER = (
        "nested-sub-buffer",
        "a sub-buffer of a sub-buffer: its device address loses the outer offset",
        "create the sub-buffer from the root bo, with the sum of both offsets",
    )
    ARGUMENT_IN_FLIGHT = (
        "argument-in-flight",
        "an argument of a run was set while the run was in flight",
        "wait for the run before set_arg, or use another run object",
    )
    # ~run_impl calls abort() in XRT since March 2026 (xrt_kernel.cpp).
    RUN_DROPPED = (
        "run-dropped",
        "a run object was deleted before its completion was seen: XRT aborts the process",
        "keep a reference to the run until the program has waited for it",
    )


@dataclass(frozen=True)
class Call:
    """One call of the pyxrt API: its name, its place in the program, and the time of the clock.

    line: 0 if `file` describes the place in words.
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
    """One hazard: the two calls that conflict, and the bytes `low` to `high` (excluded) of `bo`.

    earlier: None if the fault is a missing call. run: the run that uses the bytes; empty if the
    fault concerns none. count: how often these two places in the program conflicted.
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
        run = f", {self.run}" if self.run else ""
        return f"{self.kind.value}: {self.later}{after}: {self.bo}{span}{run}"
