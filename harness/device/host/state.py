"""The state of the machine that a run's time depends on, and what of it has changed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.device.host import smi, sysfs

CLOCK_TOLERANCE = 0.05
"""Share of a clock that two readings may differ by. The levels are 15 % apart or more (npu1: 400, 600, 720, 847 MHz and
800, 1024, 1309, 1600; xdna-driver npu1_regs.c), so a level is never missed and a measured clock's jitter never told."""
UNKNOWN = ("", "n/a", "unknown", "not supported")
"""What XRT says instead of a value."""


@dataclass(frozen=True)
class MachineState:
    """One reading; None is what could not be read.

    power_mode: as `xrt-smi configure --pmode` names it. clocks_mhz: MHz by XRT's name of the clock. tenants: other
    processes with hardware contexts, as "pid 12 (name)", in order. governor: of the processor's frequency, each once.
    kernel: release of the operating system's.
    """

    power_mode: str | None = None
    clocks_mhz: dict[str, int] | None = None
    firmware: str | None = None
    driver: str | None = None
    xrt: str | None = None
    tenants: list[str] | None = None
    governor: str | None = None
    kernel: str | None = None


def read_state(index: int, pyxrt: Any = None, device: Any = None) -> MachineState:
    """Read the state of the device that XRT counts as `index`; with its pyxrt handle, where there is one.

    Nothing here raises. It takes one call of xrt-smi (about 30 ms), two with an old XRT: read it outside of anything
    timed. The handle is asked first, then xrt-smi; of driver and firmware the kernel's files come before xrt-smi, so
    that a call of it that fails does not swap one spelling of a version for another.
    """
    address = _told(pyxrt, device, "bdf") or sysfs.bdf(index)
    own_platform, own_host = _asked(pyxrt, device, "platform"), _asked(pyxrt, device, "host")
    report = smi.examine(address)
    told, host = _reported(report, address), _dig(report, "system", "host")
    reported = _first(_list(_dig(host, "devices")))
    return MachineState(
        power_mode=_mode(own_platform) or _mode(told),
        clocks_mhz=_clocks(own_platform) or _clocks(told),
        firmware=sysfs.of_device(address, "fw_version")
        or _word(_dig(reported, "firmware_version")),
        driver=_driver(own_host) or sysfs.driver_version() or _driver(host),
        xrt=_xrt(own_host) or _xrt(host),
        tenants=_tenants(told, os.getpid()),
        governor=sysfs.governors(),
        kernel=platform.release() or None,
    )


def changes(before: MachineState, after: MachineState) -> list[str]:
    """What changed between two readings, a line each: "power mode: performance -> default".

    Power mode, clocks, firmware, driver, tenants and governor count; what is None on either side does not. Clocks
    follow the driver's DPM level: 400 MHz while no context is open, more with one, and a pinned mode's always. That is
    no change if both readings are taken alike, with the contexts open and the device just used; then another level is
    one, whoever caused it. A clock of 0 (gated, or the device asleep) says nothing, nor does one read once only.
    """
    found = []
    for name, field in (
        ("power mode", "power_mode"),
        ("firmware", "firmware"),
        ("driver", "driver"),
    ):
        found += _changed(name, getattr(before, field), getattr(after, field))
    old, new = before.clocks_mhz or {}, after.clocks_mhz or {}
    for clock in sorted(old.keys() & new.keys()):
        if (
            old[clock]
            and new[clock]
            and abs(old[clock] - new[clock]) > CLOCK_TOLERANCE * old[clock]
        ):
            found.append(f"{clock}: {old[clock]} -> {new[clock]} MHz")
    if before.tenants is not None and after.tenants is not None:
        others = [", ".join(sorted(each)) or "none" for each in (before.tenants, after.tenants)]
        found += _changed("tenants", *others)
    return found + _changed("governor", before.governor, after.governor)


def _changed(name: str, old: str | None, new: str | None) -> list[str]:
    return [f"{name}: {old} -> {new}"] if old is not None and new is not None and old != new else []


def _told(pyxrt: Any, device: Any, kind: str) -> str | None:
    """One answer of `pyxrt.device.get_info`; None for whatever it raises: which kinds it knows differs by version."""
    if pyxrt is None or device is None:
        return None
    try:
        return str(device.get_info(getattr(pyxrt.xrt_info_device, kind))) or None
    except Exception:
        return None


def _asked(pyxrt: Any, device: Any, kind: str) -> Any:
    """The same as JSON."""
    try:
        return json.loads(_told(pyxrt, device, kind) or "null")
    except (ValueError, RecursionError):
        return None


def _dig(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _list(tree: Any) -> list[Any]:
    return tree if isinstance(tree, list) else []


def _first(items: list[Any]) -> Any:
    return items[0] if items else None


def _word(value: Any) -> str | None:
    """A text that says something."""
    text = " ".join(str(value).split()) if isinstance(value, str | int | float) else ""
    return None if text.lower() in UNKNOWN else text


def _number(value: Any) -> int | None:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def _reported(report: Any, address: str | None) -> Any:
    """What xrt-smi reports of the device at `address`; of the only one where it names none."""
    found = _list(_dig(report, "devices"))
    named = [each for each in found if address and _dig(each, "device_id") == address]
    return _first(named or found[: len(found) == 1])


def _platform(tree: Any) -> Any:
    return _first(_list(_dig(tree, "platforms")))


def _mode(tree: Any) -> str | None:
    word = _word(_dig(_platform(tree), "status", "power_mode"))
    return word.lower() if word else None


def _clocks(tree: Any) -> dict[str, int] | None:
    """Clocks of a device: XRT has put them beside the platforms, into one, and there into a further "clocks"."""
    found: dict[str, int] = {}
    for place in (_dig(tree, "clocks"), _dig(_platform(tree), "clocks")):
        for clock in _list(place) or _list(_dig(place, "clocks")):
            name, mhz = _word(_dig(clock, "id")), _number(_dig(clock, "freq_mhz"))
            if name and mhz is not None:
                found.setdefault(name, mhz)
    return found or None


def _xrt(tree: Any) -> str | None:
    return _word(_dig(tree, "xrt", "version")) or _word(_dig(tree, "version"))


def _driver(tree: Any) -> str | None:
    """Version of amdxdna, without the commit that may follow it."""
    for driver in _list(_dig(tree, "xrt", "drivers")) or _list(_dig(tree, "drivers")):
        if _dig(driver, "name") == sysfs.DRIVER:
            return _word(_dig(driver, "version"))
    return None


def _tenants(told: Any, own: int) -> list[str] | None:
    """Processes other than `own` that have contexts; None unless the report of them is there."""
    places = _dig(told, "aie_partitions", "partitions")
    if not isinstance(places, list) and places != "":
        return None
    names = {pid: name for pid, name in _holders(_list(places)) if pid != own}
    return [f"pid {pid} ({name})" for pid, name in sorted(names.items())]


def _holders(partitions: list[Any]) -> Iterator[tuple[int, str]]:
    for partition in partitions:
        for context in _list(_dig(partition, "hw_contexts")):
            pid = _number(_dig(context, "pid"))
            if pid is not None:
                yield pid, _word(_dig(context, "process_name")) or "unknown"
