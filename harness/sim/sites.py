"""Finds the place in the program from which a call of the pyxrt API was made."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeAlias

from harness.hazard import Call

Site: TypeAlias = tuple[CodeType, int, int]
"""Place and time of a call: code object, instruction in it, ns. Cheap to store; `call_of` converts
it to a line of a file."""
INSIDE = {str(path) for path in Path(__file__).parent.glob("*.py")}
"""Files of the simulator itself."""


def caller(frame: FrameType) -> FrameType:
    """Return the innermost frame, from `frame` outwards, that is not in the simulator itself."""
    while frame.f_code.co_filename in INSIDE and frame.f_back:
        frame = frame.f_back
    return frame


def here(now_ns: int) -> Site:
    """Return the place of the present call: its caller outside the simulator."""
    frame = caller(sys._getframe(1))
    return frame.f_code, frame.f_lasti, now_ns


def call_of(site: Site, what: str) -> Call:
    """Convert a stored place into a call with file and line; `what` is the name of the call."""
    code, instruction, now_ns = site
    lines = (each for first, end, each in code.co_lines() if first <= instruction < end)
    line = next(lines, None) or code.co_firstlineno
    return Call(what, _short_path(code.co_filename), line, now_ns)


def present_call(now_ns: int, how: str) -> Call:
    """Return the API call that is being executed. Its name is `how` and the method's name."""
    frame = sys._getframe(1)
    name = ""
    while frame.f_code.co_filename in INSIDE and frame.f_back:
        # `CallLog.wrap` puts a local function around every method.
        if "<locals>" not in frame.f_code.co_qualname:
            name = frame.f_code.co_qualname
        frame = frame.f_back
    what = how + name.replace(".__call__", "()")
    return Call(what, _short_path(frame.f_code.co_filename), frame.f_lineno, now_ns)


def _short_path(file: str) -> str:
    """Shorten a path below the current folder to a relative one."""
    return file.removeprefix(f"{Path.cwd()}{os.sep}")
