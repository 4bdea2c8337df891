"""The pyxrt API of a simulated machine: names, argument orders, values and errors of pyxrt 2.25.

`harness.sim.device.plug` takes the place of the driver: `device(0)` opens the machine that was
plugged last.
"""

from __future__ import annotations

from typing import NoReturn

from harness.sim.bo import bo
from harness.sim.device import device, enumerate_devices, hw_context, log_message
from harness.sim.enums import ert_cmd_state, xclBOSyncDirection, xrt_info_device, xrt_msg_level
from harness.sim.run import kernel, run
from harness.sim.runlist import runlist
from harness.sim.xclbin import uuid, xclbin

XCL_BO_FLAGS_NONE = 0
# pybind11 exports the members of an unscoped C enumeration into its module too.
emergency, alert, critical, error = (
    xrt_msg_level.emergency,
    xrt_msg_level.alert,
    xrt_msg_level.critical,
    xrt_msg_level.error,
)
warning, notice, info, debug = (
    xrt_msg_level.warning,
    xrt_msg_level.notice,
    xrt_msg_level.info,
    xrt_msg_level.debug,
)

__all__ = [
    "XCL_BO_FLAGS_NONE",
    "alert",
    "bo",
    "critical",
    "debug",
    "device",
    "emergency",
    "enumerate_devices",
    "error",
    "ert_cmd_state",
    "hw_context",
    "info",
    "kernel",
    "log_message",
    "notice",
    "run",
    "runlist",
    "uuid",
    "warning",
    "xclBOSyncDirection",
    "xclbin",
    "xrt_info_device",
    "xrt_msg_level",
]


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"module 'pyxrt' has no attribute '{name}' in the simulator, which has: "
        f"{', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return __all__
