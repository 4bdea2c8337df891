"""XRT's command line tool `xrt-smi`: reads the machine's state and sets the power mode.

Without a device, xrt-smi 2.25 rejects `-f` and `--pmode` and exits with 1, because it takes its
options from the driver's plugin. Its JSON has "" for empty lists and text for numbers, because
Boost's property tree writes them so.
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
"""Where XRT's packages install xrt-smi; it is on PATH only after XRT's setup script."""
EXAMINE_TIMEOUT_S = 10
"""A reading takes about 30 ms (Triton-XDNA #86); if the device hangs, xrt-smi never returns."""
SET_TIMEOUT_S = 30
"""After raising a clock the driver waits for 3.5 s before it returns (xdna-driver #1425)."""
REPORTS = ("platform", "host", "aie-partitions")


class SmiError(DeviceError):
    """xrt-smi is missing, failed or did not return; the text is xrt-smi's own where it has one."""


def find() -> str | None:
    """Path of xrt-smi: on PATH, or where XRT's packages install it; None if it is missing."""
    return shutil.which("xrt-smi") or (str(USUAL) if os.access(USUAL, os.X_OK) else None)


def examine(bdf: str | None = None) -> dict[str, Any] | None:
    """xrt-smi's report on the machine and the device at `bdf`; None if it reports nothing.

    bdf: PCI address; None for the only device. The first call also asks for the clocks, which are
    an advanced report (xdna-driver #495). Versions without that report fail, and are called again
    without it.
    """
    with_clocks = ["--advanced", "-r", *REPORTS, "clocks"]
    try:
        return _report(with_clocks, bdf) or _report(["-r", *REPORTS], bdf)
    except TimeoutError:
        # The second call would hang too.
        return None


def set_power_mode(mode: str, bdf: str | None = None) -> None:
    """Set the power mode through xrt-smi; SmiError if that fails.

    The driver requires root (SET_STATE is DRM_ROOT_ONLY).
    """
    tool = find()
    if tool is None:
        raise SmiError("xrt-smi is not on PATH")
    try:
        result = process.run([tool, "configure", *_device(bdf), "--pmode", mode], SET_TIMEOUT_S)
    except OSError as error:
        raise SmiError(str(error)) from error
    if result.code is None:
        raise SmiError(f"no answer within {SET_TIMEOUT_S} s")
    # The exit code alone is not enough: an error may be in the text only.
    if result.code or "ERROR" in result.output:
        raise SmiError(_error_of(result.output) or f"exit code {result.code} and no message")


def _report(reports: Sequence[str], bdf: str | None) -> dict[str, Any] | None:
    """The parsed output of one call; None if it fails, TimeoutError if xrt-smi hangs."""
    tool = find()
    if tool is None:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="xrt-smi-") as folder:
            path = Path(folder) / "report.json"
            to_file = ["-f", "JSON", "-o", str(path), "--force"]
            arguments = [tool, "examine", *_device(bdf), *reports, *to_file]
            code = process.run(arguments, EXAMINE_TIMEOUT_S).code
            if code is None:
                raise TimeoutError(f"xrt-smi: no answer within {EXAMINE_TIMEOUT_S} s")
            report = json.loads(path.read_bytes()) if code == 0 else None
    except TimeoutError:
        raise
    # The report is missing, is not JSON, or is nested too deeply.
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _device(bdf: str | None) -> list[str]:
    return ["-d", bdf] if bdf else []


def _error_of(output: str) -> str:
    """The error message in xrt-smi's output: its first line with ERROR, else its first line.

    The rest is a page of help. A message that ends in a colon continues on the next two lines.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return ""
    at = next((number for number, line in enumerate(lines) if "ERROR" in line), 0)
    message = lines[at].removeprefix("[xrt-smi]").strip().removeprefix("ERROR:").strip()
    return " ".join([message, *lines[at + 1 : at + 3]]) if message.endswith(":") else message
