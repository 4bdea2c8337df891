"""Kernels with several outputs, inout buffers, scalars and unused arguments, on every device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.processor import needs_compiler, own_cache
from support.small_device import COSTS

from harness.config.device import Cpu, Simulator
from harness.config.strategy import Buffers, Strategy
from harness.device.backend import Backend
from harness.device.cpu.backend import CpuBackend
from harness.device.open import open_backend
from harness.errors import RequestError
from harness.execution.executor import Executor
from harness.execution.verify import Checker, OutputCopies
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Buffer, Direction, KernelSpec, Part, Scalar, Unused

SHAPE = (3, 7)
COUNT = 7
"""Tiles of a pass: with batches of three, the last submission has one."""


def mixed(total: Array, x: Array, w: Array, y: Array, factor: int, shift: int) -> tuple[Array, ...]:
    """The sum so far, a sum of bytes, and the upper bits of some values."""
    added = (total + np.int16(factor) * x).astype(np.int16)
    high = (y.reshape(len(y), 21)[:, :18] >> shift).astype(np.int16).reshape(-1, 2, 9)
    return added, (x + w[:, None, :]).astype(np.int8), high


SPEC = KernelSpec(
    "mixed",
    (
        Scalar("factor", -3),
        Buffer("total", (Part("total", SHAPE, "int16"),), Direction.INOUT),
        Unused(),
        Buffer("low", (Part("low", SHAPE),), Direction.OUT),
        Buffer("left", (Part("x", SHAPE), Part("w", (7,), constant=True))),
        Scalar("shift", 5),
        Buffer("high", (Part("high", (2, 9), "int16"),), Direction.OUT),
        Buffer("right", (Part("y", SHAPE, "int32"),)),
        Unused("padding"),
    ),
    reference=mixed,
    ops=100,
)
SOURCE = """
#include <stdint.h>

extern "C" void mixed(int32_t factor, int16_t *total, int8_t *low, const int8_t *left,
                      int32_t shift, int16_t *high, const int32_t *right) {
  for (int i = 0; i < 21; ++i) {
    if (WRONG != 0) total[i] += factor * left[i];
    if (WRONG != 1) low[i] = left[i] + left[21 + i % 7];
    if (WRONG != 2 && i < 18) high[i] = right[i] >> shift;
  }
}
"""
DEVICES = ("simulator", "numpy", "C++")
NAMES = ("total", "low", "high")
RIGHT = -1


def wrong_reference(output: int) -> Callable[..., tuple[Array, ...]]:
    """A reference with one wrong element in the last tile of each call and in one output."""

    def reference(*arrays: Array, **scalars: int) -> tuple[Array, ...]:
        outputs = mixed(*arrays, **scalars)
        if output != RIGHT:
            outputs[output][-1, -1, -1] ^= 1
        return outputs

    return reference


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], tuple[Backend, KernelSpec]]:
    """A function that opens a device by name: with the kernel, or with one wrong output."""
    folder = own_cache(monkeypatch).parent
    folder.mkdir(parents=True, exist_ok=True)

    def opened(name: str, wrong: int = RIGHT) -> tuple[Backend, KernelSpec]:
        spec = replace(SPEC, reference=wrong_reference(wrong))
        if name == "simulator":
            return open_backend(Simulator(**{**COSTS, "exec_ns": {"mixed": 100}}), spec), spec
        if name == "numpy":
            return CpuBackend(Cpu(), lambda name: None), spec
        needs_compiler()
        source = folder / f"mixed{wrong}.cc"
        source.write_text(SOURCE.replace("WRONG", str(wrong)))
        return CpuBackend(Cpu(flags="-O1"), lambda name: source), SPEC

    return opened


def make_tiles(period: int = 5) -> Tiles:
    generator = np.random.default_rng(1)
    packed = []
    for buffer in SPEC.inputs:
        rows = generator.integers(0, 256, (period, buffer.size_bytes), np.uint8)
        rows[:, buffer.varying_bytes :] = rows[0, buffer.varying_bytes :]
        packed.append(rows)
    return Tiles(Chain((SPEC,)), tuple(packed), audio_s=1.0, host_ns=0)


def run(backend: Backend, spec: KernelSpec, **knobs: Any) -> list[Checker]:
    """The outputs of a pass with poisoned outputs, and of one at full speed."""
    tiles, strategy = make_tiles(), Strategy(**{"buffers": Buffers.pooled, **knobs})
    session = backend.open_session(spec, strategy.columns, timeout_ms=60_000)
    constants = tiles.constants_to_hold(strategy.resident)
    executor = Executor([session], strategy, COUNT, constants)
    session.warm()
    poisoned, copies = Checker(tiles), OutputCopies(tiles, COUNT)
    executor.run(tiles, poisoned, poisoned.poison)
    executor.poison(Checker(tiles).poison)
    executor.run(tiles, copies)
    executor.close()
    return [poisoned, copies.feed(Checker(tiles))]


@pytest.mark.parametrize("resident", [False, True], ids=["sent", "resident"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", DEVICES)
def test_every_kind_of_argument(name: str, batch: int, depth: int, resident: bool, device) -> None:
    backend, spec = device(name)
    for checker in run(backend, spec, batch=batch, depth=depth, resident=resident):
        assert (checker.compared, checker.first_mismatch) == (COUNT, "")
    assert backend.take_hazards() == []


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("wrong", range(len(NAMES)), ids=NAMES)
@pytest.mark.parametrize("name", DEVICES)
def test_a_wrong_output_is_a_mismatch(name: str, wrong: int, batch: int, device) -> None:
    """In C++, the output is not written at all."""
    for checker in run(*device(name, wrong), batch=batch, depth=2):
        assert (checker.compared, checker.mismatches) == (COUNT, COUNT)
        assert checker.first_mismatch.startswith(f"tile 0: {NAMES[wrong]}[")


@pytest.mark.parametrize("name", DEVICES)
def test_fresh_buffers_for_every_tile(name: str, device) -> None:
    backend, spec = device(name)
    for checker in run(backend, spec, buffers=Buffers.per_tile):
        assert (checker.compared, checker.first_mismatch) == (COUNT, "")


@pytest.mark.parametrize("name", DEVICES)
def test_poison_leaves_the_input_of_an_inout_buffer(name: str, device) -> None:
    backend, spec = device(name)
    session = backend.open_session(spec, 1, timeout_ms=60_000)
    slot = session.slot(0, 1, [1])
    slot.allocate()
    submission, tiles = slot.submissions[1], make_tiles()
    submission.stage(tiles.batches(1)(0))
    submission.poison(~tiles.expect(0, 1))
    submission.launch()
    submission.wait(1)
    submission.collect()
    np.testing.assert_array_equal(submission.outputs, tiles.expect(0, 1))
    del submission
    slot.close()
    session.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('extern "C" void mixed(char *, char *) {}', "its declaration has 7 buffers and scalars"),
        (
            'extern "C" void mixed(int, int, char *, char *, int, char *, char *) {}',
            "its declaration has the arguments factor, total, low, left, shift, high, right: "
            "buffers are pointers and scalars are numbers",
        ),
    ],
)
def test_other_arguments_in_c_plus_plus(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compiler()
    own_cache(monkeypatch)
    path = tmp_path / "mixed.cc"
    path.write_text(source)
    with pytest.raises(RequestError, match=message):
        CpuBackend(Cpu(flags="-O0"), lambda name: path).prepare(SPEC, 1)


def test_constants_of_an_inout_buffer_do_not_stay_on_the_device() -> None:
    buffer = Buffer("sum", (Part("x", (4,)), Part("w", (4,), constant=True)), Direction.INOUT)
    with pytest.raises(RequestError, match="sum: a constant part of an inout buffer does not stay"):
        buffer.varying_bytes  # noqa: B018
