"""What must outlive those who opened it: handles of devices with their locks, and runs that never ended."""

from __future__ import annotations

import ctypes
import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from harness.device.host.locks import DeviceLock, lock_device
from harness.device.xrt.pyxrt_api import XrtDevice
from harness.errors import RequestError

OPEN_ATTEMPTS, OPEN_PAUSE_S = 5, 1
"""As mlir-aie's host runtime waits for a device: n seconds after attempt n."""
T = TypeVar("T")
log = logging.getLogger(__name__)


class OpenDevices:
    """The handles of devices that a process has, one each, locked for it; and the runs it must never drop.

    Closing the last handle closes the device, and reopening it may fail (mlir-aie, hostruntime.py): so handles and
    locks are held until the process ends. unended: kernels of runs that were never seen to end.
    """

    def __init__(self) -> None:
        self._handles: dict[int, tuple[XrtDevice, DeviceLock]] = {}
        self.unended: list[str] = []

    def handle(self, index: int, open_device: Callable[[int], XrtDevice]) -> XrtDevice:
        """Device `index`, locked for this process.

        RequestError where another process has it or XRT opens no such device.
        """
        if index not in self._handles:
            lock = lock_device(index)
            try:
                self._handles[index] = _retried(lambda: open_device(index)), lock
            except RuntimeError as error:
                lock.release()
                raise RequestError(
                    f"device=hardware device.index={index}: XRT opens no such device "
                    f"({str(error).strip()}); python -m harness.commands.doctor looks for the reason; "
                    "device=simulator needs none"
                ) from error
        return self._handles[index][0]

    def never_drop(self, owner: object, kernel: str) -> None:
        """Keep `owner` even beyond the interpreter's end.

        XRT aborts the process that destroys a run in flight.
        """
        self.unended.append(kernel)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(owner))


def _retried(attempt: Callable[[], T]) -> T:
    """What `attempt` returns; repeated while the device is busy or being closed by another process."""
    for number in range(1, OPEN_ATTEMPTS):
        try:
            return attempt()
        except RuntimeError as error:
            if not re.search(r"err=-?(16|19)\b", str(error)):  # EBUSY, ENODEV
                raise
            pause_s = number * OPEN_PAUSE_S
            log.warning("the device cannot be opened (%s); trying again in %d s", error, pause_s)
            time.sleep(pause_s)
    return attempt()


process_devices = OpenDevices()
"""The devices of this process: one handle of a device may exist in it."""
