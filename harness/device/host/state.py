"""Reads the state of the machine that a run's time depends on, and reports what has changed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.device.host import smi, sysfs

CLOCK_TOLERANCE = 0.05
"""Readings of a clock that differ by no more than this share count as equal.

The clock levels are 15 % apart or more (npu1: 400, 600, 720, 847 MHz and 800, 1024, 1309, 1600;
xdna-driver npu1_regs.c). So a change of level is always reported, and jitter never.
"""
UNKNOWN = ("", "n/a", "unknown", "not supported")
"""Texts that XRT reports in place of a value it does not have."""


@dataclass(frozen=True)
class Processor:
    """The processor that runs the kernels with device=cpu.

    model: as /proc/cpuinfo names it, None if unknown. allowed: logical processors that this process
    may use. pinned: whether these are fewer than the machine has, as with taskset. compiler: the
    first line of its version, None if no kernel has C++; flags: as given to it. programs: by kernel
    C++ or numpy.
    """

    model: str | None
    allowed: list[int]
    pinned: bool
    compiler: str | None
    flags: str
    programs: dict[str, str]


@dataclass(frozen=True)
class MachineState:
    """One reading of the machine's state; a field is None if it could not be read.

    power_mode: a mode of `xrt-smi configure --pmode`. clocks_mhz: MHz by XRT's name of the clock.
    tenants: other processes with hardware contexts, as "pid 12 (name)", sorted by pid. governor:
    cpufreq governors of the processor, each named once. kernel: release of the Linux kernel.
    processor: with device=cpu only.
    """

    power_mode: str | None = None
    clocks_mhz: dict[str, int] | None = None
    firmware: str | None = None
    driver: str | None = None
    xrt: str | None = None
    tenants: list[str] | None = None
    governor: str | None = None
    kernel: str | None = None
    processor: Processor | None = None


def read_state(index: int, pyxrt: Any = None, device: Any = None) -> MachineState:
    """Read the state of the device with XRT's index `index`.

    pyxrt, device: the module and an open handle of the device, if there is one. This never raises.
    It calls xrt-smi once (about 30 ms), twice with an old XRT, so call it outside of timed passes.

    The handle's answers come first, then xrt-smi's. For driver and firmware, the kernel's files
    come before xrt-smi: the two spell versions differently, and a failed call of xrt-smi must not
    look like a change of version.
    """
    # The handle knows its own address; sysfs gives only the order of the devices.
    address = _info(pyxrt, device, "bdf") or sysfs.bdf(index)
    own_platform = _json_info(pyxrt, device, "platform")
    own_host = _json_info(pyxrt, device, "host")
    report = smi.examine(address)
    smi_device, smi_host = _device_report(report, address), _dig(report, "system", "host")
    firmware = _word(_dig(_first(_list(_dig(smi_host, "devices"))), "firmware_version"))
    return MachineState(
        power_mode=_mode(own_platform) or _mode(smi_device),
        # Every source may be missing: without a handle, without xrt-smi, or in a container without
        # sysfs.
        clocks_mhz=_clocks(own_platform) or _clocks(smi_device),
        firmware=sysfs.of_device(address, "fw_version") or firmware,
        driver=_driver(own_host) or sysfs.driver_version() or _driver(smi_host),
        xrt=_xrt(own_host) or _xrt(smi_host),
        tenants=_tenants(smi_device, os.getpid()),
        governor=sysfs.governors(),
        kernel=platform.release() or None,
    )


def processor_state(compiler: str | None, flags: str, programs: Mapping[str, str]) -> MachineState:
    """Read the state of the processor for device=cpu; arguments: as in `Processor`."""
    allowed = sorted(os.sched_getaffinity(0))
    return MachineState(
        governor=sysfs.governors(),
        kernel=platform.release() or None,
        processor=Processor(
            sysfs.processor_model(),
            allowed,
            len(allowed) < (os.cpu_count() or 0),
            compiler,
            flags,
            dict(programs),
        ),
    )


def changes(before: MachineState, after: MachineState) -> list[str]:
    """The changes between two readings, a line each: "power mode: performance -> default".

    Compares power mode, clocks, firmware, driver, tenants, governor and the processors that this
    process may use; a field that is None in either reading is skipped, and so is a clock of 0
    (gated, or the device is suspended).

    Take both readings with the contexts open and directly after a use of the device. The clocks
    follow the driver's DPM level, which is 400 MHz without an open context and higher with one. So
    they differ between such readings only if the level has really changed.
    """
    lines = []
    for name, field in (
        ("power mode", "power_mode"),
        ("firmware", "firmware"),
        ("driver", "driver"),
    ):
        lines += _change(name, getattr(before, field), getattr(after, field))
    old, new = before.clocks_mhz or {}, after.clocks_mhz or {}
    # A clock that only one reading has is unknown, not changed.
    for clock in sorted(old.keys() & new.keys()):
        is_known = old[clock] and new[clock]
        if is_known and abs(old[clock] - new[clock]) > CLOCK_TOLERANCE * old[clock]:
            lines.append(f"{clock}: {old[clock]} -> {new[clock]} MHz")
    if before.tenants is not None and after.tenants is not None:
        others = [", ".join(sorted(each)) or "none" for each in (before.tenants, after.tenants)]
        lines += _change("tenants", *others)
    if before.processor and after.processor:
        allowed = [",".join(map(str, each.allowed)) for each in (before.processor, after.processor)]
        lines += _change("processors of this process", *allowed)
    return lines + _change("governor", before.governor, after.governor)


def _change(name: str, old: str | None, new: str | None) -> list[str]:
    """One line if two values are known and differ, else none."""
    return [f"{name}: {old} -> {new}"] if old is not None and new is not None and old != new else []


def _info(pyxrt: Any, device: Any, kind: str) -> str | None:
    """One answer of `pyxrt.device.get_info`; None without a handle, or if the call raises.

    Which kinds exist, and which exceptions they raise, differs between versions of XRT.
    """
    if pyxrt is None or device is None:
        return None
    try:
        return str(device.get_info(getattr(pyxrt.xrt_info_device, kind))) or None
    except Exception:
        return None


def _json_info(pyxrt: Any, device: Any, kind: str) -> Any:
    """One answer of `get_info`, parsed as JSON; None if there is none."""
    try:
        return json.loads(_info(pyxrt, device, kind) or "null")
    except (ValueError, RecursionError):
        return None


def _dig(tree: Any, *keys: str) -> Any:
    """The value below nested keys; None if the tree has no such place."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _list(tree: Any) -> list[Any]:
    return tree if isinstance(tree, list) else []


def _first(items: list[Any]) -> Any:
    return items[0] if items else None


def _word(value: Any) -> str | None:
    """A value as text in one line; None if it is missing or in UNKNOWN."""
    text = " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
    return None if text.lower() in UNKNOWN else text


def _number(value: Any) -> int | None:
    try:
        # Boost's property tree writes numbers as text.
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _device_report(report: Any, address: str | None) -> Any:
    """The part of xrt-smi's report about the device at `address`.

    A single device without an address in the report is that device.
    """
    reports = _list(_dig(report, "devices"))
    matches = [each for each in reports if address and _dig(each, "device_id") == address]
    if not matches and len(reports) == 1:
        return reports[0]
    return _first(matches)


def _platform(tree: Any) -> Any:
    return _first(_list(_dig(tree, "platforms")))


def _mode(tree: Any) -> str | None:
    word = _word(_dig(_platform(tree), "status", "power_mode"))
    return word.lower() if word else None


def _clocks(tree: Any) -> dict[str, int] | None:
    """Clocks of a device in MHz, by name.

    Versions of XRT put them in three places: beside the platforms, in a platform, or in a further
    "clocks" of the platform's "clocks".
    """
    clocks: dict[str, int] = {}
    for place in (_dig(tree, "clocks"), _dig(_platform(tree), "clocks")):
        for clock in _list(place) or _list(_dig(place, "clocks")):
            name, mhz = _word(_dig(clock, "id")), _number(_dig(clock, "freq_mhz"))
            if name and mhz is not None:
                clocks.setdefault(name, mhz)
    return clocks or None


def _xrt(tree: Any) -> str | None:
    return _word(_dig(tree, "xrt", "version")) or _word(_dig(tree, "version"))


def _driver(tree: Any) -> str | None:
    """Version of amdxdna, without the commit that may follow it."""
    for driver in _list(_dig(tree, "xrt", "drivers")) or _list(_dig(tree, "drivers")):
        if _dig(driver, "name") == sysfs.DRIVER:
            return _word(_dig(driver, "version"))
    return None


def _tenants(device_report: Any, own: int) -> list[str] | None:
    """Processes other than `own` that have contexts; None if xrt-smi does not report partitions.

    "" is xrt-smi's empty list: no process has a context.
    """
    partitions = _dig(device_report, "aie_partitions", "partitions")
    if not isinstance(partitions, list) and partitions != "":
        return None
    names = {pid: name for pid, name in _context_owners(_list(partitions)) if pid != own}
    return [f"pid {pid} ({name})" for pid, name in sorted(names.items())]


def _context_owners(partitions: list[Any]) -> Iterator[tuple[int, str]]:
    """Pid and name of the process of every hardware context."""
    for partition in partitions:
        for context in _list(_dig(partition, "hw_contexts")):
            pid = _number(_dig(context, "pid"))
            if pid is not None:
                yield pid, _word(_dig(context, "process_name")) or "unknown"
