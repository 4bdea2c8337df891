"""Keeps which calls of the pyxrt API a program makes, how often, and what each costs."""

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
"""Calls kept one by one at the most, 40 MB of them; beyond that they are only counted."""
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
"""The parts of the work that calls belong to."""
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
"""Call, begin, end (ns), and where the program made it: code and instruction."""


def stage_of(call: str) -> str:
    """The one of STAGES that a call belongs to."""
    return _STAGES.get(call, STAGES[0])


class CallLog:
    """counts, totals_ns: by call, in the order first made. spans: the first MOST_CALLS calls."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._inside = False
        self._lock = (
            threading.RLock()
        )  # pyxrt holds the GIL: a call is over before another thread's begins
        self.counts: dict[str, int] = {}
        self.totals_ns: dict[str, int] = {}
        self.spans: list[Span] = []

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, kept count of (if it has a name) when the program itself calls it."""
        machine = self._machine

        @wraps(function)
        def counted(*given: Any, **named: Any) -> Any:
            with self._lock:
                if self._inside or not name or isinstance(machine.clock, DeadClock):
                    return function(*given, **named)
                self._inside, begin_ns = True, machine.clock.now_ns
                try:
                    return function(*given, **named)
                finally:
                    self._inside = False
                    end_ns = (
                        begin_ns if isinstance(machine.clock, DeadClock) else machine.clock.now_ns
                    )
                    frame = sys._getframe(1)
                    self._keep(_told(name, given), begin_ns, end_ns, frame.f_code, frame.f_lasti)

        return counted

    def _keep(
        self, call: str, begin_ns: int, end_ns: int, code: CodeType, instruction: int
    ) -> None:
        self.counts[call] = self.counts.get(call, 0) + 1
        self.totals_ns[call] = self.totals_ns.get(call, 0) + end_ns - begin_ns
        if len(self.spans) < MOST_CALLS:
            self.spans.append((call, begin_ns, end_ns, code, instruction))


@contextmanager
def log_calls(machine: Machine) -> Iterator[CallLog]:
    """Record every call of the API while it lasts."""
    recorder = CallLog(machine)
    before: list[tuple[type, str, Any]] = []
    for cls in _CLASSES:
        for name, function in list(vars(cls).items()):
            special = {"__init__": cls.__name__, "__call__": f"{cls.__name__}()", "__del__": ""}
            if (
                callable(function)
                and not isinstance(function, type)
                and (name in special or name[0] != "_")
            ):
                before.append((cls, name, function))
                setattr(
                    cls, name, recorder.wrap(special.get(name, f"{cls.__name__}.{name}"), function)
                )
    try:
        yield recorder
    finally:
        for cls, name, function in before:
            setattr(cls, name, function)


def _told(name: str, given: tuple[Any, ...]) -> str:
    """The name of a call, with the direction of a sync."""
    if name == "bo.sync" and len(given) > 1 and isinstance(given[1], xclBOSyncDirection):
        return f"bo.sync({given[1]._name_.removeprefix('XCL_BO_SYNC_BO_')})"
    return name
