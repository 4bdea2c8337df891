"""`Config`, the whole request as one dataclass, and two small groups: measure and tracking."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from enum import Enum

from harness.config.credentials import URI_KEY, refuse_credentials
from harness.config.device import Device
from harness.config.phase import Phase
from harness.config.setting import Schema, setting
from harness.config.strategy import DEPTH_REMEDY, MOST_DEPTH, Strategy
from harness.config.workload import LayerWorkload, Workload
from harness.config.workload_keys import WORKLOAD_KEYS
from harness.errors import RequestError, check_range

MOST_PASSES = 10_000
MOST_SECONDS = 86_400


class Verify(Enum):
    """What output tiles are compared with.

    all: the references, or as device if a kernel has none. reference: the references only. device:
    the outputs of a serial pass on the same device.
    """

    all = "all"
    reference = "reference"
    device = "device"
    off = "off"


class Resume(Enum):
    """Which jobs of a sweep run: those without a right run so far, or all."""

    on = "on"
    off = "off"


class TrackingKind(Enum):
    """Kind of the MLflow store, or none."""

    local = "local"
    server = "server"
    off = "off"


@dataclass(frozen=True)
class Measure(Schema):
    """Number of warm-up and timed passes, and when the timed passes end.

    In virtual time without noise, `least_repeats` passes are timed: more show nothing new.
    """

    group = "measure."

    warmup: int = setting(
        1,
        "passes before the timed ones; 0 makes every timed pass start cold",
        least=0,
        most=10_000,
        unit="passes",
        remedy="0 times cold passes too",
    )
    repeats: int | None = setting(
        None,
        "exactly so many timed passes; null: as many as the keys below ask for",
        least=1,
        most=MOST_PASSES,
        unit="passes",
        remedy="use 5 or more, so that the spread of the passes shows, or null",
    )
    least_repeats: int = setting(
        5,
        "fewest timed passes; all of them in virtual time without noise",
        least=1,
        most=MOST_PASSES,
        unit="passes",
        remedy="use 5 or more, so that the spread of the passes shows",
    )
    most_repeats: int = setting(
        100,
        "most timed passes, where times vary",
        least=1,
        most=MOST_PASSES,
        unit="passes",
        remedy="measure.repeats=N times exactly N passes",
    )
    most_s: float = setting(
        10.0,
        "time on the device's clock after which no further pass begins",
        least=0,
        most=MOST_SECONDS,
        unit="s",
        remedy="0 times measure.least_repeats passes",
    )
    width: float = setting(
        0.005,
        "wanted length of the 95 % interval of the median pass, as a share of the median; the "
        "timed passes end when it is reached",
        least=0.0001,
        most=1,
        remedy="0.005 is 0.5 %",
    )

    cache_check: bool = setting(
        False,
        "after the timed passes on a real clock, also time passes over one input again and again, "
        "and report if they are more than 10 % faster",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most_repeats < self.least_repeats:
            raise RequestError(
                f"measure.most_repeats={self.most_repeats}: fewer than "
                f"measure.least_repeats={self.least_repeats}; use {self.least_repeats} or more, "
                "or give measure.repeats alone"
            )

    @property
    def fewest(self) -> int:
        """Timed passes of a run whose passes do not vary."""
        return self.repeats or self.least_repeats

    @property
    def most(self) -> int:
        """Timed passes that a run has at most."""
        return self.repeats or self.most_repeats


@dataclass(frozen=True)
class Tracking(Schema):
    """The MLflow store that runs are indexed in."""

    group = "tracking."

    kind: TrackingKind = setting(
        TrackingKind.off, "local: a sqlite file; server: an MLflow server; off: no MLflow"
    )
    backend: str = setting("mlflow", "module of harness/tracking/ that stores the runs")
    uri: str = setting("", "address of the store: sqlite:///<file>, or http://<host>:<port>")
    artifacts: str = setting("", "folder for the artifacts of a local store")
    experiment: str = setting("harness", "name of the MLflow experiment")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backend == "mlflow":
            self._check_mlflow()

    def _check_mlflow(self) -> None:
        refuse_credentials([f"{URI_KEY}={self.uri}"])
        # A folder, MLflow's default store before 3.7, raises in later versions.
        if self.kind is TrackingKind.local and not self.uri.startswith("sqlite:///"):
            raise RequestError(
                f"tracking.uri={self.uri}: not a local store; "
                "give sqlite:///<file> or use tracking=server"
            )
        # MLflow would write them to ./mlruns, and take that folder for a store later on.
        if self.kind is TrackingKind.local and not self.artifacts:
            raise RequestError(
                "tracking.artifacts=: empty; give the folder in which artifacts are stored"
            )
        if self.kind is TrackingKind.server and not self.uri.startswith(("http://", "https://")):
            raise RequestError(
                f"tracking.uri={self.uri}: not a server; "
                "give http://<host>:<port> or use tracking=local"
            )
        if self.kind is not TrackingKind.off and not self.experiment:
            raise RequestError("tracking.experiment=: empty; give the name of an MLflow experiment")


@dataclass(frozen=True)
class Config(Schema):
    """The whole request, checked and immutable.

    RequestError for a value out of range, and for groups that do not go together: more columns than
    the device has, a layer without verification, a knob that the phase does not allow.

        config = load("strategy=pipelined", "depth=3")
        config.strategy.depth, config.device.columns  # 3, 4
        dataclasses.replace(config, seed=1)  # is checked again
    """

    device: Device = setting(MISSING, "what runs the kernels")
    strategy: Strategy = setting(MISSING, "how the executor overlaps the stages of tiles")
    workload: Workload = setting(MISSING, "what runs, on which inputs")
    phase: Phase = setting(MISSING, "stage of the optimisation roadmap")
    measure: Measure = setting(MISSING, "number of warm-up and timed passes, and when they end")
    tracking: Tracking = setting(MISSING, "MLflow store in which runs are indexed")
    depth: int = setting(
        2,
        "submissions in flight per column, for the presets that use it (pipelined, stacked)",
        least=1,
        most=MOST_DEPTH,
        remedy=DEPTH_REMEDY,
    )
    seed: int = setting(
        0, "seed of the projection of speech, of random tiles, weights and noise", least=0
    )
    verify: Verify = setting(
        Verify.all,
        "all: every tile is compared with the reference, or as with `device` if a kernel has none; "
        "reference: the same, and a kernel without one is an error; device: with a serial pass on "
        "the device; off: timing only",
    )

    resume: Resume = setting(
        Resume.on,
        "on: a sweep skips each job of which outputs/ has a run with verdict OK and the same "
        "configuration, code and device; off: it runs all jobs",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = self.device.columns
        remedy = f"the device has {columns} usable columns"
        # Not a limit of the field, because another group of the same request sets it.
        check_range("strategy.columns", self.strategy.columns, 1, columns, remedy)
        if isinstance(self.workload, LayerWorkload) and self.verify in (Verify.device, Verify.off):
            raise RequestError(
                f"workload.layer={self.workload.layer} verify={self.verify.value}: a single layer "
                "runs to verify its results; use verify=all, or leave workload.layer out to time "
                "the whole window"
            )
        # Last: a value that is impossible in every phase has the more useful message.
        self.phase.check(self.strategy, self.workload)


GROUP_SCHEMAS: dict[str, type] = {
    "strategy": Strategy,
    "workload": WORKLOAD_KEYS,
    "phase": Phase,
    "measure": Measure,
    "tracking": Tracking,
}
"""Schema of every other group; for the workload, that of its flat keys."""
