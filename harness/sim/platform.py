"""Device, uuid, xclbin and hardware context, as pyxrt has them."""

from __future__ import annotations

import json
import logging
import uuid as uuids
import warnings
from typing import Any

from harness.sim import axlf, enums
from harness.sim.bound import UINT32, Bound, incompatible, is_int, keywords
from harness.sim.contexts import Context
from harness.sim.enums import xrt_info_device, xrt_msg_level
from harness.sim.images import Image, read_images
from harness.sim.machine import Machine

_LOG_LEVELS = {level: 10 * max(1, 5 - max(0, int(level) - 2)) for level in xrt_msg_level}
log = logging.getLogger("pyxrt")
_machines: list[Machine] = []


def plug(machine: Machine) -> None:
    """Make `machine` the one that `device(0)` opens."""
    _machines[:] = [machine]


def enumerate_devices() -> int:
    """Number of devices."""
    return len(_machines)


def log_message(level: xrt_msg_level, tag: str, message: str) -> None:
    """Write to XRT's log: here, Python's own."""
    log.log(_LOG_LEVELS[level], "[%s] %s", tag, message)


class uuid(Bound):
    """Identity of an xclbin."""

    def __init__(self, text: str, /) -> None:
        if not isinstance(text, str):
            raise incompatible("__init__", ("pyxrt.uuid(arg0: str)",), (text,))
        self._text = text

    def to_string(self) -> str:
        """The canonical text."""
        return self._text


class xclbin(Bound):
    """An xclbin file: what its metadata tells, and the kernels that the machine knows its path to stand for."""

    class xclbinkernel(Bound):
        """One kernel of an xclbin."""

        def __init__(self, image: Image) -> None:
            self._image = image

        def get_name(self) -> str:
            """Name, as `kernel(context, name)` takes it."""
            return self._image.name

        def get_num_args(self) -> int:
            """Number of arguments, opcode and instructions included."""
            return len(self._image.banks)

    class xclbinmem(Bound):
        """A memory bank."""

        def __init__(self, bank: axlf.Bank, index: int) -> None:
            self._bank, self._index = bank, index

        def get_tag(self) -> str:
            """Name."""
            return self._bank.tag

        def get_base_address(self) -> int:
            """Address of its first byte."""
            return self._bank.base_address

        def get_size_kb(self) -> int:
            """Size in KiB."""
            return self._bank.size_kb

        def get_used(self) -> bool:
            """Whether a kernel uses it."""
            return self._bank.used

        def get_index(self) -> int:
            """Its number, as group ids count."""
            return self._index

    def __init__(self, *path: str) -> None:
        self._images: list[Image] = []
        self._container: axlf.Container | None = None
        self._uuid = uuid(str(uuids.UUID(int=0)))
        if not path:
            return
        if len(path) > 1 or not isinstance(path[0], str):
            raise incompatible(
                "__init__", ("pyxrt.xclbin()", "pyxrt.xclbin(arg0: str)", "pyxrt.xclbin(arg0: axlf)"), path
            )
        if not path[0]:
            raise RuntimeError("No xclbin specified")
        if not _machines:
            raise RuntimeError("no simulated device is plugged in")
        self._images, self._container = read_images(_machines[0], path[0])
        self._uuid = uuid(self._container.uuid if self._container else str(uuids.uuid5(uuids.NAMESPACE_URL, path[0])))

    def get_kernels(self) -> list[xclbinkernel]:
        """The kernels inside."""
        return [self.xclbinkernel(image) for image in self._images]

    def get_mems(self) -> list[xclbinmem]:
        """The memory banks that it declares."""
        banks = self._container.banks if self._container else ()
        return [self.xclbinmem(bank, index) for index, bank in enumerate(banks)]

    def get_xsa_name(self) -> str:
        """The platform it was built for."""
        return self._container.xsa_name if self._container else ""

    def get_uuid(self) -> uuid:
        """Identity of the file."""
        return self._uuid

    def get_axlf(self) -> None:
        """Cannot be called from Python: pyxrt knows no type for what it returns."""
        raise TypeError(
            "Unable to convert function return value to a Python type! The signature was\n\t"
            "(self: pyxrt.xclbin) -> axlf"
        )


class device(Bound):
    """An open device."""

    def __init__(self, *given: int | str, **named: int | str) -> None:
        if not given and not named:
            return
        forms = "pyxrt.device()", "pyxrt.device(index: int)", "pyxrt.device(bdf: str)"
        (value,) = keywords(given, named, ("index",)) or keywords(given, named, ("bdf",)) or (None,)
        if not isinstance(value, str) and not is_int(value, UINT32):
            raise incompatible("__init__", forms, given)
        if isinstance(value, str) and not value.isdigit():
            if not value:
                raise ValueError("stoul")
            bdfs = [_bdf(machine) for machine in _machines]
            if value not in bdfs:
                raise RuntimeError(f"No such device '{value}': Invalid argument")
            value = bdfs.index(value)
        if int(value) >= len(_machines):
            raise RuntimeError(f" No such device with index '{value}'")
        self._machine = _machines[int(value)]
        self._known: dict[str, xclbin] = {}
        self._loaded = uuid(str(uuids.UUID(int=0)))
        self._machine.clock.now_ns += self._machine.profile.device_open_ns

    def register_xclbin(self, xclbin: xclbin) -> uuid:
        """Make an xclbin known to the device; returns its uuid."""
        if not isinstance(xclbin, _xclbin):
            raise incompatible(
                "register_xclbin", ("(self: pyxrt.device, xclbin: xrt::xclbin) -> pyxrt.uuid",), (self, xclbin)
            )
        self._known[xclbin.get_uuid().to_string()] = xclbin
        return xclbin.get_uuid()

    def load_xclbin(self, xclbin: xclbin | str) -> uuid:
        """The older way to say the same."""
        warnings.warn(
            "pyxrt.device.load_xclbin() is deprecated; use pyxrt.hw_context(device, xclbin) or "
            "pyxrt.hw_context(device, xclbin_path) instead",
            DeprecationWarning,
            stacklevel=2,
        )
        self._loaded = self.register_xclbin(_xclbin(xclbin) if isinstance(xclbin, str) else xclbin)
        return self._loaded

    def get_xclbin_uuid(self) -> uuid:
        """The xclbin loaded the older way, or the null uuid."""
        return self._loaded

    def get_info(self, key: Any, /) -> str:
        """A property as text; RuntimeError for those that an NPU does not have."""
        if not isinstance(key, xrt_info_device):
            raise incompatible("get_info", ("(self: pyxrt.device, arg0: pyxrt.xrt_info_device) -> str",), (self, key))
        profile = self._machine.profile
        known: dict[str, str] = {
            "bdf": _bdf(self._machine),
            "name": "RyzenAI-npu1",
            "kdma": "0",
            "m2m": "0",
            "platform": json.dumps(
                {
                    "platforms": [
                        {
                            "static_region": {"name": "RyzenAI-npu1", "total_columns": str(profile.columns + 1)},
                            "status": {"power_mode": profile.power_mode.value},
                        }
                    ]
                }
            ),
            **dict.fromkeys(("electrical", "thermal", "mechanical", "host", "memory"), "{}"),
        }
        name = key._name_
        if name not in known:
            raise RuntimeError(f"query request for '{name}' is not supported on this device")
        return known[name]


def _bdf(machine: Machine) -> str:
    return f"0000:c5:00.{_machines.index(machine)}"


class hw_context(Bound):
    """A hardware context on a partition of the device: its kernels, their queue, and their place."""

    _device: device
    _xclbin: xclbin
    _context: Context

    access_mode = enums.access_mode
    exclusive, shared = enums.access_mode.exclusive, enums.access_mode.shared

    def __init__(self, *given: Any, **named: Any) -> None:
        if not given and not named:
            return
        values: tuple[Any, ...] = ()
        for second in ("uuid", "xclbin", "xclbin_path"):
            for third in ("mode", "cfg_param"):
                values = values or keywords(given, named, ("device", second, third)) or ()
        opened, what, option = (*values, None, None, None)[:3]
        right = isinstance(opened, device) and isinstance(what, uuid | xclbin | str) and len(values) in (2, 3)
        if not right or not isinstance(option, enums.access_mode | dict | None):
            raise incompatible("__init__", _CONTEXT_FORMS, given)
        if isinstance(what, str):
            what = xclbin(what)
        if isinstance(what, xclbin):
            what = opened.register_xclbin(what)
        if what.to_string() not in opened._known:
            raise RuntimeError(f"No xclbin with uuid '{what.to_string()}' is registered with the device")
        self._device, self._machine = opened, opened._machine
        self._xclbin = opened._known[what.to_string()]
        self._mode = option if isinstance(option, enums.access_mode) else enums.access_mode.shared
        self._context = self._machine.open_context(self._xclbin._images)
        self._machine.clock.now_ns += self._machine.profile.context_open_ns

    def __del__(self) -> None:
        if "_context" in self.__dict__:
            self._machine.close_context(self._context)

    def get_device(self) -> device:
        """The device it was made on."""
        return self._device

    def get_mode(self) -> enums.access_mode:
        """How it is shared."""
        return self._mode

    def get_xclbin(self) -> xclbin:
        """The xclbin it was made for."""
        return self._xclbin

    def get_xclbin_uuid(self) -> uuid:
        """Identity of that."""
        return self._xclbin.get_uuid()

    def add_config(self, elf: Any) -> None:
        """Takes a pyxrt.elf, of which the simulator has none."""
        raise incompatible("add_config", ("(self: pyxrt.hw_context, elf: xrt::elf) -> None",), (self, elf))


_CONTEXT_FORMS = (
    "pyxrt.hw_context()",
    *(
        f"pyxrt.hw_context(device: xrt::device, {what}{option})"
        for what in ("uuid: pyxrt.uuid", "xclbin: xrt::xclbin", "xclbin_path: str")
        for option in ("", ", mode: pyxrt.hw_context.access_mode", ", cfg_param: collections.abc.Mapping[str, int]")
    ),
)
_xclbin = xclbin  # pyxrt has parameters of that name
