"""XRT's errors: which exceptions are its own, and what their texts usually mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.errors import DeviceCallError

XRT_ERRORS = (RuntimeError, MemoryError)
"""What pyxrt raises once its arguments are right: C++ exceptions, and std::bad_alloc."""
FAILED_LIST = "runlist failed execution"
"""XRT's word for a runlist that has ended, one of its runs having failed (xrt_kernel.cpp)."""
ENDS = {
    "ERT_CMD_STATE_ERROR": "the firmware reports that the kernel failed",
    "ERT_CMD_STATE_ABORT": (
        "aborted: a run before it hung, the device was lost, or firmware and driver do not match"
    ),
    "ERT_CMD_STATE_TIMEOUT": (
        "stopped by the driver's watchdog, which saw no progress (tdr_timeout_ms of amdxdna, 2 s)"
    ),
    "ERT_CMD_STATE_NORESPONSE": "the firmware does not answer; reload the amdxdna driver",
}
"""What a state that is not COMPLETED means."""
NO_CONTEXT = (
    "no context or column is free, of 6 on Phoenix over all processes; "
    "xrt-smi examine -r aie-partitions tells"
)
MAILBOX = (
    "the firmware's mailbox is broken; reload the amdxdna driver, or power the machine off and on"
)
ERRNO = {
    ("CREATE_HWCTX", 2): NO_CONTEXT,
    ("CREATE_HWCTX", 19): NO_CONTEXT,
    ("CREATE_HWCTX", 22): NO_CONTEXT,
    ("CREATE_BO", 12): "out of memory for bos; ulimit -l bounds it",
    ("EXEC_CMD", 5): MAILBOX,
    ("EXEC_CMD", 19): "the device is lost",
}
"""What an errno of an ioctl usually means; older drivers write it with, newer ones without a sign."""


def explained(error: BaseException, unended: Sequence[str] = ()) -> str:
    """XRT's text, and what the errno or the state in it usually means.

    unended: kernels of this process whose runs never ended, which still hold contexts.
    """
    text = str(error)
    errno = re.search(r"AMDXDNA_(\w+) IOCTL.*err=-?(\d+)", text)
    state = re.search(r"ERT_CMD_STATE_\w+", text)
    meaning = ENDS.get(state[0]) if state else None
    if errno:
        meaning = ERRNO.get((errno[1], int(errno[2])))
    if not meaning or meaning in text:
        return text
    if errno and unended:
        meaning += f"; runs of this process that never ended hold contexts: {', '.join(unended)}"
    return f"{text} ({meaning})"


def call_failed(error: BaseException, unended: Sequence[str] = ()) -> DeviceCallError:
    """The error that a failed call of pyxrt is to the rest of the harness."""
    return DeviceCallError(explained(error, unended))
