"""Enumerations of pyxrt, with XRT's values and the behaviour of pybind11's enumerations.

They are not Python integers. The behaviour is that of pyxrt 2.25.
"""

from __future__ import annotations

from enum import Enum, EnumType
from typing import Any, NoReturn

from harness.sim.pybind import UINT32, attribute_error, incompatible, is_int, keywords, public


class ScopedEnumType(EnumType):
    """Metaclass of the enumerations: any number gives a member; no iteration, no indexing."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the member with that number; if there is none, a new member without a name."""
        values = keywords(args, kwargs, ("value",)) or args
        if len(values) != 1 or not is_int(values[0], UINT32):
            raise incompatible("__init__", (f"pyxrt.{cls.__qualname__}(value: int)",), args, kwargs)
        members: dict[Any, Any] = cls._value2member_map_
        number = int(values[0])
        if number not in members:
            # mypy does not know that an instance of EnumType is a class
            members[number] = object.__new__(cls)  # type: ignore[arg-type]
            members[number]._value_, members[number]._name_ = number, "???"
        return members[number]

    # As in pyxrt, every access gives a new dict, where Enum gives one read-only mapping.
    @property
    def __members__(cls) -> dict[str, Any]:  # type: ignore[override]
        return dict(cls._member_map_)

    def __repr__(cls) -> str:
        return f"<class 'pyxrt.{cls.__qualname__}'>"

    def __getattr__(cls, name: str) -> Any:
        raise attribute_error(
            f"type object 'pyxrt.{cls.__name__}'", name, () if name.startswith("_") else public(cls)
        )

    def __iter__(cls) -> NoReturn:
        raise TypeError("'pybind11_type' object is not iterable")

    def __len__(cls) -> NoReturn:
        raise TypeError("object of type 'pybind11_type' has no len()")

    def __contains__(cls, value: object) -> NoReturn:
        raise TypeError("argument of type 'pybind11_type' is not a container or iterable")

    def __getitem__(cls, name: str) -> NoReturn:
        raise TypeError(f"type 'pyxrt.{cls.__name__}' is not subscriptable")


class Scoped(Enum, metaclass=ScopedEnumType):
    """A scoped enumeration: a member has a number, is not equal to it, and has no order."""

    def __init_subclass__(cls, inside: str = "") -> None:
        cls.__module__ = "harness.sim.pyxrt"
        cls.__qualname__ = f"{inside}.{cls.__name__}" if inside else cls.__name__

    def __int__(self) -> int:
        return int(self._value_)

    __index__ = __int__

    def __hash__(self) -> int:
        return hash(self._value_)

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self._name_}: {self._value_}>"

    def __format__(self, form: str) -> str:
        if form:
            raise TypeError(
                f"unsupported format string passed to pyxrt.{type(self).__name__}.__format__"
            )
        return str(self)

    def __getattr__(self, name: str) -> Any:
        cls = type(self)
        raise attribute_error(
            f"'pyxrt.{cls.__name__}' object", name, () if name.startswith("_") else public(cls)
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("name", "value"):
            raise AttributeError(
                f"property '{name}' of '{type(self).__name__}' object has no setter"
            )
        if not name.startswith("_"):
            raise attribute_error(
                f"'pyxrt.{type(self).__name__}' object",
                name,
                ending=" and no __dict__ for setting new attributes",
            )
        super().__setattr__(name, value)


class Unscoped(Scoped):
    """An unscoped enumeration, as in C: a member is equal to its number."""

    def __eq__(self, other: object) -> bool:
        return self is other or (type(other) in (int, bool) and self._value_ == other)

    __hash__ = Scoped.__hash__


class ert_cmd_state(Unscoped):
    """State of a command; values of XRT's ert.h."""

    ERT_CMD_STATE_NEW = 1
    ERT_CMD_STATE_QUEUED = 2
    ERT_CMD_STATE_COMPLETED = 4
    ERT_CMD_STATE_ERROR = 5
    ERT_CMD_STATE_ABORT = 6
    ERT_CMD_STATE_SUBMITTED = 7
    ERT_CMD_STATE_TIMEOUT = 8
    ERT_CMD_STATE_NORESPONSE = 9
    ERT_CMD_STATE_SKERROR = 10
    ERT_CMD_STATE_SKCRASHED = 11


class xclBOSyncDirection(Unscoped):
    """Direction of a sync."""

    XCL_BO_SYNC_BO_TO_DEVICE = 0
    XCL_BO_SYNC_BO_FROM_DEVICE = 1
    XCL_BO_SYNC_BO_GMIO_TO_AIE = 2
    XCL_BO_SYNC_BO_AIE_TO_GMIO = 3


class flags(Scoped, inside="bo"):
    """Memory kinds of a bo."""

    normal = 0
    cacheable = 0x0100_0000
    device_only = 0x1000_0000
    host_only = 0x2000_0000
    p2p = 0x4000_0000
    svm = 0x0800_0000


class access_mode(Scoped, inside="hw_context"):
    """How a hardware context is shared; NPUs ignore it."""

    exclusive = 0
    shared = 1


class cu_access_mode(Scoped, inside="kernel"):
    """How a kernel is shared; NPUs ignore it."""

    exclusive = 0
    shared = 1
    none = 2


class xrt_msg_level(Scoped):
    """Severity of a message."""

    emergency = 0
    alert = 1
    critical = 2
    error = 3
    warning = 4
    notice = 5
    info = 6
    debug = 7


class xrt_info_device(Scoped):
    """Properties of a device."""

    bdf = 0
    interface_uuid = 1
    kdma = 2
    max_clock_frequency_mhz = 3
    m2m = 4
    # hides the attribute `name` of every member, as in pyxrt
    name = 5  # type: ignore[assignment]
    nodma = 6
    offline = 7
    electrical = 8
    thermal = 9
    mechanical = 10
    memory = 11
    platform = 12
    pcie_info = 13
    host = 14
    dynamic_regions = 17
    vmr = 18
