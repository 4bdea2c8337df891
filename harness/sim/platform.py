"""Device, xclbin, hardware context and kernel, as pyxrt has them."""

from __future__ import annotations

from pathlib import Path

from harness.sim.machine import Image, Machine

FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 of every kernel are opcode, instructions and their size."""

_machines: list[Machine] = []


def plug(machine: Machine) -> None:
    """Make `machine` the one that `device(0)` opens."""
    _machines[:] = [machine]


class device:
    """An open device."""

    def __init__(self, index: int = 0) -> None:
        if not 0 <= index < len(_machines):
            raise RuntimeError(f"No such device with index '{index}'")
        self._machine = _machines[index]
        self._machine.advance(self._machine.profile.device_open_ns)

    def register_xclbin(self, image: xclbin) -> str:
        """Make an xclbin known to the device; returns its uuid."""
        self._machine.images[image.get_uuid()] = image._image
        return image.get_uuid()


class xclbin:
    """An xclbin file: here, the kernel that the machine knows the path to stand for."""

    class xclbinkernel:
        """One kernel of an xclbin."""

        def __init__(self, image: Image) -> None:
            self._image = image

        def get_name(self) -> str:
            """Name, as `kernel(context, name)` takes it."""
            return self._image.spec.name

        def get_num_args(self) -> int:
            """Number of arguments, opcode and instructions included."""
            return FIRST_DATA_ARGUMENT + len(self._image.spec.inputs) + 1

    def __init__(self, path: str) -> None:
        images = _machines[0].images if _machines else {}
        if path not in images:
            raise RuntimeError(f"No such file '{path}'")
        self._image = images[path]
        self._uuid = f"uuid:{Path(path).name}"

    def get_kernels(self) -> list[xclbinkernel]:
        """The kernels inside."""
        return [self.xclbinkernel(self._image)]

    def get_uuid(self) -> str:
        """Identity of the file."""
        return self._uuid


class hw_context:
    """A hardware context on one column of the device."""

    def __init__(self, opened: device, uuid: str) -> None:
        self._machine = opened._machine
        self._image = self._machine.images[uuid]
        context = self._machine.open_context()
        if context is None:
            raise RuntimeError("DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument")
        self._context = context
        self._machine.advance(self._machine.profile.context_open_ns)

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self._machine.close_context(self._context)


class kernel:
    """A kernel of a context's xclbin."""

    def __init__(self, context: hw_context, name: str) -> None:
        if name != context._image.spec.name:
            raise RuntimeError(f"No such kernel '{name}'")
        self._hw_context = context
        self._machine = context._machine
        self._image = context._image
        self._exec_ns = self._machine.profile.exec_of(name)

    def group_id(self, index: int) -> int:
        """Memory bank of argument `index`: 1 for the instructions, 65535 (none) for scalars, else 0."""
        return {0: 65535, 1: 1, 2: 65535}.get(index, 0)
