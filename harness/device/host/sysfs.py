"""What the Linux kernel shows of the NPU and the processor in files; each is None where it can't be read.

Paths: xdna-driver, drivers/accel/amdxdna/amdxdna_sysfs.c (fw_version) and the kernel's own documentation of
`/sys/bus/pci`, `power/` and `cpufreq`.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")
"""Root of the file system that is read; tests give a tree of their own."""
DRIVER = "amdxdna"
VENDOR = "0x1022"
NPUS = {"0x1502": "Phoenix or Hawk Point", "0x17f0": "Strix, Strix Halo or Krackan"}
"""PCI devices of AMD that amdxdna drives, by device id (amdxdna_pci_drv.c)."""


def text(path: Path) -> str | None:
    """Content of a small file without the space around it; None if it can't be read or is empty."""
    try:
        return path.read_bytes().decode(errors="replace").strip() or None
    except OSError:
        return None


def devices() -> list[str]:
    """PCI addresses of the devices that amdxdna drives, in order."""
    return sorted(
        path.name for path in (ROOT / "sys/bus/pci/drivers" / DRIVER).glob("????:??:??.?")
    )


def bdf(index: int) -> str | None:
    """PCI address of the device that XRT counts as `index`: it lists them in this order."""
    found = devices()
    return found[index] if index < len(found) else None


def on_bus() -> dict[str, str]:
    """NPUs on the PCI bus, driven or not: address -> what it is."""
    found = {}
    for folder in sorted((ROOT / "sys/bus/pci/devices").glob("????:??:??.?")):
        device = text(folder / "device")
        if text(folder / "vendor") == VENDOR and device in NPUS:
            found[folder.name] = NPUS[device]
    return found


def of_device(address: str | None, name: str) -> str | None:
    """A file of the PCI device's folder, such as `fw_version` or `power/control`."""
    return text(ROOT / "sys/bus/pci/devices" / address / name) if address else None


def node(address: str | None) -> Path | None:
    """The device node that programs open, such as /dev/accel/accel0."""
    folder = ROOT / "sys/bus/pci/devices" / address / "accel" if address else None
    names = sorted(path.name for path in folder.glob("accel*")) if folder else []
    return ROOT / "dev/accel" / names[0] if names else None


def driver_loaded() -> bool:
    """Whether the module amdxdna is loaded or built in."""
    return (ROOT / "sys/module" / DRIVER).exists() or bool(devices())


def driver_version() -> str | None:
    """Version of the module; "0.1" is what every driver of the kernel's own tree says."""
    return text(ROOT / "sys/module" / DRIVER / "version")


def watchdog_ms() -> str | None:
    """After how much time without progress the driver stops a run, in ms; "0" for never."""
    return text(ROOT / "sys/module" / DRIVER / "parameters/tdr_timeout_ms")


def governors() -> str | None:
    """Governors of the processor's frequency, each named once: "performance", "powersave, schedutil"."""
    policies = (ROOT / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor")
    return ", ".join(sorted({found for path in policies if (found := text(path))})) or None
