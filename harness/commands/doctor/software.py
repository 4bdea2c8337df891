"""Checks of Python, pyxrt, XRT and the C++ compiler."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.commands.doctor.check import Check, Subject, fail, ok, warn
from harness.config.device import Cpu
from harness.device.cpu.compiler import version_of
from harness.device.host import smi, sysfs

PLACES = (
    "opt/xilinx/xrt/python",
    "usr/lib/python3/dist-packages",
    "usr/lib*/python3.*/site-packages",
    "usr/local/lib*/python3.*/*-packages",
)
"""Where packages of XRT and of distributions install pyxrt, below the root."""
ABI = re.compile(r"pyxrt\.cpython-(\d)(\d+)")
"""Tag of a module built for one version of Python: cpython-310 is 3.10."""


def check_pyxrt(subject: Subject) -> Check:
    """Whether this Python imports a complete pyxrt; else where one for another Python is."""
    own, probe = f"Python {platform.python_version()}", subject.probe
    if probe.error:
        return fail("pyxrt", f"{own} cannot use it ({probe.error})", _remedy())
    lacking = [
        *probe.missing,
        *["runlist"] * (not probe.runlists and subject.config.strategy.batch > 1),
    ]
    # pyxrt has runlists since June 2025.
    if lacking:
        return fail(
            "pyxrt", f"{probe.path} has no {', '.join(lacking)}", "install XRT 2.20 or newer"
        )
    if not probe.runlists:
        return warn(
            "pyxrt",
            f"{probe.path} has no runlist",
            "for strategies with batch > 1 install XRT 2.20 or newer",
        )
    return ok("pyxrt", f"{own} imports {probe.path}")


def check_xrt(subject: Subject) -> Check:
    """XRT's version."""
    reported = ""
    with suppress(ValueError, AttributeError, RecursionError):
        reported = str(json.loads(subject.probe.host).get("version") or "")
    xrt = subject.state.xrt or reported
    if xrt:
        return ok("XRT", xrt)
    return warn(
        "XRT",
        "version unknown: neither pyxrt nor xrt-smi reports it",
        "records of runs will lack it",
    )


def check_smi(subject: Subject) -> Check:
    """Whether xrt-smi exists: only it reports power modes and other tenants."""
    if path := smi.find():
        return ok("xrt-smi", path)
    remedy = (
        "install XRT's tools and source their setup script, to see other tenants and to set the "
        "power mode"
    )
    return warn("xrt-smi", f"neither on PATH nor at {smi.USUAL}", remedy)


def check_compiler(subject: Subject) -> Check:
    """Whether device=cpu has its compiler; runs on an NPU do not need one."""
    name = Cpu().compiler
    if version := version_of(name):
        return ok("C++ compiler", f"{version}, for device=cpu")
    return warn(
        "C++ compiler",
        f"no {name} on PATH, so device=cpu cannot run kernels in C++",
        "install the package g++ (Debian, Ubuntu) or gcc-c++ (Fedora)",
    )


def found_elsewhere() -> Iterator[tuple[Path, str]]:
    """Files of pyxrt at the usual places, each with its version of Python ("" if unknown)."""
    xrt_root = os.environ.get("XILINX_XRT")
    folders = [folder for pattern in PLACES for folder in sorted(sysfs.ROOT.glob(pattern))]
    for folder in dict.fromkeys([*([Path(xrt_root) / "python"] if xrt_root else []), *folders]):
        # A module without a tag loads in any Python, if it was built for it.
        for path in sorted(folder.glob("pyxrt*.so")):
            tag = ABI.match(path.name)
            yield path, f"{tag[1]}.{tag[2]}" if tag else ""


def _remedy() -> str:
    own = ".".join(platform.python_version_tuple()[:2])
    for path, python in found_elsewhere():
        if python in ("", own):
            return f"try {path}: put {path.parent} on PYTHONPATH, or source XRT's setup script"
    parts = [
        f"{path} is for Python {python}: install the harness for that Python, "
        f"or XRT's package for {own}"
        for path, python in found_elsewhere()
    ][:1]
    parts = parts or [
        "install XRT with its Python package (python3-xrt, or xrt-npu and the amdxdna plugin)"
    ]
    with suppress(PackageNotFoundError):
        parts.append(f"the installed package xrt {version('xrt')} is another one, about X-rays")
        return "; ".join(parts)
    return "; ".join([*parts, "not from PyPI: its package xrt is about X-rays"])
