"""Sets the NPU's power mode for the duration of a run, and restores the previous mode."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from harness.config.device import PowerMode
from harness.device.host import smi, sysfs
from harness.device.host.state import read_state
from harness.device.interrupt import Interrupt
from harness.errors import DeviceError, RequestError

log = logging.getLogger("harness")

BY_HAND = (
    "run as root with no other process on the NPU, or set it by hand "
    "(sudo xrt-smi configure --pmode {}) and leave device.power_mode out"
)


@contextmanager
def power_mode(mode: PowerMode | None, index: int) -> Iterator[None]:
    """Hold the device with XRT's index `index` in a power mode.

    None, or the mode that is already set, changes nothing. The previous mode is restored at the
    end of the body, whether it returns or raises. Ctrl-C is delayed while a mode is being changed;
    if it comes just before, the mode is restored when the process exits. SIGKILL leaves the mode
    changed. Enter before contexts are opened: Linux's own driver refuses turbo while any context
    is open (aie2_pm.c).

    RequestError if the mode cannot be set, or if the present mode cannot be read, so that it could
    not be restored. DeviceError if the mode could not be restored after a body without errors.
    """
    if mode is None:
        yield
        return
    address = sysfs.bdf(index)
    before = read_state(index).power_mode
    # Nothing to change, so root is not needed.
    if before == mode.value:
        yield
        return
    if before is None or before not in PowerMode.__members__:
        raise RequestError(
            f"device.power_mode={mode.value}: the present mode cannot be read "
            f"({before or _no_reading()}), so it could not be restored; source XRT's setup script, "
            "which puts xrt-smi on PATH, or leave device.power_mode out"
        )
    previous = _PreviousMode(before, address)
    try:
        with Interrupt().held():
            _enter(mode.value, index, previous)
        yield
    except BaseException as error:
        try:
            previous.restore()
        except DeviceError as failure:
            # The first error is the one to report; this one must not replace it.
            error.add_note(str(failure))
            log.error("%s", failure)
        raise
    previous.restore()


class _PreviousMode:
    """Restores the previous mode once, at the latest when the process exits."""

    def __init__(self, mode: str, address: str | None) -> None:
        self.mode = mode
        self._address = address
        self._changed = False

    def change(self, mode: str) -> None:
        """Request another mode, and register the restoration of the previous one."""
        # Before the call: xrt-smi may change the mode and still report an error.
        self._changed = True
        atexit.register(self.restore)
        smi.set_power_mode(mode, self._address)

    def restore(self) -> None:
        """Restore the previous mode, if it was changed; DeviceError if that fails."""
        with Interrupt().held():
            if not self._changed:
                return
            self._changed = False
            atexit.unregister(self.restore)
            try:
                smi.set_power_mode(self.mode, self._address)
            except smi.SmiError as error:
                raise DeviceError(
                    f"device.power_mode: the previous mode, {self.mode}, was not restored "
                    f"({error}); set it by hand: sudo xrt-smi configure --pmode {self.mode}"
                ) from error

    def cancel(self) -> None:
        """Do not restore: the mode was not changed."""
        self._changed = False
        atexit.unregister(self.restore)


def _enter(mode: str, index: int, previous: _PreviousMode) -> None:
    """Change the mode and check that it has changed; RequestError if not."""
    try:
        previous.change(mode)
    except smi.SmiError as error:
        # After a timeout the mode may have changed all the same, and must then be restored.
        if read_state(index).power_mode == previous.mode:
            previous.cancel()
        raise RequestError(
            f"device.power_mode={mode}: xrt-smi: {error}; {BY_HAND.format(mode)}"
        ) from error
    reached = read_state(index).power_mode
    # Drivers of 2024 reported success and did not change the mode (xdna-driver #186).
    if reached not in (mode, None):
        raise RequestError(
            f"device.power_mode={mode}: xrt-smi: no error, but the mode is {reached}; "
            "update the amdxdna driver, or leave device.power_mode out"
        )


def _no_reading() -> str:
    return "xrt-smi reports none" if smi.find() else "xrt-smi is not on PATH"
