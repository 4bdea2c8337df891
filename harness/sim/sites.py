"""Where in the program a call of the API came from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeAlias

from harness.sim.hazard import Call

Site: TypeAlias = tuple[CodeType, int, int]
"""Code object, instruction in it, time in ns: what can be kept of a call at no cost; `call_of` makes it readable."""
INSIDE = {str(path) for path in Path(__file__).parent.glob("*.py")}


def caller(frame: FrameType) -> FrameType:
    """The innermost frame, from `frame` outwards, that is not of the simulator itself."""
    while frame.f_code.co_filename in INSIDE and frame.f_back:
        frame = frame.f_back
    return frame


def here(now_ns: int) -> Site:
    """The present call, by its caller outside the simulator."""
    frame = caller(sys._getframe(1))
    return frame.f_code, frame.f_lasti, now_ns


def call_of(site: Site, what: str) -> Call:
    """A kept call, readable."""
    code, instruction, now_ns = site
    lines = (line for first, end, line in code.co_lines() if first <= instruction < end)
    return Call(what, _shown(code.co_filename), next(lines, None) or code.co_firstlineno, now_ns)


def present_call(now_ns: int, how: str) -> Call:
    """The call of the API that is under way: `how` and its name, from where the program made it."""
    frame = sys._getframe(1)
    name = ""
    while frame.f_code.co_filename in INSIDE and frame.f_back:
        if "<locals>" not in frame.f_code.co_qualname:  # the recorder's
            name = frame.f_code.co_qualname
        frame = frame.f_back
    return Call(
        how + name.replace(".__call__", "()"),
        _shown(frame.f_code.co_filename),
        frame.f_lineno,
        now_ns,
    )


def _shown(file: str) -> str:
    """A path as short as it can be told."""
    return file.removeprefix(f"{Path.cwd()}{os.sep}")
