"""Opens the device that a configuration describes.

A backend is a module with `open_backend(device, specs, computes)`. The class of the device's
settings names it, and it is imported on first use. If a backend cannot be opened, that is an error:
the harness never falls back to another one.
"""

from __future__ import annotations

from importlib import import_module

from harness.config.device import Device
from harness.device.backend import Backend, Opener
from harness.kernel import KernelSpec


def open_backend(device: Device, *specs: KernelSpec, computes: bool = True) -> Backend:
    """Open the device that `device` describes, for running `specs`.

    computes: whether simulated kernels compute their outputs, or only take their time; hardware
    always computes. RequestError if the device cannot be opened or cannot run one of the kernels.
    """
    opener: Opener = import_module(device.backend).open_backend
    return opener(device, specs, computes)
