"""XRT's errors: the exceptions that XRT raises, and what their texts usually mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.errors import DeviceCallError

XRT_ERRORS = (RuntimeError, MemoryError)
"""Exceptions of pyxrt calls with correct arguments: C++ exceptions, and std::bad_alloc."""
FAILED_LIST = "runlist failed execution"
"""Text of XRT's error for a runlist that has ended with a failed run (xrt_kernel.cpp)."""
IN_FLIGHT_LIST = "(ERT_CMD_STATE_NEW)"
"""In that text: a signal has ended the wait, and the runlist is still in flight (XRT 2.25)."""
ENDS = {
    "ERT_CMD_STATE_ERROR": "the firmware reports that the kernel failed",
    "ERT_CMD_STATE_ABORT": (
        "aborted: a run before it hung, the device was lost, or firmware and driver do not match"
    ),
    "ERT_CMD_STATE_TIMEOUT": (
        "stopped by the driver's watchdog after 2 s without progress; tdr_timeout_ms of amdxdna "
        "sets this time"
    ),
    "ERT_CMD_STATE_NORESPONSE": "the firmware does not answer; reload the amdxdna driver",
}
"""Meaning of the states in which a run can end other than COMPLETED."""
NO_CONTEXT = (
    "no context or column is free; Phoenix has 6 contexts for all processes; "
    "xrt-smi examine -r aie-partitions lists them"
)
MAILBOX = (
    "the firmware's mailbox is broken; reload the amdxdna driver, or power the machine off and on"
)
ERRNO = {
    # 2: older drivers. 19: no partition of that width (aie2_solver.c). 22: the firmware has no
    # context left (MGMT_ERT_NOAVAIL, aie.c).
    ("CREATE_HWCTX", 2): NO_CONTEXT,
    ("CREATE_HWCTX", 19): NO_CONTEXT,
    ("CREATE_HWCTX", 22): NO_CONTEXT,
    ("CREATE_BO", 12): "out of memory for bos; ulimit -l limits it",
    # Seen on Phoenix after two processes had opened contexts at the same time (mlir-air #1809).
    ("EXEC_CMD", 5): MAILBOX,
    ("EXEC_CMD", 19): "the device is lost",
}
"""Usual meaning of an ioctl's errno; the message has a minus sign before it in old drivers only."""


def explanation(error: BaseException, stuck_kernels: Sequence[str] = ()) -> str:
    """XRT's text, and the usual meaning of the errno or state in it.

    stuck_kernels: kernels of this process whose runs never ended and so still hold contexts.
    """
    text = str(error)
    errno = re.search(r"AMDXDNA_(\w+) IOCTL.*err=-?(\d+)", text)
    state = re.search(r"ERT_CMD_STATE_\w+", text)
    meaning = ENDS.get(state[0]) if state else None
    if errno:
        meaning = ERRNO.get((errno[1], int(errno[2])))
    if not meaning or meaning in text:
        return text
    if errno and stuck_kernels:
        names = ", ".join(stuck_kernels)
        meaning += f"; runs of this process that never ended hold contexts: {names}"
    return f"{text} ({meaning})"


def call_error(error: BaseException, stuck_kernels: Sequence[str] = ()) -> DeviceCallError:
    """The DeviceCallError to raise for a failed call of pyxrt.

    Raises `error` itself if pyxrt cannot have raised it: a subclass, such as RecursionError, comes
    from our own code around the call.
    """
    if type(error) not in XRT_ERRORS:
        raise error
    return DeviceCallError(explanation(error, stuck_kernels))
