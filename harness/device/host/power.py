"""The NPU's power mode for the time of a run, and what it was before, afterwards."""

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
    "run as root with nothing else on the NPU, or set it by hand (sudo xrt-smi configure --pmode {}) and leave "
    "device.power_mode out"
)


@contextmanager
def power_mode(wanted: PowerMode | None, index: int) -> Iterator[None]:
    """Hold the device that XRT counts as `index` in a power mode; None, or the mode it is in, changes nothing.

    The mode that was found is restored however the body ends; Ctrl-C waits while a mode is being changed, and where it
    hits the moment before, the end of the process restores it. A process that a signal kills leaves the mode. Enter
    before contexts are opened: Linux's own driver refuses turbo while there are any (aie2_pm.c). RequestError: the mode
    can't be had, or none can be read that could be restored. DeviceError, after a body that ended well: it was not
    restored.
    """
    if wanted is None:
        yield
        return
    address = sysfs.bdf(index)
    before = read_state(index).power_mode
    if before == wanted.value:
        yield
        return
    if before is None or before not in PowerMode.__members__:
        raise RequestError(
            f"device.power_mode={wanted.value}: the present mode cannot be read ({before or _no_reading()}), so it "
            "could not be restored; source XRT's setup script, which puts xrt-smi on PATH, or leave "
            "device.power_mode out"
        )
    keeper = _Keeper(before, address)
    try:
        with Interrupt().held():
            _enter(wanted.value, index, keeper)
        yield
    except BaseException as error:
        try:
            keeper.restore()
        except DeviceError as failure:
            error.add_note(str(failure))
            log.error("%s", failure)
        raise
    keeper.restore()


class _Keeper:
    """Restores a mode, once; at the end of the process at the latest."""

    def __init__(self, mode: str, address: str | None) -> None:
        self.mode = mode
        self._address = address
        self._changed = False

    def change(self, mode: str) -> None:
        """Request a mode; from here on there is something to restore."""
        self._changed = True
        atexit.register(self.restore)
        smi.set_power_mode(mode, self._address)

    def restore(self) -> None:
        """Go back, if not yet done; DeviceError where that fails."""
        with Interrupt().held():
            if not self._changed:
                return
            self._changed = False
            atexit.unregister(self.restore)
            try:
                smi.set_power_mode(self.mode, self._address)
            except smi.SmiError as error:
                raise DeviceError(
                    f"device.power_mode: {self.mode}, the mode before, was not restored ({error}); "
                    f"set it by hand: sudo xrt-smi configure --pmode {self.mode}"
                ) from error

    def forget(self) -> None:
        """Nothing was changed."""
        self._changed = False
        atexit.unregister(self.restore)


def _enter(mode: str, index: int, keeper: _Keeper) -> None:
    try:
        keeper.change(mode)
    except smi.SmiError as error:
        if (
            read_state(index).power_mode == keeper.mode
        ):  # refused, as against an answer that came too late
            keeper.forget()
        raise RequestError(
            f"device.power_mode={mode}: xrt-smi: {error}; {BY_HAND.format(mode)}"
        ) from error
    reached = read_state(index).power_mode
    if reached not in (mode, None):  # drivers of 2024 said yes and did nothing (xdna-driver #186)
        raise RequestError(
            f"device.power_mode={mode}: xrt-smi: no error, but the mode is {reached}; update the amdxdna driver, or "
            "leave device.power_mode out"
        )


def _no_reading() -> str:
    return "xrt-smi reports none" if smi.find() else "xrt-smi is not on PATH"
