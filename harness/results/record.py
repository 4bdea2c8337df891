"""The record of a run: the store that everything else is an index or a picture of.

Schema history:
1  first.
2  machine: its state before and after the timed passes; samples of INVALID runs are kept. 1 reads as without one.
3  totals: what the timed pass adds up to; steps: of a window, what its operations do. 1 and 2 read as without them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.measure.metrics import Metrics

SCHEMA_VERSION = 3
READABLE = (1, 2, 3)
FILE_NAME = "record.json"


class Verdict(Enum):
    """What became of a run."""

    OK = "OK"
    WRONG = "WRONG"
    HAZARD = "HAZARD"
    FAILED = "FAILED"
    INVALID = "INVALID"


@dataclass(frozen=True)
class Record:
    """One finished run, immutable.

    config: the resolved configuration; config_hash: its sha256 without `tracking`, which changes no result.
    knobs: the effective strategy. samples: raw values per timed pass, in order; `timed_pass` is the index of the
    median one, which the metrics are of. accounting: what the RTF counted. environment: see `environment`. machine: its
    state `before` and `after` the timed passes (`harness.device.host.state`), None where it cannot change. totals: of the
    timed pass, as `harness.measure.totals.Totals`, None where nothing was timed; steps: as `harness.run.tile_passes.Step`, each
    operation of a window, how many calls of it were run, and the totals of all its calls.
    """

    name: str
    label: str
    preset: str
    phase: str
    device: str
    kernel: str
    verdict: Verdict
    reason: str
    metrics: Metrics
    samples: dict[str, list[int]]
    timed_pass: int | None
    accounting: dict[str, Any]
    config: dict[str, Any]
    config_hash: str
    knobs: dict[str, Any]
    overrides: list[str]
    environment: dict[str, Any]
    machine: dict[str, Any] | None = None
    hazards: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    created: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds")
    )
    schema_version: int = SCHEMA_VERSION

    @property
    def given(self) -> dict[str, str]:
        """What was asked for beyond what the label tells, as key -> value."""
        return given(self.overrides)

    @property
    def ok(self) -> bool:
        """Whether the run is done and right."""
        return self.verdict is Verdict.OK

    def save(self, folder: Path) -> Path:
        """Write `record.json` into `folder`, whole or not at all; OSError where that fails."""
        return write_json(folder / FILE_NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Record:
        """The record in `folder`; HarnessError if there is none, or one of another schema."""
        try:
            raw = json.loads((folder / FILE_NAME).read_text())
        except (OSError, ValueError) as error:
            raise HarnessError(
                f"{folder / FILE_NAME}: no record can be read from it ({error})"
            ) from error
        if raw.get("schema_version") not in READABLE:
            raise HarnessError(
                f"{folder / FILE_NAME}: schema version {raw.get('schema_version')}; "
                f"this harness reads {' and '.join(map(str, READABLE))}"
            )
        return cls(**{**raw, "verdict": Verdict(raw["verdict"])})


def given(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides of the command line as key -> value, without those of the strategy, which labels tell."""
    pairs = (override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    return {
        key: value
        for key, value in pairs
        if key.split(".")[0] not in ("strategy", "depth", "tracking", "hydra")
    }


def write_json(path: Path, content: Any, *, durable: bool = True) -> Path:
    """Write JSON atomically: a reader or a crash sees the old file or the whole new one.

    durable: survive a loss of power too, and be read by people: indented. Else as quick as it can be.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w") as file:
            file.write(json.dumps(content, indent=1 if durable else None, default=_plain) + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def config_hash(config: Mapping[str, Any]) -> str:
    """sha256 of the resolved configuration, key order aside, without `tracking`."""
    content = {key: value for key, value in config.items() if key != "tracking"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).hexdigest()


@cache
def environment() -> dict[str, Any]:
    """The machine and the software of this process; a value that can't be had is None."""
    return {
        "host": platform.node(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {
            name: _version(name)
            for name in ("npu-harness", "hydra-core", "omegaconf", "numpy", "scipy", "mlflow")
        },
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(status)
        if (status := _git("status", "--porcelain", "-uno")) is not None
        else None,
        "command": sys.argv,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} is not JSON")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Output of git on the source tree; None for an installed package or without git."""
    tree = Path(__file__).parent.parent.parent
    if not (tree / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(tree), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
