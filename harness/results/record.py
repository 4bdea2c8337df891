"""The record of a run, stored as `record.json`: tables, plots and MLflow are derived from it.

Schema history:
1  First version.
2  Adds `machine`, its state before and after the timed passes, and stores samples of INVALID runs.
   In records of schema 1, `machine` is None.
3  Adds `totals`, the sums over the timed pass, and `steps`, the sums of each operation of an
   encoder. In records of schemas 1 and 2, they are None and empty.
4  Adds `run_key`, by which a sweep recognises what has run before. In records of schemas 1 to 3,
   it is empty, and sweeps do not use them.
5  Adds `processor` to the states in `machine`: what has run the kernels of device=cpu. In records
   of schemas 1 to 4, it is None.
6  Adds idle time, causes of stalls, exposed transfer and loads to `totals`; `stop`, why the timed
   passes ended; `caching`, passes over one input; and to `samples` the warm-up passes and whether
   the timed ones were cold. In records of schemas 1 to 5, they are None; `warmup_ns` is empty.
7  Adds `verification`: what outputs were compared with, and how close they were. In records of
   schemas 1 to 6, it is None, and `config.verify` tells whether references were the oracle. Adds
   `input_hashes`, the files that the workload names, and `kernel_hashes`, the declarations of its
   kernels; in records of schemas 1 to 6, they are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.config.sources import key_and_value
from harness.config.strategy import Strategy
from harness.config.workload import Accounting
from harness.errors import HarnessError
from harness.execution.agreement import Verification
from harness.execution.outcome import MachineStates, Outcome, Verdict
from harness.execution.tile_passes import Step
from harness.hazard import Hazard
from harness.measure.caching import CacheCheck
from harness.measure.metric import Metrics
from harness.measure.rtf import Audio
from harness.measure.stopping import Stop
from harness.measure.totals import Totals
from harness.results.damage import reason
from harness.results.environment import Environment, environment
from harness.results.identity import config_hash
from harness.results.run_key import input_hashes, kernel_hashes, run_key
from harness.results.whole_file import written_last
from harness.units import ms_to_ns

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FILE_NAME = "record.json"
SCHEMA_VERSION: Literal[7] = 7
IN_LABEL = ("strategy", "depth", "tracking", "resume", "hydra")
"""Configuration groups whose overrides the label already shows, or that do not change results."""
MOST_SWEPT_CHARACTERS = 20
"""Longest swept value at the beginning of a run's name."""


@dataclass(frozen=True)
class Samples:
    """Raw makespans of the timed passes and of the warm-up passes, each in order.

    cold: every timed pass began on new contexts; None in records that lack it.
    """

    total_ns: tuple[int, ...]
    warmup_ns: tuple[int, ...] = ()
    cold: bool | None = None


@dataclass(frozen=True)
class RtfBasis:
    """The audio that the RTF is about, and how it is counted.

    kind: the accounting. host_ms: preprocessing time in the RTF; measured_host_ms: as measured in
    this run. encoder_tiles: tiles that encode the audio, None if the kernel is not part of an
    encoder. overlap_host: preprocessing overlaps with waiting for the device.
    """

    kind: Accounting
    audio_s: float
    host_ms: float
    measured_host_ms: float
    encoder_tiles: float | int | None
    overlap_host: bool = False

    @property
    def audio(self) -> Audio:
        """The audio in the form that the formulas of the RTF take."""
        host_ns = ms_to_ns(self.host_ms)
        return Audio(self.audio_s, host_ns, self.encoder_tiles, self.overlap_host)


@dataclass(frozen=True)
class Record:
    """One finished run, immutable.

        record = Record.load(Path("outputs/2026-01-31/12-00-00"))
        if record.ok:
            print(record.label, record.metrics["time/tile_ms"], record.samples.total_ns)

    config: the resolved configuration; config_hash: its `harness.results.identity.config_hash`.
    knobs: the effective strategy. timed_pass: index of the median pass, which metrics, totals and
    steps describe. machine: None if its state cannot change. totals: None if nothing was timed.
    steps: the operations of an encoder; empty for other workloads. run_key: its
    `harness.results.run_key.run_key`; empty if it is not known. stop: why the timed passes ended.
    caching: with `measure.cache_check`, passes over one input. verification: how outputs were
    compared.
    """

    # strict: a text in place of a number is damage, and must not be converted.
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
    run_key: str = ""
    stop: Stop | None = None
    caching: CacheCheck | None = None
    verification: Verification | None = None
    input_hashes: dict[str, str] = field(default_factory=dict)
    kernel_hashes: dict[str, str] = field(default_factory=dict)
    created: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds")
    )
    schema_version: Literal[1, 2, 3, 4, 5, 6, 7] = SCHEMA_VERSION

    @property
    def settings(self) -> dict[str, str]:
        """The overrides of the command line that the label does not show, as key -> value."""
        return settings_beyond_label(self.overrides)

    @property
    def ok(self) -> bool:
        """Whether the run has correct outputs and valid times."""
        return self.verdict is Verdict.OK

    def save(self, folder: Path) -> Path:
        """Write `record.json` into `folder`, completely or not at all; OSError if that fails."""
        with self.saved_last(folder):
            return folder / FILE_NAME

    def saved_last(self, folder: Path) -> AbstractContextManager[None]:
        """In this context, write the other files of the run; the record appears when it ends.

        It appears however the context ends: an error in another file loses no record. OSError if
        the record cannot be written, before the context begins where the disk is full.
        """
        return written_last(folder / FILE_NAME, _adapter().dump_python(self, mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read the record in `folder`; HarnessError if it is missing, damaged or not a record."""
        from pydantic import ValidationError

        path = folder / FILE_NAME
        try:
            return _adapter().validate_json(path.read_bytes())
        except OSError as error:
            raise HarnessError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise HarnessError(f"{path}: {reason(error)}") from error
        except HarnessError as error:
            raise HarnessError(f"{path}: {error}") from error


def record_of(
    outcome: Outcome,
    resolved: dict[str, Any],
    preset: str,
    overrides: list[str],
    swept: Sequence[str] = (),
) -> Record:
    """Create the record of a finished experiment.

        outcome = Experiment(config).run()
        record = record_of(outcome, resolved, "pipelined", ["depth=3"])
        record.save(folder)

    resolved: the whole configuration as plain data. preset: name of the strategy's YAML file.
    overrides: of the command line. swept: keys that have several values in the run's sweep.
    """
    audio, cold = outcome.audio, not resolved["measure"]["warmup"]
    return Record(
        name=_name(outcome, preset, settings_beyond_label(overrides), swept),
        label=outcome.label,
        preset=preset,
        phase=outcome.phase,
        device=outcome.device,
        kernel=outcome.kernel,
        verdict=outcome.verdict,
        reason=outcome.reason,
        metrics=outcome.metrics,
        samples=Samples(outcome.pass_times_ns, outcome.warmup_ns, cold),
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
        run_key=run_key(resolved),
        stop=outcome.stop,
        caching=outcome.caching,
        verification=outcome.verification,
        input_hashes=input_hashes(resolved.get("workload", {})),
        kernel_hashes=kernel_hashes(resolved),
    )


def _name(outcome: Outcome, preset: str, settings: dict[str, str], swept: Sequence[str]) -> str:
    """What differs from other runs of the sweep first: MLflow shows 22 characters of a name."""
    first = [
        preset if key == "strategy" else f"{key.rpartition('.')[2]}={_tail(settings[key])}"
        for key in swept
        if key in settings or key == "strategy"
    ]
    rest = [
        f"{key}={value}" for key, value in settings.items() if key != "device" and key not in swept
    ]
    return " ".join([*first, outcome.label, outcome.kernel, outcome.device, *rest])


def _tail(value: str) -> str:
    """The end of a long value: paths differ there."""
    return value if len(value) <= MOST_SWEPT_CHARACTERS else f"...{value[-MOST_SWEPT_CHARACTERS:]}"


def settings_beyond_label(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides of the command line as key -> value, without those of groups in IN_LABEL."""
    # A deletion (~key) has no value.
    pairs = (key_and_value(override) for override in overrides if "=" in override)
    return {key: value for key, value in pairs if key.split(".")[0] not in IN_LABEL}


@cache
def _adapter() -> TypeAdapter[Record]:
    """The converter between records and JSON; building it takes time, so it is built once."""
    from pydantic import TypeAdapter

    return TypeAdapter(Record)
