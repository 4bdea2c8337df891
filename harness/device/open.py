"""Opens the device that a configuration describes.

A backend is a module with `open_backend(device, specs, computes)`, named by the device's `kind`; it is imported when it
is first needed. Nothing above this package can tell one backend from another, and none stands in for another.
"""

from __future__ import annotations

from importlib import import_module

from harness.config.device import Device
from harness.device.backend import Backend, Opener
from harness.kernel import KernelSpec

BACKENDS = {
    "hardware": "harness.device.xrt.hardware",
    "simulator": "harness.device.xrt.simulated",
}
"""By `device.kind`: the module that opens it."""


def open_backend(device: Device, *specs: KernelSpec, computes: bool = True) -> Backend:
    """The device that `device` describes, able to run `specs`.

    computes: whether simulated kernels do their arithmetic or only take their time; hardware always computes.
    RequestError where the device cannot be had, or cannot run one of the kernels.
    """
    opener: Opener = import_module(BACKENDS[device.kind]).open_backend
    return opener(device, specs, computes)
