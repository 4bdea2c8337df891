"""`pyxrt.device` and `pyxrt.hw_context`."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping
from typing import Any

from harness.sim import enums
from harness.sim.enums import xrt_info_device, xrt_msg_level
from harness.sim.machine import Machine
from harness.sim.pybind import (
    UINT32,
    UINT64,
    PybindObject,
    as_text,
    incompatible,
    is_int,
    keywords,
    single,
)
from harness.sim.queue import Context
from harness.sim.xclbin import machines, uuid, xclbin

_LOG_LEVELS = {
    # XRT counts from 0 (emergency) up to 7 (debug), logging from 50 down: 0 to 2 are CRITICAL.
    level: 10 * max(1, 5 - max(0, int(level) - 2))
    for level in xrt_msg_level.__members__.values()
}
_EMPTY_PROPERTIES = "electrical", "thermal", "mechanical", "host", "memory", "pcie_info", "vmr"
"""Properties whose content is not simulated."""
_PROPERTY_ERRORS = {
    "kdma": "bad any_cast",
    **{
        name: f"No such query request ({number})"
        for name, number in {
            "interface_uuid": 185,
            "max_clock_frequency_mhz": 72,
            "nodma": 70,
            "offline": 180,
        }.items()
    },
}
"""What XRT 2.25 raises for a Phoenix NPU."""
log = logging.getLogger("pyxrt")


def plug(machine: Machine) -> None:
    """Make `machine` the only device, which `device(0)` opens."""
    # In place, because other modules import the list by name.
    machines[:] = [machine]


def enumerate_devices() -> int:
    """Return the number of devices."""
    return len(machines)


def log_message(level: xrt_msg_level, tag: str, message: str, /) -> None:
    """Write to XRT's log: in the simulator, to the logger `pyxrt`."""
    if not isinstance(level, xrt_msg_level) or as_text(tag) is None or as_text(message) is None:
        form = "(arg0: pyxrt.xrt_msg_level, arg1: str, arg2: str) -> None"
        raise incompatible("log_message", (form,), (level, tag, message))
    log.log(_LOG_LEVELS.get(level, logging.DEBUG), "[%s] %s", as_text(tag), as_text(message))


class device(PybindObject):
    """An open device."""

    def __init__(self, *args: int | str, **kwargs: int | str) -> None:
        # Without arguments, pyxrt creates a null object.
        if not args and not kwargs:
            return
        index, text = single(args, kwargs, "index"), as_text(single(args, kwargs, "bdf"))
        if text is None:
            if not is_int(index, UINT32):
                forms = "pyxrt.device()", "pyxrt.device(index: int)", "pyxrt.device(bdf: str)"
                raise incompatible("__init__", forms, args, kwargs)
            number = int(index)
        else:
            number = _index_of(text)
        if number >= len(machines):
            raise RuntimeError(f" No such device with index '{number}'")
        self._machine = machines[number]
        self._known: dict[str, xclbin] = {}
        self._machine.open_device()

    def __del__(self) -> None:
        if "_machine" in self.__dict__:
            self._machine.devices -= 1

    def register_xclbin(self, xclbin: xclbin) -> uuid:
        """Register an xclbin with the device, and return its uuid."""
        if not isinstance(xclbin, _xclbin):
            raise incompatible(
                "register_xclbin",
                ("(self: pyxrt.device, xclbin: xrt::xclbin) -> pyxrt.uuid",),
                (self, xclbin),
            )
        self._known[xclbin.get_uuid().to_string()] = xclbin
        return xclbin.get_uuid()

    def load_xclbin(self, *args: xclbin | str, **kwargs: xclbin | str) -> uuid:
        """Raise RuntimeError, after a warning: NPUs have no such call (pyxrt.cpp).

        A path must be that of an xclbin, else the error is about the file.
        """
        text, loaded = as_text(single(args, kwargs, "xclbin_path")), single(args, kwargs, "xclbin")
        if text is None and not isinstance(loaded, xclbin):
            forms = "xclbin_path: str", "xclbin: xrt::xclbin"
            signatures = tuple(f"(self: pyxrt.device, {form}) -> pyxrt.uuid" for form in forms)
            raise incompatible("load_xclbin", signatures, (self, *args), kwargs)
        warnings.warn(
            "pyxrt.device.load_xclbin() is deprecated; use pyxrt.hw_context(device, xclbin) or "
            "pyxrt.hw_context(device, xclbin_path) instead",
            DeprecationWarning,
            stacklevel=2,
        )
        if text is not None:
            xclbin(text)
        # A null object crashes before.
        self._machine  # noqa: B018
        raise RuntimeError("xrtDeviceLoadXclbin failed in load_xclbin compatibility shim")

    def get_xclbin_uuid(self) -> uuid:
        """Return the null uuid: no xclbin can be loaded with `load_xclbin`."""
        # A null object crashes.
        self._machine  # noqa: B018
        return uuid("")

    def get_info(self, key: Any, /) -> str:
        """Return a property as text; RuntimeError with XRT's text for what an NPU does not have."""
        if not isinstance(key, xrt_info_device):
            raise incompatible(
                "get_info",
                ("(self: pyxrt.device, arg0: pyxrt.xrt_info_device) -> str",),
                (self, key),
            )
        profile = self._machine.profile
        model, hidden = profile.generation.device_name, profile.generation.hidden_columns
        region = {"name": model, "total_columns": str(profile.columns + hidden)}
        status = {"power_mode": profile.power_mode.value}
        platforms = [{"static_region": region, "status": status}]
        properties: dict[str, str] = {
            "bdf": _bdf(self._machine),
            "name": model,
            "m2m": "0",
            "dynamic_regions": json.dumps({"dynamic_regions": ""}),
            "platform": json.dumps({"platforms": platforms}),
            **dict.fromkeys(_EMPTY_PROPERTIES, "{}"),
        }
        name = key._name_
        if name not in properties:
            raise RuntimeError(_PROPERTY_ERRORS[name])
        return properties[name]


def _bdf(machine: Machine) -> str:
    return f"0000:c5:00.{machines.index(machine)}"


def _index_of(text: str) -> int:
    """Return the index of the device whose index or PCI address is `text`.

    The errors are those of C++'s std::stoul, with which XRT reads it.
    """
    if not text:
        raise ValueError("stoul")
    if not text.isdecimal():
        addresses = [_bdf(machine) for machine in machines]
        if text not in addresses:
            raise RuntimeError(f"No such device '{text}': Invalid argument")
        return addresses.index(text)
    if int(text) > UINT64[1]:
        raise IndexError("stoul")
    return int(text)


class hw_context(PybindObject):
    """A hardware context: the kernels of one xclbin, and their queue on a partition of columns."""

    _device: device
    _xclbin: xclbin
    _context: Context

    access_mode = enums.access_mode
    exclusive, shared = enums.access_mode.exclusive, enums.access_mode.shared

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not args and not kwargs:
            return
        opened, what, option = _context_arguments(args, kwargs)
        if isinstance(what, str):
            what = xclbin(what)
        if isinstance(what, xclbin):
            what = opened.register_xclbin(what)
        if what.to_string() not in opened._known:
            raise RuntimeError(f"No xclbin with uuid '{what.to_string()}': Invalid argument")
        self._device, self._machine = opened, opened._machine
        self._xclbin = opened._known[what.to_string()]
        self._mode = option if isinstance(option, enums.access_mode) else enums.access_mode.shared
        self._context = self._machine.open_context(self._xclbin._models)
        # After `open_context`: one that is refused takes no time.
        self._machine.clock.now_ns += self._machine.profile.context_open_ns

    def __del__(self) -> None:
        if "_context" in self.__dict__:
            self._machine.close_context(self._context)

    def get_device(self) -> device:
        """Return the device of the context."""
        return self._device

    def get_mode(self) -> enums.access_mode:
        """Return the access mode; NPUs ignore it."""
        return self._mode

    def get_xclbin(self) -> xclbin:
        """Return the xclbin of the context."""
        return self._xclbin

    def get_xclbin_uuid(self) -> uuid:
        """Return the uuid of the context's xclbin."""
        return self._xclbin.get_uuid()

    def add_config(self, elf: Any) -> None:
        """Raise TypeError: it takes a pyxrt.elf, which the simulator does not have."""
        raise incompatible(
            "add_config", ("(self: pyxrt.hw_context, elf: xrt::elf) -> None",), (self, elf)
        )


def _context_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[device, Any, Any]:
    """Sort the arguments of a new context; TypeError if they fit no form of the constructor.

    Returns the device, the uuid or xclbin or path, and the mode or configuration or None.
    """
    for second, kind in (("uuid", uuid), ("xclbin", xclbin), ("xclbin_path", str)):
        for third in ("mode", "cfg_param"):
            values = keywords(args, kwargs, ("device", second, third)) or ()
            if len(values) not in (2, 3):
                continue
            opened, what, option = (*values, None)[:3]
            what = as_text(what) if kind is str else what
            fits = (
                isinstance(option, enums.access_mode)
                if third == "mode"
                else _is_configuration(option)
            )
            if isinstance(opened, device) and isinstance(what, kind) and (len(values) == 2 or fits):
                return opened, what, option
    raise incompatible("__init__", _CONTEXT_FORMS, args, kwargs)


def _is_configuration(option: Any) -> bool:
    return isinstance(option, Mapping) and all(
        as_text(key) is not None and is_int(value, UINT32) for key, value in option.items()
    )


_CONTEXT_FORMS = (
    "pyxrt.hw_context()",
    *(
        f"pyxrt.hw_context(device: xrt::device, {what}{option})"
        for what in ("uuid: pyxrt.uuid", "xclbin: xrt::xclbin", "xclbin_path: str")
        for option in (
            "",
            ", mode: pyxrt.hw_context.access_mode",
            ", cfg_param: collections.abc.Mapping[str, int]",
        )
    ),
)
# pyxrt has parameters named `xclbin`, which hide the class inside the methods.
_xclbin = xclbin
