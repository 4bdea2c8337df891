"""Records which calls of the pyxrt API a program makes, how often, and how long each takes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import CodeType
from typing import Any

from harness.sim import pyxrt
from harness.sim.clock import DeadClock
from harness.sim.enums import xclBOSyncDirection
from harness.sim.machine import Machine

MOST_CALLS = 200_000
"""Most calls that are stored one by one, about 40 MB; later calls are only counted."""
_CLASSES: tuple[type, ...] = (
    pyxrt.device,
    pyxrt.xclbin,
    pyxrt.hw_context,
    pyxrt.kernel,
    pyxrt.run,
    pyxrt.runlist,
    pyxrt.bo,
)
STAGES = ("open", "alloc", "write", "launch", "wait", "read")
"""Stages of the host's work, in the order of a table."""
_STAGES = {
    "bo": "alloc",
    "bo.write": "write",
    "bo.sync(TO_DEVICE)": "write",
    "kernel()": "launch",
    "run.start": "launch",
    "runlist.execute": "launch",
    "run.wait": "wait",
    "run.wait2": "wait",
    "run.state": "wait",
    "runlist.wait": "wait",
    "bo.sync(FROM_DEVICE)": "read",
    "bo.read": "read",
}
Span = tuple[str, int, int, CodeType, int]
"""One call: name, begin and end in ns, and the place in the program: code object, instruction."""


def stage_of(call: str) -> str:
    """Return the member of STAGES that a call belongs to; "open" for all other calls."""
    return _STAGES.get(call, STAGES[0])


class CallLog:
    """The calls of one program.

    counts, totals_ns: by call name, in the order of the first calls. spans: the first MOST_CALLS
    calls, one by one.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._inside = False
        # pyxrt holds the GIL during a call, so the calls of two threads never overlap.
        self._lock = threading.RLock()
        self.counts: dict[str, int] = {}
        self.totals_ns: dict[str, int] = {}
        self.spans: list[Span] = []

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with recording added, under `name`.

        Calls that the simulator makes itself are not recorded. An empty name, which `__del__` has,
        records nothing, but the calls inside it count as the simulator's.
        """
        machine = self._machine

        @wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                if self._inside or not name or isinstance(machine.clock, DeadClock):
                    return function(*args, **kwargs)
                self._inside, begin_ns = True, machine.clock.now_ns
                try:
                    return function(*args, **kwargs)
                finally:
                    self._inside = False
                    # A dead clock raises whenever it is read.
                    end_ns = (
                        begin_ns if isinstance(machine.clock, DeadClock) else machine.clock.now_ns
                    )
                    frame = sys._getframe(1)
                    call = _call_name(name, args)
                    self._store(call, begin_ns, end_ns, frame.f_code, frame.f_lasti)

        return recorded

    def _store(
        self, call: str, begin_ns: int, end_ns: int, code: CodeType, instruction: int
    ) -> None:
        self.counts[call] = self.counts.get(call, 0) + 1
        self.totals_ns[call] = self.totals_ns.get(call, 0) + end_ns - begin_ns
        if len(self.spans) < MOST_CALLS:
            self.spans.append((call, begin_ns, end_ns, code, instruction))


@contextmanager
def log_calls(machine: Machine) -> Iterator[CallLog]:
    """Record every call of the pyxrt classes inside the `with` block."""
    log = CallLog(machine)
    originals: list[tuple[type, str, Any]] = []
    for cls in _CLASSES:
        special = {"__init__": cls.__name__, "__call__": f"{cls.__name__}()", "__del__": ""}
        for name, function in list(vars(cls).items()):
            # Enumerations in a class, such as `bo.flags`, are classes and have to stay what they
            # are.
            if not callable(function) or isinstance(function, type):
                continue
            if name in special or name[0] != "_":
                originals.append((cls, name, function))
                # `bo(...)` is the call of a program, `bo.__init__` is not.
                call = special.get(name, f"{cls.__name__}.{name}")
                setattr(cls, name, log.wrap(call, function))
    try:
        yield log
    finally:
        for cls, name, function in originals:
            setattr(cls, name, function)


def _call_name(name: str, args: tuple[Any, ...]) -> str:
    """Add the direction to the name of a sync."""
    if name == "bo.sync" and len(args) > 1 and isinstance(args[1], xclBOSyncDirection):
        return f"bo.sync({args[1]._name_.removeprefix('XCL_BO_SYNC_BO_')})"
    return name
