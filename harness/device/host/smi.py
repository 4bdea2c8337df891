"""XRT's command line tool `xrt-smi`: what it says of the machine, and the power mode, which only it can set.

Without a device xrt-smi 2.25 knows neither `-f` nor `--pmode` and exits with 1: it takes its options from the driver's
plugin. Empty lists come as "" and numbers as text: that is how Boost's property tree writes JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.device.host import process
from harness.errors import DeviceError

USUAL = Path("/opt/xilinx/xrt/bin/xrt-smi")
"""Where XRT's own packages put it, on nobody's PATH until their setup script is sourced."""
EXAMINE_TIMEOUT_S = 10
"""A reading takes about 30 ms (Triton-XDNA #86); a device that hangs never answers."""
SET_TIMEOUT_S = 30
"""The driver lets a raised clock settle for 3.5 s before it answers (xdna-driver #1425)."""
REPORTS = ("platform", "host", "aie-partitions")


class SmiError(DeviceError):
    """xrt-smi is missing, refused or did not answer; the text is what it said."""


def find() -> str | None:
    """Path of xrt-smi: on PATH, or where XRT's packages put it; None where there is none."""
    return shutil.which("xrt-smi") or (str(USUAL) if os.access(USUAL, os.X_OK) else None)


def examine(bdf: str | None = None) -> dict[str, Any] | None:
    """What xrt-smi reports of the machine and of the device at `bdf` (None: the only one); None if it reports nothing.

    One call where the clocks are an advanced report (xdna-driver #495), a second where xrt-smi does not know that.
    """
    try:
        return _report(["--advanced", "-r", *REPORTS, "clocks"], bdf) or _report(
            ["-r", *REPORTS], bdf
        )
    except TimeoutError:  # it would not answer a second time either
        return None


def set_power_mode(mode: str, bdf: str | None = None) -> None:
    """Have the driver change the power mode; SmiError with what xrt-smi said. Needs root (SET_STATE: DRM_ROOT_ONLY)."""
    tool = find()
    if tool is None:
        raise SmiError("xrt-smi is not on PATH")
    try:
        ended = process.run([tool, "configure", *_device(bdf), "--pmode", mode], SET_TIMEOUT_S)
    except OSError as error:
        raise SmiError(str(error)) from error
    if ended.code is None:
        raise SmiError(f"no answer within {SET_TIMEOUT_S} s")
    if ended.code or "ERROR" in ended.output:
        raise SmiError(_error_of(ended.output) or f"exit code {ended.code} without a word")


def _report(reports: Sequence[str], bdf: str | None) -> dict[str, Any] | None:
    """One report; TimeoutError when xrt-smi hangs."""
    tool = find()
    if tool is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="xrt-smi-") as folder:
            path = Path(folder) / "report.json"
            arguments = [
                tool,
                "examine",
                *_device(bdf),
                *reports,
                "-f",
                "JSON",
                "-o",
                str(path),
                "--force",
            ]
            code = process.run(arguments, EXAMINE_TIMEOUT_S).code
            if code is None:
                raise TimeoutError(f"xrt-smi: no answer within {EXAMINE_TIMEOUT_S} s")
            report = json.loads(path.read_bytes()) if code == 0 else None
    except TimeoutError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _device(bdf: str | None) -> list[str]:
    return ["-d", bdf] if bdf else []


def _error_of(said: str) -> str:
    """What was wrong: a line before or after a page of help, and what it announces with a colon."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    at = next((number for number, line in enumerate(lines) if "ERROR" in line), 0)
    line = (
        "".join(lines[at : at + 1]).removeprefix("[xrt-smi]").strip().removeprefix("ERROR:").strip()
    )
    return " ".join([line, *lines[at + 1 : at + 3]]) if line.endswith(":") else line
