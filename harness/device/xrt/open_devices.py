"""Device handles, their locks, and runs that never ended: all live as long as the process."""

from __future__ import annotations

import ctypes
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from harness.device.host.locks import DeviceLock, lock_device
from harness.device.xrt.failures import XRT_ERRORS
from harness.device.xrt.pyxrt_api import XrtDevice
from harness.errors import RequestError

OPEN_ATTEMPTS, OPEN_PAUSE_S = 5, 1
"""After attempt n, wait for n seconds, as mlir-aie's host runtime does."""
T = TypeVar("T")
log = logging.getLogger(__name__)


class OpenDevices:
    """One locked handle per device of this process, and the runs that must never be destroyed.

    Closing the last handle closes the device, and opening it again may fail (mlir-aie,
    hostruntime.py). So handles and locks are held until the process ends.
    """

    def __init__(self) -> None:
        self._handles: dict[int, tuple[XrtDevice, DeviceLock]] = {}
        self._stuck_kernels: dict[str, None] = {}

    @property
    def stuck_kernels(self) -> list[str]:
        """Names of kernels with a run that the harness stopped waiting for, each once."""
        return list(self._stuck_kernels)

    def handle(self, index: int, open_device: Callable[[int], XrtDevice]) -> XrtDevice:
        """The handle of device `index`, which is locked for this process.

        RequestError if another process has the device or XRT cannot open it.
        """
        if index not in self._handles:
            lock = lock_device(index)
            try:
                self._handles[index] = _retry(lambda: open_device(index)), lock
            except BaseException as error:
                # Another process may be able to use the device.
                lock.release()
                if type(error) not in XRT_ERRORS:
                    raise
                raise RequestError(
                    f"device=hardware device.index={index}: XRT cannot open this device "
                    f"({str(error).strip()}); python -m harness doctor looks for the reason; "
                    "device=simulator works without an NPU"
                ) from error
        return self._handles[index][0]

    def never_drop(self, owner: object, kernel: str) -> None:
        """Never destroy `owner`, not even when the interpreter exits.

        XRT aborts a process that destroys a run in flight. kernel: name, for messages.
        """
        self._stuck_kernels[kernel] = None
        # Python clears module globals at exit, but not an object with an extra reference.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


def _retry(attempt: Callable[[], T]) -> T:
    """Result of `attempt`; repeated while another process uses or closes the device."""
    for number in range(1, OPEN_ATTEMPTS):
        try:
            return attempt()
        except RuntimeError as error:
            # EBUSY: another process has the device open. ENODEV: it is being closed.
            if not re.search(r"err=-?(16|19)\b", str(error)):
                raise
            pause_s = number * OPEN_PAUSE_S
            log.warning("the device cannot be opened (%s); trying again in %d s", error, pause_s)
            time.sleep(pause_s)
    return attempt()


process_devices = OpenDevices()
"""The devices of this process, which may open each device only once."""
