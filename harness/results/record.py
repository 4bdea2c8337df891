"""The record of a run: the store that everything else is an index or a picture of.

Schema history:
1  first.
2  machine: its state before and after the timed passes; samples of INVALID runs are stored.
   Schema 1 reads as without a machine.
3  totals: sums over the timed pass; steps: those of each operation of an encoder.
   Schemas 1 and 2 read as without them.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.config.strategy import Strategy
from harness.config.workload import Accounting
from harness.errors import HarnessError
from harness.hazard import Hazard
from harness.measure.metric import Metrics
from harness.measure.rtf import Audio
from harness.measure.totals import Totals
from harness.results.environment import Environment, environment
from harness.results.identity import config_hash
from harness.run.outcome import MachineStates, Outcome, Verdict
from harness.run.tile_passes import Step
from harness.units import ms_to_ns

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

FILE_NAME = "record.json"
SCHEMA_VERSION: Literal[3] = 3
IN_LABEL = ("strategy", "depth", "tracking", "hydra")
"""Configuration groups whose overrides a record's label shows, or which change no result."""
MOST_CHARACTERS = 60
"""Of a wrong value in an error message."""


@dataclass(frozen=True)
class Samples:
    """Raw values per timed pass, in order."""

    total_ns: tuple[int, ...]


@dataclass(frozen=True)
class RtfBasis:
    """What the RTF counts: `Audio`, and by which accounting; host_ms: preprocessing as counted."""

    kind: Accounting
    audio_s: float
    host_ms: float
    measured_host_ms: float
    encoder_tiles: float | int | None
    overlap_host: bool = False

    @property
    def audio(self) -> Audio:
        """As the RTF's formulas take it."""
        host_ns = ms_to_ns(self.host_ms)
        return Audio(self.audio_s, host_ns, self.encoder_tiles, self.overlap_host)


@dataclass(frozen=True)
class Record:
    """One finished run, immutable.

    config: the resolved configuration; config_hash: `harness.results.identity.config_hash` of it.
    knobs: the effective strategy. timed_pass: index of the median pass, which the metrics are of.
    machine: None where its state cannot change. totals: of the timed pass, None where nothing was
    timed. steps: of an encoder, each operation, how many of its calls ran, and the totals of all.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    name: str
    label: str
    preset: str
    phase: str
    device: str
    kernel: str
    verdict: Verdict
    reason: str
    metrics: Metrics
    samples: Samples
    timed_pass: int | None
    accounting: RtfBasis
    config: dict[str, Any]
    config_hash: str
    knobs: Strategy
    overrides: list[str]
    environment: Environment
    machine: MachineStates | None = None
    hazards: tuple[Hazard, ...] = ()
    totals: Totals | None = None
    steps: tuple[Step, ...] = ()
    created: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds")
    )
    schema_version: Literal[1, 2, 3] = SCHEMA_VERSION

    @property
    def settings(self) -> dict[str, str]:
        """What the command line set beyond what the label shows, as key -> value."""
        return settings_beyond_label(self.overrides)

    @property
    def ok(self) -> bool:
        """Whether the run completed with right outputs."""
        return self.verdict is Verdict.OK

    def save(self, folder: Path) -> Path:
        """Write `record.json` into `folder`, whole or not at all; OSError where that fails."""
        return write_json(folder / FILE_NAME, _adapter().dump_python(self, mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read the record in `folder`; HarnessError for none, or a damaged or foreign one."""
        from pydantic import ValidationError

        path = folder / FILE_NAME
        try:
            return _adapter().validate_json(path.read_bytes())
        except OSError as error:
            raise HarnessError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise HarnessError(f"{path}: {_first_error(error)}") from error
        except HarnessError as error:
            raise HarnessError(f"{path}: {error}") from error


def record_of(
    outcome: Outcome, resolved: dict[str, Any], preset: str, overrides: list[str]
) -> Record:
    """The record of an outcome, and of the request that led to it.

    resolved: the whole configuration as plain data. preset: name of the strategy's YAML file.
    """
    audio = outcome.audio
    settings = settings_beyond_label(overrides)
    shown = [f"{key}={value}" for key, value in settings.items() if key != "device"]
    return Record(
        name=" ".join([outcome.label, outcome.kernel, outcome.device, *shown]),
        label=outcome.label,
        preset=preset,
        phase=outcome.phase,
        device=outcome.device,
        kernel=outcome.kernel,
        verdict=outcome.verdict,
        reason=outcome.reason,
        metrics=outcome.metrics,
        samples=Samples(outcome.pass_times_ns),
        timed_pass=outcome.timed_pass,
        accounting=RtfBasis(
            kind=outcome.accounting,
            audio_s=audio.seconds,
            host_ms=audio.host_ns / 1e6,
            measured_host_ms=outcome.measured_host_ns / 1e6,
            encoder_tiles=audio.tiles,
            overlap_host=audio.overlaps,
        ),
        config=resolved,
        config_hash=config_hash(resolved),
        knobs=outcome.strategy,
        overrides=overrides,
        environment=environment(),
        machine=outcome.machine,
        hazards=outcome.hazards,
        totals=outcome.totals,
        steps=outcome.steps,
    )


def settings_beyond_label(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides of the command line as key -> value, without those of groups in IN_LABEL."""
    pairs = (override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    return {key: value for key, value in pairs if key.split(".")[0] not in IN_LABEL}


def write_json(path: Path, content: Any, *, durable: bool = True) -> Path:
    """Write JSON atomically: a reader or a crash sees the old file or the whole new one.

    durable: survive a loss of power, and indent for readers; else write as fast as possible.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w") as file:
            file.write(json.dumps(content, indent=1 if durable else None) + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a loss of power (fsync(2), "Description")."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync folders; the record itself is written.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@cache
def _adapter() -> TypeAdapter[Record]:
    """Reads and writes records."""
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def _first_error(error: ValidationError) -> str:
    """The first error as one line: field, what was expected, what is there."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    expected = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "missing":
        return f"{place}: {expected}"
    value = shorten(repr(first["input"]), MOST_CHARACTERS)
    return f"{place}: {expected}, not {value}" if place else f"not a record: {expected}"
