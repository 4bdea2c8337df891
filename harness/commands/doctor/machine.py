"""Checks of the device and its driver, and of other things that change a run's time."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from harness.commands.doctor.check import Check, Subject, fail, ok, warn
from harness.device.host import sysfs
from harness.kernel import load_kernel
from harness.units import BYTES_PER_MIB

HEAP_BYTES = 64 * BYTES_PER_MIB
"""Opening a device locks its heap of instructions in memory (xdna-driver #903, AMDXDNA shim)."""
CAP_IPC_LOCK = 14
"""Bit of the capability that removes the limit of locked memory (linux/capability.h)."""
SHORT_SUSPEND_MS = 1_000
"""Passes follow each other more quickly than this; the driver's own delay is 5000 ms."""


def check_driver(subject: Subject) -> Check:
    """Whether amdxdna is loaded and drives device `device.index`."""
    seen = ", ".join(f"{address} ({what})" for address, what in sysfs.on_bus().items())
    if not sysfs.driver_loaded():
        if seen:
            remedy = (
                "load it: sudo modprobe amdxdna (part of Linux 6.14; build xdna-driver for older)"
            )
            return fail("driver", f"NPU at {seen}, but amdxdna is not loaded", remedy)
        remedy = (
            "use a Ryzen AI processor with its NPU (IPU) enabled in the BIOS, or device=simulator"
        )
        return fail("driver", "amdxdna is not loaded, and the PCI bus has no NPU", remedy)
    version = subject.state.driver or "version unknown"
    count, index = len(sysfs.devices()), subject.device.index
    if count <= index:
        where = f"NPU at {seen}: see dmesg for amdxdna" if seen else "the PCI bus has no NPU"
        remedy = f"give an index below {count}" if count else where
        return fail(
            "driver",
            f"amdxdna {version} drives {count} device(s); device.index={index} is none",
            remedy,
        )
    firmware = subject.state.firmware or "unknown"
    return ok("driver", f"amdxdna {version} at {subject.address}, firmware {firmware}")


def check_node(subject: Subject) -> Check:
    """Whether the device node exists and may be opened."""
    path = sysfs.node(subject.address)
    # A container has the host's /sys, but only the nodes that it was given.
    if path is None or not path.exists():
        there = (
            ", ".join(str(each) for each in sorted((sysfs.ROOT / "dev/accel").glob("accel*")))
            or "none"
        )
        remedy = "the driver creates it; in a container, pass /dev/accel through"
        return fail("device node", f"no node of the NPU in /dev/accel (nodes: {there})", remedy)
    if os.access(path, os.R_OK | os.W_OK):
        return ok("device node", f"{path} may be read and written")
    group = _group(path)
    remedy = f"join its group: sudo usermod -aG {group} $USER, then log in again"
    return fail("device node", f"{path} may not be read and written; its group is {group}", remedy)


def check_opens(subject: Subject) -> Check:
    """Whether pyxrt opens the device."""
    probe, index = subject.probe, subject.device.index
    if probe.error:
        return fail("device", "not opened: pyxrt is missing", "see pyxrt above")
    if subject.holder:
        return warn(
            "device",
            "not opened: this would disturb the experiment that uses it",
            "run doctor again when it has ended",
        )
    if probe.opened:
        return ok("device", f"pyxrt opens device {index}, {probe.name or 'name unknown'}")
    finding = f"pyxrt cannot open device {index} ({probe.open_error})"
    return fail("device", finding, "see driver and device node; dmesg may say more")


def check_memlock(subject: Subject) -> Check:
    """Whether enough memory can be locked for every bo and the heap of instructions."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    specs, strategy = (
        [load_kernel(name) for name in subject.config.workload.kernels],
        subject.config.strategy,
    )
    # XRT maps every bo with MAP_LOCKED; beyond the limit, device(0) or bo() raises with EAGAIN.
    tile_bytes = sum(buffer.stride_bytes for spec in specs for buffer in spec.buffers)
    needed = HEAP_BYTES + strategy.slots * strategy.batch * tile_bytes
    wanted = f"{strategy.label} needs {_mib(needed)}"
    if limit == resource.RLIM_INFINITY or _may_lock():
        return ok("locked memory", f"unlimited for this process; {wanted}")
    if limit >= needed:
        return ok("locked memory", f"limit {_mib(limit)}; {wanted}")
    remedy = (
        "raise memlock in /etc/security/limits.d (or ulimit -l unlimited as root), "
        "then log in again"
    )
    return warn("locked memory", f"limit {_mib(limit)}; {wanted}", remedy)


def check_power(subject: Subject) -> Check:
    """Whether the power mode keeps the clock constant."""
    mode, wanted = subject.state.power_mode, subject.device.power_mode
    clocks = ", ".join(
        f"{name} {mhz} MHz" for name, mhz in (subject.state.clocks_mhz or {}).items()
    )
    text = f"{mode or 'cannot be read'}{f' ({clocks})' if clocks else ''}"
    if wanted and mode != wanted.value:
        # The driver lets only root set the mode (SET_STATE is DRM_ROOT_ONLY).
        if os.geteuid() == 0 and mode:
            return ok("power mode", f"{text}; {wanted.value} will be requested for the run")
        remedy = (
            f"run as root, or sudo xrt-smi configure --pmode {wanted.value} and leave "
            "device.power_mode out"
        )
        return fail(
            "power mode", f"{text}; device.power_mode={wanted.value} needs root and xrt-smi", remedy
        )
    # npu1 has clocks of 400 to 847 MHz (xdna-driver, npu1_regs.c).
    if mode is None:
        return warn(
            "power mode",
            "cannot be read",
            "see xrt-smi; times of different modes differ by up to 2.1x",
        )
    if mode == "default":
        remedy = (
            "sudo xrt-smi configure --pmode performance, or device.power_mode=performance as root"
        )
        return warn("power mode", f"{text}: the clock follows the load", remedy)
    return ok("power mode", text)


def check_governor(subject: Subject) -> Check:
    """Whether the CPU's frequency is constant: the host's part of a run's time depends on it."""
    governor = subject.state.governor
    if governor == "performance":
        return ok("CPU governor", governor)
    if governor is None:
        return warn(
            "CPU governor",
            "not visible (a virtual machine?)",
            "host times may vary with the frequency",
        )
    remedy = "sudo cpupower frequency-set -g performance"
    return warn("CPU governor", f"{governor}: host times vary with the frequency", remedy)


def check_tenants(subject: Subject) -> Check:
    """Whether other processes have hardware contexts."""
    tenants = subject.state.tenants
    if tenants is None:
        return warn(
            "other tenants",
            "not visible",
            "see xrt-smi; other users of the NPU change a run's times",
        )
    if not tenants:
        return ok("other tenants", "no process has hardware contexts")
    return warn(
        "other tenants",
        f"with hardware contexts: {', '.join(tenants)}",
        "stop them: they change a run's times",
    )


def check_lock(subject: Subject) -> Check:
    """Whether another experiment uses the device."""
    if subject.holder:
        return warn(
            "harness's lock",
            f"held by {subject.holder.rstrip(',')}",
            "wait until it ends, or stop it",
        )
    return ok("harness's lock", f"no experiment runs on device {subject.device.index}")


def check_watchdog(subject: Subject) -> Check:
    """Whether the driver ends a run that hangs: nothing else can end a batch."""
    timeout = sysfs.watchdog_ms()
    if timeout is None:
        return warn(
            "watchdog", "setting not found", "without one a batch that hangs can only be killed"
        )
    if timeout == "0":
        remedy = "echo 2000 | sudo tee /sys/module/amdxdna/parameters/tdr_timeout_ms"
        return warn("watchdog", "off: a batch that hangs can only be killed", remedy)
    return ok("watchdog", f"stops a run after {timeout} ms without progress")


def check_suspend(subject: Subject) -> Check:
    """When the driver suspends an idle device.

    The next submission then takes 120 to 140 ms (mlir-aie #2944).
    """
    control, delay = (
        sysfs.of_device(subject.address, f"power/{name}")
        for name in ("control", "autosuspend_delay_ms")
    )
    if control is None:
        return warn(
            "idle suspend", "setting not found", "a run after a pause may begin 120 to 140 ms late"
        )
    if control == "on":
        return ok("idle suspend", "off")
    finding = f"after {delay} ms idle" if delay else "on, after an unknown time"
    if delay and delay.isdigit() and int(delay) >= SHORT_SUSPEND_MS:
        return ok("idle suspend", f"{finding}; the warm-up passes wake it")
    remedy = f"echo on | sudo tee /sys/bus/pci/devices/{subject.address}/power/control"
    return warn("idle suspend", f"{finding}: it may sleep between passes", remedy)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / BYTES_PER_MIB:.1f} MiB"


def _group(path: Path) -> str:
    try:
        return path.group()
    except KeyError:
        return str(path.stat().st_gid)


def _may_lock() -> bool:
    """Whether this process has CAP_IPC_LOCK."""
    for line in (sysfs.text(sysfs.ROOT / "proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_IPC_LOCK & 1)
    return False
