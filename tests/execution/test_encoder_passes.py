"""A window of an encoder by its operations: exact times, samples for the rest, contexts in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.process import Shell
from support.window import COSTS, EXEC_NS, SMALL

from harness.config.compose import load
from harness.config.device import Faults, Simulator
from harness.config.schema import Config
from harness.device.open import open_backend
from harness.device.xrt.backend import XrtBackend
from harness.execution.encoder_passes import MOST_SHOWN, EncoderPasses
from harness.execution.prepare import prepare
from harness.execution.tile_passes import Pass
from harness.inputs.generate import make_tiles
from harness.measure.metrics import METRIC_NAMES
from harness.measure.totals import Totals, stalls
from harness.models.operations import Operation, operations
from harness.models.tiling import load_tiling
from harness.models.whisper import encoder_of

pytestmark = pytest.mark.slow

TILING = load_tiling()


def calls(found: Sequence[Operation]) -> int:
    return sum(each.calls for each in found)


def opened(tiles: int, *overrides: str, **costs: Any) -> tuple[XrtBackend, EncoderPasses]:
    config: Config = load("workload=whisper_tiny", f"workload.tiles={tiles}", *overrides)
    config = replace(config, device=Simulator(**{**COSTS, **costs}))
    world = open_backend(config.device, *TILING.specs)
    made = {
        spec.name: make_tiles(spec.name, 40, "random", 0, lambda: 0, 37) for spec in TILING.specs
    }
    columns = dict.fromkeys((spec.name for spec in TILING.specs), config.strategy.columns)
    return world, EncoderPasses(config, world, columns, operations(SMALL, TILING), made, made)


def a_pass(tiles: int, *overrides: str, **costs: Any) -> Pass:
    """The second of two right passes, after a verified one; no hazard, no context left."""
    world, passes = opened(tiles, *overrides, **costs)
    checkers = passes.verify(lambda share: None)
    for _ in range(2):
        made, compare = passes.run(check=True)
        checkers += compare()
    passes.close()
    assert all(each.compared for each in checkers)
    assert not [each.first_mismatch for each in checkers if each.mismatches]
    assert world.take_hazards
    assert world.take_hazards() == []
    assert world.device._machine.contexts == []
    return made


def test_a_window_of_one_input_takes_as_long() -> None:
    """The simulator caches nothing; the inputs of a window in turn come back after it."""
    _, passes = opened(6, "strategy=pooled")
    passes.run(check=False)
    in_turn, one = passes.run(check=False)[0], passes.run_one_input()
    assert one
    assert one.steps == in_turn.steps
    _, compare = passes.run(check=True)
    assert not [each.first_mismatch for each in compare() if each.mismatches]
    passes.close()


def test_a_serial_window_takes_what_its_calls_take() -> None:
    """Worked out call by call: alloc of two bos, write, launch, execution, completion, read."""
    own_ns = {kernel: 2 * 1 + 10 + 20 + exec_ns + 7 + 5 for kernel, exec_ns in EXEC_NS.items()}
    found = [each for each in operations(SMALL, TILING) if each.kernel]
    made = a_pass(10_000_000, "strategy=baseline")
    assert [step.operation for step in made.steps] == found
    assert [step.run for step in made.steps] == [each.calls for each in found]
    for step in made.steps:
        assert (
            step.totals.makespan_ns == step.operation.calls * own_ns[step.operation.kernel or ""]
        ), step.operation
    totals = made.totals
    assert totals.tiles == calls(found)
    assert totals.exec_ns == sum(each.calls * EXEC_NS[each.kernel or ""] for each in found)
    assert totals.write_ns == 10 * totals.tiles
    assert totals.makespan_ns == sum(step.totals.makespan_ns for step in made.steps)
    assert (len(made.intervals_ns), totals.open_ns) == (0, 0)
    timeline = made.timeline()
    assert timeline
    assert [part.name for part in timeline.parts] == [str(each) for each in found]
    shown = [min(MOST_SHOWN, each.calls) for each in found]
    assert timeline.tiles == sum(shown)
    assert [part.tile for part in timeline.parts] == [sum(shown[:row]) for row in range(len(found))]
    lengths_ns = [
        count * own_ns[each.kernel or ""] for count, each in zip(shown, found, strict=True)
    ]
    starts_ns = [sum(lengths_ns[:row]) for row in range(len(found))]
    assert [part.start_ns for part in timeline.parts] == starts_ns
    assert int(timeline.rows[:, 5].max()) == sum(lengths_ns)
    gaps = stalls(timeline)
    assert gaps is not None
    assert len(gaps) == sum(count - 1 for count in shown), "none between two operations"


@pytest.mark.parametrize(
    "overrides",
    [
        ["strategy=baseline"],
        ["strategy=pipelined", "depth=3"],
        ["strategy=stacked", "strategy.batch=3", "strategy.prefetch=1"],
        ["strategy=stacked", "strategy.batch=2", "strategy.columns=4"],
        ["strategy=pipelined", "depth=8"],
    ],
    ids=" ".join,
)
def test_some_calls_stand_for_all(overrides: list[str]) -> None:
    whole, sample = a_pass(10_000_000, *overrides).totals, a_pass(24, *overrides)
    assert sum(step.run for step in sample.steps) < whole.tiles / 2
    for step in sample.steps:
        assert (step.totals.bound_ns or 0) <= step.totals.makespan_ns, step.operation
    for name in (
        "tiles",
        "makespan_ns",
        "alloc_ns",
        "write_ns",
        "exec_ns",
        "read_ns",
        "bound_ns",
        "host_bound_ns",
    ):
        assert getattr(sample.totals, name) == pytest.approx(getattr(whole, name), rel=0.02), name


def test_kernels_without_contexts_side_by_side_take_turns() -> None:
    """Two columns need eight contexts of six: the makespan has two openings and both first runs."""
    made = a_pass(24, "strategy=pipelined", "strategy.columns=2")
    kernels = [step.operation.kernel for step in made.steps]
    turns = sum(
        before != after for before, after in zip([kernels[-1], *kernels], kernels, strict=False)
    )
    assert turns > 5
    totals = made.totals
    assert totals.open_ns >= turns * 2 * (1_000_000 + 100_000)
    assert totals.makespan_ns == totals.open_ns + sum(
        step.totals.makespan_ns for step in made.steps
    )
    assert totals.bound_ns == sum(step.totals.bound_ns or 0 for step in made.steps), (
        "opening is no bound"
    )


def test_contexts_are_kept_where_there_are_enough() -> None:
    assert (
        a_pass(24, "strategy=pipelined", "strategy.columns=2", context_limit=8).totals.open_ns == 0
    )
    assert a_pass(24, "strategy=pipelined", context_limit=3).totals.open_ns > 0


def test_a_wrong_output_of_any_kernel_is_seen() -> None:
    """The first operation has calls 1 to 4 (0 warms its context), the second 6 to 9, and so on."""
    _, passes = opened(4, "strategy=pipelined", faults=Faults(corrupt=[8]))
    checkers = passes.verify(lambda share: None)
    assert [each.mismatches for each in checkers[:3]] == [0, 1, 0]
    assert checkers[1].first_mismatch.startswith("conv 1 gelu: tile 2: ")
    passes.close()


def test_what_is_left_of_the_pass_before_is_no_output() -> None:
    """Outputs that are not synced back are those of the pass before, which were right."""
    _, passes = opened(4, "strategy=pipelined")
    passes.run(check=True)
    for executor in passes._pool._executors.values():
        for slot in [each for slots in executor._slots for each in slots]:
            slot.submissions = {
                count: replace(group, collect=lambda: None)
                for count, group in slot.submissions.items()
            }
    _, compare = passes.run(check=True)
    first = compare()[0]
    assert first.mismatches == first.compared > 0
    passes.close()


@pytest.mark.parametrize(
    "overrides", [["strategy.batch=8"], ["strategy.batch=1021"], ["strategy=stacked", "depth=4"]]
)
def test_no_slot_meets_the_same_inputs_twice_running(overrides: list[str]) -> None:
    """Or what is left in it of the submission before would be right."""
    config = load("workload=whisper_tiny", "workload.tiles=8", *overrides)
    passes = prepare(config).passes()
    assert isinstance(passes, EncoderPasses)
    between = config.strategy.slots * config.strategy.batch
    for tiles in passes._tiles.values():
        first = tiles.packed[0]
        assert (
            (
                first[np.arange(1000) % len(first)]
                != first[np.arange(between, between + 1000) % len(first)]
            )
            .any(1)
            .all()
        )


@pytest.mark.parametrize("model", ["whisper_tiny", "whisper_base", "whisper_small"])
def test_every_encoder_runs(shell: Shell, model: str) -> None:
    done = shell("tracking=off", f"workload={model}", "workload.tiles=4", "measure=quick")
    assert (done.code, done.err) == (0, "")
    record = done.record
    counted = calls(operations(encoder_of(model), TILING))
    assert set(record["metrics"]) == set(METRIC_NAMES)
    assert (record["kernel"], record["accounting"]["encoder_tiles"]) == (model, counted)
    assert record["accounting"]["kind"] == "full"
    encoder_s = record["metrics"]["time/total_ms"] / 1e3
    assert record["metrics"]["rtf/end_to_end"] == pytest.approx(11 / (0.3047 + encoder_s), rel=1e-3)
    assert record["metrics"]["rtf/encoder"] == pytest.approx(11 / encoder_s, rel=1e-3)
    assert record["totals"] == {**record["totals"], "tiles": counted}
    assert set(record["totals"]) == set(Totals.__dataclass_fields__)
    assert sum(step["totals"]["tiles"] for step in record["steps"]) == counted
    assert f" s for {counted:,} calls)\n" in done.out
    assert f": {sum(step['run'] for step in record['steps']):,} of these calls ran, " in done.out
    assert "; 220x allows 50.0 ms\n" in done.out


def test_keys_without_effect_are_reported_and_left_out(shell: Shell) -> None:
    done = shell(
        *("tracking=off", "workload=whisper_tiny", "workload.tiles=2", "measure=quick"),
        *("strategy.resident=true", "workload.fused=true"),
    )
    assert done.code == 0
    assert [line.split(":")[1].strip() for line in done.err.splitlines()] == [
        "strategy.resident=true has no effect",
        "workload.fused=true has no effect",
    ]
    assert "resident" not in done.record["label"]
    assert done.record["knobs"]["resident"] is False


def test_the_guides_accounting_of_an_encoder_is_its_block(shell: Shell) -> None:
    arguments = ("tracking=off", "workload.tiles=8", "strategy=pipelined")
    block = shell(*arguments, "workload=encoder_block").record
    model = shell(*arguments, "workload=whisper_base", "workload.accounting=guide").record
    fused = shell(
        *arguments, "workload=whisper_base", "workload.accounting=guide", "workload.fused=true"
    ).record
    assert model["metrics"] == block["metrics"]
    assert model["kernel"] == block["kernel"] == "attention+layernorm+matmul+gelu"
    assert fused["kernel"] == "attention_layernorm+matmul_gelu"
    assert model["accounting"]["encoder_tiles"] == 140.625


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["workload.model=whisper_bse"],
            "workload.model=whisper_bse: no such encoder; did you mean whisper_base?",
        ),
        (
            ["workload.matmul=attention"],
            "workload.matmul=attention: no kernel that computes a matrix product",
        ),
        (["workload.attention=attentoin"], "did you mean attention?"),
        (
            ["workload.accounting=guide", "workload.matmul=matmul_64"],
            "workload.matmul=matmul_64: belongs to full accounting",
        ),
        (
            ["workload.accounting=guide", "workload.layer=0"],
            "workload.layer=0: guide accounting has no layers",
        ),
        (
            ["workload=whisper_tiny", "workload.accounting=guide"],
            "the guide counts tiles of whisper_base",
        ),
        (["workload.layer=6"], "workload.layer=6: out of range; allowed: 0 to 5"),
        (["workload.weights=w.npz"], "workload.weights=w.npz: belongs to a single layer"),
        (["workload.kernel=attention"], "give one of them"),
        (["strategy.columns=8"], "strategy.columns=8: out of range; allowed: 1 to 4"),
        (
            ["strategy.columns=4", "device.context_limit=3"],
            "strategy.columns=4: takes a context for each column",
        ),
        (["workload.source=nothing.wav"], "nothing.wav"),
    ],
)
def test_an_encoder_that_cannot_be(shell: Shell, arguments: list[str], said: str) -> None:
    done = shell("tracking=off", "workload=whisper_base", *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1), done
    assert said in done.err
