"""The whole executor on a device: every strategy, every output compared with the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.strategy import Buffers, Strategy
from harness.device.xrt.session import XrtSession
from harness.execution.executor import Executor
from harness.execution.verify import Checker, OutputCopies
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from npu.bench import SPEC, Bench, make_tiles

STRATEGIES: dict[str, dict[str, Any]] = {
    "baseline": {"buffers": Buffers.per_tile},
    "pooled": {},
    "pipelined": {"depth": 3},
    "batch": {"batch": 4},
    "stacked": {"batch": 4, "depth": 2},
    "on four columns": {"depth": 2, "columns": 4},
    "stacked on two": {"batch": 4, "depth": 2, "columns": 2},
    "staged ahead": {"depth": 2, "prefetch": 2},
}


def test_every_strategy_is_among_them() -> None:
    presets = Path(__file__).parents[2] / "conf" / "strategy"
    assert {path.stem for path in presets.glob("*.yaml")} <= set(STRATEGIES)


@pytest.mark.parametrize("tiles", [1, 10, 27])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_outputs(npu: Bench, strategy: str, tiles: int) -> None:
    """With poisoned output bos, then at full speed."""
    knobs = Strategy(**{"buffers": Buffers.pooled, **STRATEGIES[strategy]})
    inputs = make_tiles(tiles)
    session = XrtSession(npu.world, SPEC, knobs.columns, timeout_ms=5_000)
    executor = Executor([session], knobs, tiles)
    checker = Checker(inputs)
    executor.run(inputs, checker, checker.poison)
    assert (checker.compared, checker.first_mismatch) == (tiles, "")
    checker, kept = Checker(inputs), OutputCopies(inputs, tiles)
    executor.poison(checker.poison)
    timeline = executor.run(inputs, kept).timeline()
    kept.feed(checker)
    assert (checker.compared, checker.first_mismatch) == (tiles, "")
    assert timeline.tiles == tiles


def test_after_a_rest(npu: Bench) -> None:
    knobs, inputs = Strategy(buffers=Buffers.pooled, depth=2), make_tiles(10)
    executor = Executor([XrtSession(npu.world, SPEC, 1, timeout_ms=5_000)], knobs, 10)
    for _ in range(2):
        checker = Checker(inputs)
        executor.run(inputs, checker, checker.poison)
        assert (checker.compared, checker.first_mismatch) == (10, "")
        npu.idle()


def test_a_wrong_output_is_found(npu: Bench) -> None:
    """A tile that is not the one the reference was given."""
    inputs, others = make_tiles(10), make_tiles(10, seed=1)
    mixed = np.concatenate([inputs.packed[0][:3], others.packed[0][3:4], inputs.packed[0][4:]])
    executor = Executor(
        [XrtSession(npu.world, SPEC, 1, timeout_ms=5_000)], Strategy(buffers=Buffers.pooled), 10
    )
    checker = Checker(inputs)
    executor.run(Tiles(Chain((SPEC,)), (mixed,), audio_s=1.0, host_ns=0), checker, checker.poison)
    assert (checker.compared, checker.mismatches) == (10, 1)
    assert checker.first_mismatch.startswith("tile 3: ")
