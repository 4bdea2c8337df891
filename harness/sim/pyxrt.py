"""The pyxrt API over a simulated machine; names, argument orders and values as in XRT's own module.

`plug(machine)` is to this module what the driver is to the real one: `device(0)` is the machine plugged last.
"""

from __future__ import annotations

from harness.sim.buffers import bo
from harness.sim.enums import ert_cmd_state, xclBOSyncDirection
from harness.sim.execution import run, runlist
from harness.sim.platform import device, hw_context, kernel, plug, xclbin

__all__ = [
    "bo",
    "device",
    "ert_cmd_state",
    "hw_context",
    "kernel",
    "plug",
    "run",
    "runlist",
    "xclBOSyncDirection",
    "xclbin",
]
