"""One layer of an encoder with its data, from command to bytes: right, or wrong if one call is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.process import Shell
from support.window import COSTS

import harness.execution.layer_passes
from harness.config.compose import load
from harness.config.device import Faults, Simulator
from harness.device.open import open_backend
from harness.device.xrt.backend import XrtBackend
from harness.execution.encoder_passes import MOST_SHOWN
from harness.execution.layer_passes import LayerPasses
from harness.inputs.generate import make_activations
from harness.models.tiling import load_tiling
from harness.models.weights import make_weights, weight_shapes
from harness.models.whisper import ENCODERS, Encoder

SMALL = Encoder("small", layers=2, heads=2, d_model=48, ffn=64, frames=70)
TILING = load_tiling()


def opened(*overrides: str, **costs: Any) -> tuple[XrtBackend, LayerPasses]:
    config = load("workload=whisper_tiny", "workload.layer=1", *overrides)
    config = replace(config, device=Simulator(**{**COSTS, **costs}))
    world = open_backend(config.device, *TILING.specs)
    x = make_activations(SMALL.frames, SMALL.d_model, "speech", 0)
    columns = dict.fromkeys((spec.name for spec in TILING.specs), config.strategy.columns)
    return world, LayerPasses(config, world, columns, SMALL, TILING, 1, x, make_weights(SMALL, 0))


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=baseline"],
        ["strategy=pipelined", "depth=3"],
        ["strategy=stacked", "strategy.batch=5", "strategy.columns=2"],
    ],
    ids=" ".join,
)
def test_whatever_the_strategy_the_layer_is_right(overrides: list[str]) -> None:
    world, passes = opened(*overrides)
    told: list[float] = []
    compared = passes.verify(told.append)
    made, compare = passes.run(check=True)
    compared += compare()
    assert [each.first_mismatch for each in compared if each.mismatches] == []
    calls = sum(step.operation.calls for step in made.steps)
    assert sum(each.compared for each in compared) == 2 * (calls + 1), "every call, and the result"
    assert [step.run for step in made.steps] == [step.operation.calls for step in made.steps]
    assert {step.operation.layer for step in made.steps} == {1}
    assert told == sorted(told)
    assert told[-1] == 1
    timeline = made.timeline()
    assert timeline
    assert [part.name for part in timeline.parts] == [str(step.operation) for step in made.steps]
    shown = [part.tile for part in timeline.parts] + [timeline.tiles]
    for step, first, after in zip(made.steps, shown, shown[1:], strict=False):
        assert min(MOST_SHOWN, step.run) <= after - first <= min(step.run, MOST_SHOWN + 5)
    passes.close()
    assert world.take_hazards
    assert world.take_hazards() == []


def test_a_wrong_call_is_seen_and_so_is_the_wrong_result_that_it_makes() -> None:
    _, passes = opened("strategy=pipelined", faults=Faults(corrupt=[400]))
    compared = passes.verify(lambda share: None)
    passes.close()
    assert [each.mismatches for each in compared if each.mismatches] == [1, 1]
    assert compared[-1].first_mismatch.startswith("the layer's result: frame ")


def test_data_passed_on_wrongly_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call is right; two of its outputs have changed places."""

    class Swapping(harness.execution.layer_passes.LayerData):
        def take(self, operation: Any, outputs: Any) -> None:
            swapped = outputs.copy()
            swapped[[0, 1]] = outputs[[1, 0]]
            super().take(operation, swapped)

    monkeypatch.setattr(harness.execution.layer_passes, "LayerData", Swapping)
    _, passes = opened("strategy=pipelined")
    compared = passes.verify(lambda share: None)
    passes.close()
    assert [each.mismatches for each in compared[:-1]] == [0] * (len(compared) - 1)
    assert compared[-1].mismatches == 1


def test_the_command_runs_a_layer(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = replace(SMALL, layers=4)
    monkeypatch.setitem(ENCODERS, encoder.name, encoder)
    generator = np.random.default_rng(1)
    weights = {
        name: generator.integers(-9, 9, shape).astype(np.int8)
        for name, shape in weight_shapes(encoder).items()
    }
    np.savez("w.npz", **weights)
    done = shell(
        *("tracking=off", "workload=whisper_tiny", f"workload.model={encoder.name}"),
        *("workload.layer=3", "workload.weights=w.npz"),
        *("workload.matmul=matmul_64", "measure.warmup=0", "measure.repeats=1"),
    )
    assert (done.code, done.err) == (0, "")
    record = done.record
    assert record["kernel"] == "small layer 3"
    calls = sum(step["operation"]["calls"] for step in record["steps"])
    assert record["metrics"]["verify/tiles"] == 2 * (calls + 1)
    assert record["metrics"]["verify/mismatches"] == 0
    assert record["metrics"]["rtf/end_to_end"] is None
    assert "counts no tiles of small layer 3" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify=off"], "workload.layer=0 verify=off: a single layer runs to verify its results"),
        (["workload.layer=4"], "workload.layer=4: out of range; allowed: 0 to 3"),
        (["workload.layer=-1"], "workload.layer=-1: out of range; allowed: 0 to 3"),
        (["workload.weights=none.npz"], "workload.weights=none.npz: no such file"),
        (["workload.weights=text.npz"], "workload.weights=text.npz: cannot be read as an .npz"),
    ],
)
def test_a_layer_that_cannot_be(shell: Shell, arguments: list[str], said: str) -> None:
    Path("text.npz").write_text("no archive")
    for sweep in ([], ["-m"]):
        done = shell(
            *sweep, "tracking=off", "workload=whisper_tiny", "workload.layer=0", *arguments
        )
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1), done
        assert said in done.err
        assert not done.folders
