"""Reads the machine and the software versions of this process, for the record."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("npu-harness", "hydra-core", "omegaconf", "numpy", "scipy", "mlflow")


@dataclass(frozen=True)
class Environment:
    """The environment of a run; a field is None if it could not be read.

    kernel: release of the Linux kernel. packages: version by name. git_commit, git_dirty: state of
    the source tree, None for an installed package. command: `sys.argv`.
    """

    host: str
    kernel: str
    machine: str
    cpu_count: int | None
    python: str
    packages: dict[str, str | None]
    git_commit: str | None
    git_dirty: bool | None
    command: tuple[str, ...]


@cache
def environment() -> Environment:
    """The environment of this process, read once."""
    # -uno: untracked files do not change what runs, and searching for them takes time.
    status = _git("status", "--porcelain", "-uno")
    return Environment(
        host=platform.node(),
        kernel=platform.release(),
        machine=platform.machine(),
        cpu_count=os.cpu_count(),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=None if status is None else bool(status),
        command=tuple(sys.argv),
    )


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Output of git in the source tree; None for an installed package or without git."""
    tree = Path(__file__).parent.parent.parent
    # Else git would answer for any repository around an installed package.
    if not (tree / ".git").exists():
        return None
    try:
        process = subprocess.run(
            ["git", "-C", str(tree), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
