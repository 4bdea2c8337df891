"""Opens a real NPU: XRT's pyxrt and the host's clock."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from harness.config.device import Device, Hardware
from harness.device.backend import MONOTONIC, Capabilities
from harness.device.clock import HostClock
from harness.device.host.locks import opening
from harness.device.host.power import power_mode
from harness.device.host.state import read_state
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.files import check_names, columns_of, kernel_files
from harness.device.xrt.open_devices import OpenDevices, process_devices
from harness.device.xrt.pyxrt_api import PyXrt
from harness.device.xrt.wait import pause_host
from harness.errors import RequestError
from harness.kernel import KernelSpec


def open_backend(
    device: Device,
    specs: Sequence[KernelSpec] = (),
    computes: bool = True,
    devices: OpenDevices = process_devices,
) -> XrtBackend:
    """Open the NPU that `device` names and lock it for this process.

    specs, computes: not used; hardware runs any kernel and always computes. RequestError if the
    device is missing or another process has it.
    """
    assert isinstance(device, Hardware)
    # Before the device is opened and locked, which lasts until the process ends.
    check_names(device)
    pyxrt = _import_pyxrt()
    handle = devices.handle(device.index, pyxrt.device)
    return XrtBackend(
        pyxrt=pyxrt,
        device=handle,
        clock=HostClock(),
        pause=pause_host,
        # pyxrt has runlists since June 2025.
        capabilities=Capabilities(MONOTONIC, device.columns, batches=hasattr(pyxrt, "runlist")),
        find_files=partial(kernel_files, device),
        columns_of=columns_of,
        opening=partial(opening, device.index),
        power=partial(power_mode, device.power_mode, device.index),
        read_state=partial(read_state, device.index, pyxrt, handle),
        devices=devices,
    )


def _import_pyxrt() -> PyXrt:
    try:
        import pyxrt
    except ImportError as error:
        raise RequestError(
            f"device=hardware: pyxrt cannot be imported ({error}); install XRT's Python package "
            "for this Python and source its setup script, or use device=simulator; "
            "python -m harness doctor looks for the reason"
        ) from error
    module: PyXrt = pyxrt
    return module
