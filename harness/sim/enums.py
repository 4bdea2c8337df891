"""Enumerations of pyxrt, with XRT's values and pybind11's manners: they are no integers (seen in pyxrt 2.25)."""

from __future__ import annotations

from enum import Enum


class Bound(Enum):
    """Has a number, but neither equals one nor is ordered; prints as pybind11's enumerations do."""

    def __int__(self) -> int:
        return int(self._value_)

    __index__ = __int__

    def __hash__(self) -> int:
        return hash(self._value_)

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self._name_}: {self._value_}>"


class Unscoped(Bound):
    """C's own kind of enumeration: equals its number too."""

    def __eq__(self, other: object) -> bool:
        return self is other or (not isinstance(other, Enum | float | str) and self._value_ == other)

    __hash__ = Bound.__hash__


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


class flags(Bound):
    """Kinds of memory of a bo."""

    normal = 0
    cacheable = 0x0100_0000
    svm = 0x0800_0000
    device_only = 0x1000_0000
    host_only = 0x2000_0000
    p2p = 0x4000_0000


class access_mode(Bound):
    """How a hardware context is shared; NPUs take no notice."""

    exclusive = 0
    shared = 1


class cu_access_mode(Bound):
    """How a kernel is shared; NPUs take no notice."""

    exclusive = 0
    shared = 1
    none = 2


class xrt_msg_level(Bound):
    """How grave a message is."""

    emergency = 0
    alert = 1
    critical = 2
    error = 3
    warning = 4
    notice = 5
    info = 6
    debug = 7


class xrt_info_device(Bound):
    """Properties of a device."""

    bdf = 0
    interface_uuid = 1
    kdma = 2
    max_clock_frequency_mhz = 3
    m2m = 4
    name = 5  # type: ignore[assignment]  # hides each member's own name, as it does in pyxrt
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
