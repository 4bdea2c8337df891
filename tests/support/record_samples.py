"""Records for tests, built without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from harness.config.strategy import Buffers, Strategy
from harness.config.workload import Accounting
from harness.device.host.state import MachineState
from harness.execution.agreement import Agreement, Oracle, Verification
from harness.execution.outcome import MachineStates, Outcome, Verdict
from harness.execution.tile_passes import Step
from harness.hazard import Call, Hazard, Kind
from harness.measure.caching import CacheCheck
from harness.measure.metric import Measurement
from harness.measure.metrics import metrics_of
from harness.measure.rtf import Audio
from harness.measure.stopping import Stop, StopReason
from harness.measure.totals import Totals
from harness.models.operations import Operation
from harness.models.tiling import Unit
from harness.results.environment import Environment
from harness.results.record import Record, record_of

TOTALS = Totals("virtual", 1, 10, 100, 0, 20, 15, 60, 5, exec_ns=55, bound_ns=90)
AUDIO = Audio(11.0, 304_700_000, 140.625)
CONFIG: dict[str, Any] = {
    "device": {"kind": "simulator", "launch_ns": 69_000},
    "strategy": {"buffers": "pooled", "depth": 2},
    "workload": {
        "model": "whisper_base",
        "accounting": "guide",
        "fused": False,
        "tiles": 10,
    },
    "phase": {"name": "dma"},
    "measure": {"warmup": 1, "repeats": 5},
    "tracking": {"kind": "off"},
    "depth": 2,
    "seed": 0,
    "verify": "all",
}
SERIAL = Strategy(buffers=Buffers.per_tile)
ENVIRONMENT = Environment("host", "6.1", "x86_64", 2, "3.11", {"numpy": "2"}, None, None, ("h",))
"""Reading the real one runs git."""


def a_record(
    times_ns: Sequence[int] = (100, 101, 99, 100, 102),
    strategy: Strategy = SERIAL,
    config: dict[str, Any] = CONFIG,
    verdict: Verdict = Verdict.OK,
) -> Record:
    """A record with something in every field."""
    operation = Operation("query", "matmul", 9, Unit.mac, 8, 9, 100, 0, notes=("split",), layer=0)
    call = Call("run.start", "executor.py", 12, 1_000)
    outcome = Outcome(
        kernel="attention",
        device="simulator",
        phase="dma",
        strategy=strategy,
        label=strategy.label,
        accounting=Accounting.guide,
        audio=AUDIO,
        measured_host_ns=300_000_000,
        verdict=verdict,
        reason="",
        metrics=metrics_of(Measurement(TOTALS, audio=AUDIO, verified=10, hazards=1, allocations=0)),
        pass_times_ns=tuple(times_ns),
        warmup_ns=(150,),
        caching=CacheCheck((100,) * 5, (99,) * 5),
        stop=Stop(StopReason.requested, 0.03),
        timed_pass=0,
        totals=TOTALS,
        steps=(Step(operation, 2, TOTALS),),
        hazards=(Hazard(Kind.OVERLAP, "bo 1", 0, 64, "run 2", None, call, count=3),),
        machine=MachineStates(MachineState(power_mode="default", clocks_mhz={"h": 1600}), None),
        timeline=None,
        verification=Verification(
            Oracle.reference, (Agreement("attention", "at most 4 ulps", "sums", "2 of 4", 2.0),)
        ),
    )
    overrides = ["workload.tiles=10", "depth=2", "seed=0"]
    with patch("harness.results.record.environment", lambda: ENVIRONMENT):
        return record_of(outcome, config, "baseline", overrides)
