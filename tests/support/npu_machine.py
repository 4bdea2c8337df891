"""A machine with an NPU for tests: a kernel's files in a folder, and a shell script as xrt-smi."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.process import wait_for

BDF = "0000:c5:00.1"
SCRIPT = """#!/bin/sh
echo "$@" >> {folder}/calls
{before}
case "$1" in
examine)
    case "$*" in *--advanced*) [ -e {folder}/no-advanced ] && \
{{ echo "ERROR: Unrecognized arguments:" >&2; exit 1; }};;
    esac
    while [ $# -gt 0 ]; do [ "$1" = -o ] && output=$2; shift; done
    sed "s/@MODE@/$(cat {folder}/mode)/" {folder}/report.json > "$output";;
configure)
    for last; do :; done
    {configure}
    echo "$last" > {folder}/mode
    echo "Power mode is set to $last";;
esac
"""
REFUSED = """printf 'COMMAND: configure\\n\\nDESCRIPTION: Device and host configuration.\\n'
    echo '[xrt-smi] ERROR: DRM_IOCTL_AMDXDNA_SET_STATE IOCTL failed (err=-13): \
Permission denied' >&2; exit 1"""
"""What xrt-smi answers to a user who is not root (xdna-driver #307)."""


def report(mode: str = "@MODE@", contexts: Any = "", clocks: Any = None) -> dict[str, Any]:
    """What `xrt-smi examine -f JSON` writes for one NPU: every value is text, an empty list too.

    Shapes: XRT, core/tools/common/reports/Report{Host,Platform,AiePartitions,Clocks}.cpp and
    core/common/info_platform.
    """
    partitions = contexts and [
        {"start_col": "1", "num_cols": "4", "partition_index": "0", "hw_contexts": contexts},
    ]
    if clocks is None:
        clocks = [
            {"id": "MP-NPU Clock", "description": "System", "freq_mhz": "847"},
            {"id": "H Clock", "description": "System", "freq_mhz": "1600"},
        ]
    return {
        "schema_version": {"schema": "JSON", "creation_date": "Fri Aug 21 12:00:00 2026 GMT"},
        "system": {
            "host": {
                "os": {"sysname": "Linux", "release": "6.18.0", "machine": "x86_64"},
                "xrt": {
                    "version": "2.25.0",
                    "branch": "HEAD",
                    "hash": "963c58ee",
                    "drivers": [
                        {"name": "virtio-pci", "version": "unknown", "hash": "unknown"},
                        {"name": "amdxdna", "version": "2.25.0_20260821", "hash": "856409ca"},
                    ],
                },
                "devices": [
                    {
                        "bdf": BDF,
                        "device_class": "Ryzen",
                        "name": "NPU",
                        "firmware_version": "1.5.5.391",
                    }
                ],
            }
        },
        "devices": [
            {
                "interface_type": "pcie",
                "device_id": BDF,
                "device_status": "HEALTHY",
                "platforms": [
                    {
                        "total_columns": "5",
                        "static_region": {"name": "RyzenAI-npu1"},
                        "status": {"power_mode": mode},
                        "electrical": {"power_consumption_watts": "N/A"},
                    }
                ],
                "aie_partitions": {
                    "description": "AIE Partition Information",
                    "partitions": partitions,
                },
                "clocks": clocks,
            }
        ],
    }


def context(pid: int, name: str = "") -> dict[str, str]:
    """One hardware context of the report."""
    named = {"process_name": name} if name else {}
    return {
        "pid": str(pid),
        **named,
        "context_id": "1",
        "status": "Active",
        "command_submissions": "120",
    }


class Smi:
    """An xrt-smi in a folder, that answers with `report` and remembers the mode it is given."""

    def __init__(
        self, folder: Path, content: Any = None, before: str = "", configure: str = ""
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.path = folder / "xrt-smi"
        self.path.write_text(SCRIPT.format(folder=folder, before=before, configure=configure))
        self.path.chmod(0o755)
        self.mode = "Default"
        self.answer(report() if content is None else content)

    def answer(self, content: Any) -> None:
        """Have it report `content`: JSON, or a text as it is."""
        (self.folder / "report.json").write_text(
            content if isinstance(content, str) else json.dumps(content)
        )

    @property
    def mode(self) -> str:
        """The power mode, as XRT writes it."""
        return (self.folder / "mode").read_text().strip()

    @mode.setter
    def mode(self, mode: str) -> None:
        (self.folder / "mode").write_text(mode)

    @property
    def calls(self) -> list[str]:
        """Arguments of each call so far."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


def files(
    root: Path, *, driver: bool = True, governor: str = "performance", node: bool = True
) -> Path:
    """Give `root` a kernel's files of a Phoenix NPU; without `driver`, of an undriven one."""
    content = {
        f"sys/bus/pci/devices/{BDF}/vendor": "0x1022",
        f"sys/bus/pci/devices/{BDF}/device": "0x1502",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": governor,
        "sys/devices/system/cpu/cpufreq/policy1/scaling_governor": governor,
        "proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000",
    }
    if driver:
        content |= {
            f"sys/bus/pci/devices/{BDF}/fw_version": "1.5.5.391",
            f"sys/bus/pci/devices/{BDF}/power/control": "auto",
            f"sys/bus/pci/devices/{BDF}/power/autosuspend_delay_ms": "5000",
            f"sys/bus/pci/devices/{BDF}/accel/accel0/dev": "261:0",
            f"sys/bus/pci/drivers/amdxdna/{BDF}/vendor": "0x1022",
            "sys/bus/pci/drivers/amdxdna/module/version": "0.1",
            "sys/module/amdxdna/version": "0.1",
            "sys/module/amdxdna/parameters/tdr_timeout_ms": "2000",
        }
        if node:
            content["dev/accel/accel0"] = ""
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def expire_when(monkeypatch: pytest.MonkeyPatch, state: Callable[[], Any]) -> None:
    """Have one program of the harness exceed its limit: the first once `state()` is true."""
    wait, expired = subprocess.Popen.wait, False

    def expire(self: Any, timeout: float | None = None) -> int:
        nonlocal expired
        if timeout is None or expired:
            return wait(self)
        wait_for(lambda: state() or self.poll() is not None)
        if self.returncode is not None:
            return self.returncode
        expired = True
        raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", expire)
