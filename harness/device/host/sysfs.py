"""Reads the Linux kernel's files about the NPU and the processor.

Every function returns None (or an empty collection) for what cannot be read. Sources of the paths:
xdna-driver, drivers/accel/amdxdna/amdxdna_sysfs.c (fw_version), and the kernel's documentation of
`/sys/bus/pci`, `power/` and `cpufreq`.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")
"""Root of the file system to read; tests set another one."""
DRIVER = "amdxdna"
VENDOR = "0x1022"
NPUS = {"0x1502": "Phoenix or Hawk Point", "0x17f0": "Strix, Strix Halo or Krackan"}
"""AMD's PCI devices that amdxdna supports, by device id (amdxdna_pci_drv.c)."""


def text(path: Path) -> str | None:
    """Content of a small file, stripped; None if it cannot be read or is empty."""
    try:
        return path.read_bytes().decode(errors="replace").strip() or None
    except OSError:
        return None


def devices() -> list[str]:
    """PCI addresses of the devices bound to amdxdna, sorted."""
    # Other entries of the folder, as `bind` and `unbind`, are not devices.
    return sorted(
        path.name for path in (ROOT / "sys/bus/pci/drivers" / DRIVER).glob("????:??:??.?")
    )


def bdf(index: int) -> str | None:
    """PCI address of the device with XRT's index `index`; XRT numbers them in this order."""
    addresses = devices()
    return addresses[index] if index < len(addresses) else None


def on_bus() -> dict[str, str]:
    """NPUs on the PCI bus, with or without a driver: name of the NPU by PCI address."""
    names = {}
    for folder in sorted((ROOT / "sys/bus/pci/devices").glob("????:??:??.?")):
        device = text(folder / "device")
        if text(folder / "vendor") == VENDOR and device in NPUS:
            names[folder.name] = NPUS[device]
    return names


def of_device(address: str | None, name: str) -> str | None:
    """Content of a file in the PCI device's folder, such as `fw_version` or `power/control`."""
    return text(ROOT / "sys/bus/pci/devices" / address / name) if address else None


def node(address: str | None) -> Path | None:
    """The device node that programs open, such as /dev/accel/accel0."""
    folder = ROOT / "sys/bus/pci/devices" / address / "accel" if address else None
    names = sorted(path.name for path in folder.glob("accel*")) if folder else []
    return ROOT / "dev/accel" / names[0] if names else None


def driver_loaded() -> bool:
    """Whether the module amdxdna is loaded or built in."""
    # A driver that is built in may have no folder in sys/module.
    return (ROOT / "sys/module" / DRIVER).exists() or bool(devices())


def driver_version() -> str | None:
    """Version of the module; every driver of the kernel's own tree reports "0.1"."""
    return text(ROOT / "sys/module" / DRIVER / "version")


def watchdog_ms() -> str | None:
    """Time without progress after which the driver stops a run, in ms; "0" for never."""
    return text(ROOT / "sys/module" / DRIVER / "parameters/tdr_timeout_ms")


def governors() -> str | None:
    """The cpufreq governors, each named once: "performance", or "powersave, schedutil"."""
    policies = (ROOT / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor")
    return ", ".join(sorted({name for path in policies if (name := text(path))})) or None


def processor_model() -> str | None:
    """The processor's name in /proc/cpuinfo; None on architectures whose kernel gives none."""
    lines = (text(ROOT / "proc/cpuinfo") or "").splitlines()
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == "model name"), None)
