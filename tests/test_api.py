"""The Python API, and the examples of its documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import api
from harness.api import EncoderBlock, Pipeline, open_device
from harness.config.device import Hardware, Simulator
from harness.config.strategy import Strategy
from harness.errors import DeviceError, RequestError
from harness.kernel import load_kernel

ROOT = Path(__file__).parent.parent
NAMES = ("run", "sweep", "records")
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


def test_the_package_has_the_functions_of_experiments() -> None:
    assert [getattr(harness, name) for name in NAMES] == [getattr(api, name) for name in NAMES]
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'recrods'"):
        harness.recrods  # type: ignore[attr-defined]  # noqa: B018


def test_the_package_imports_its_functions_on_use() -> None:
    """Without them it needs no Hydra, which the tests against the real pyxrt do not have."""
    check = "import sys, harness; sys.exit('harness.api' in sys.modules)"
    assert not subprocess.run([sys.executable, "-c", check], check=False).returncode


def tiles(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(-64, 64, (3, count, 64, 64), np.int8))


GAMMA, BETA = np.random.default_rng(1).integers(-64, 64, (2, 256), np.int8)
WEIGHTS = np.random.default_rng(2).integers(-8, 8, (16, 16), np.int8)


def block_by_reference(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The guide's block, kernel by kernel, on (tiles, 64, 64)."""
    count = len(q)
    repeated = [np.repeat(each[None], count, axis=0) for each in (GAMMA, BETA, WEIGHTS)]
    attended = load_kernel("attention").reference(q, k, v)[:, :4].reshape(count, 256)
    normed = load_kernel("layernorm").reference(attended, *repeated[:2])
    product = load_kernel("matmul").reference(normed.reshape(count, 16, 16), repeated[2])
    padded = np.zeros((count, 512), np.int8)
    padded[:, :256] = product.reshape(count, 256)
    return load_kernel("gelu").reference(padded)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_encoder_block(fused: bool, batch_size: int) -> None:
    q, k, v = tiles(10)
    right = block_by_reference(q, k, v)
    with EncoderBlock(WEIGHTS, depth=3, fused=fused) as block:
        assert (block.forward_batch(q, k, v, GAMMA, BETA, batch_size=batch_size) == right).all()
        assert (block.forward(q[4], k[4], v[4], GAMMA, BETA) == right[4]).all()
        other = block.forward(q[4], k[4], v[4], GAMMA, BETA + 1)
        assert (other != right[4]).any(), "constants may differ from call to call"
        assert block.timeline is not None
        assert block.timeline.tiles == 1
        assert block.forward_batch(q[:0], k[:0], v[:0], GAMMA, BETA).shape == (0, 512)
        assert block.timeline is None


@pytest.mark.parametrize("resident", [False, True])
def test_any_tiles_through_one_kernel(resident: bool) -> None:
    x = np.random.default_rng(5).integers(-128, 128, (7, 256), np.int8)
    with Pipeline(
        ["layernorm"], strategy=Strategy(depth=2, batch=2, resident=resident)
    ) as pipeline:
        for shift in (0, 1):
            right = load_kernel("layernorm").reference(
                x, *(np.repeat(e[None], 7, axis=0) for e in (GAMMA + shift, BETA))
            )
            assert (pipeline.run([x], [[GAMMA + shift, BETA]]) == right).all()


@pytest.mark.slow
def test_contexts_are_given_back() -> None:
    for _ in range(8):  # of six contexts
        with EncoderBlock() as block:
            block.forward(*(each[0] for each in tiles(1)), GAMMA, BETA)
        machine = block._backend.device._machine
        assert machine.contexts == []
        assert machine.sanitizer.take() == []


def test_devices() -> None:
    assert isinstance(open_device(), Simulator)
    device = open_device("device=hardware", "device.index=1")
    assert isinstance(device, Hardware)
    assert device.index == 1


def test_a_device_that_fails() -> None:
    with (
        EncoderBlock(device=open_device("device.faults.error=[2]")) as block,
        pytest.raises(DeviceError),
    ):
        block.forward(*(each[0] for each in tiles(1)), GAMMA, BETA)
    assert block._backend.device._machine.aborted == ""


@pytest.mark.parametrize(
    ("inputs", "constants", "said"),
    [
        (
            [np.zeros((2, 256), np.int8)],
            [],
            "got 1 inputs and 0 constants; takes inputs x and constants gamma, beta",
        ),
        ([], [[GAMMA, BETA]], "got 0 inputs and 2 constants"),
        ([np.zeros((2, 255), np.int8)], [[GAMMA, BETA]], r"given int8\[255\], takes int8\[256\]"),
        ([np.zeros((2, 256))], [[GAMMA, BETA]], r"given float64\[256\], takes int8"),
        ([np.zeros((2, 256), np.int8)], [[GAMMA, BETA[:9]]], r"beta: given int8\[9\]"),
        (
            [np.zeros((2, 256), np.int8)],
            [[GAMMA, BETA], []],
            "constants: 2 groups, but the chain has 1 kernels",
        ),
    ],
)
def test_arrays_that_do_not_fit(
    inputs: list[np.ndarray], constants: list[list[np.ndarray]], said: str
) -> None:
    with Pipeline(["layernorm"]) as pipeline, pytest.raises(RequestError, match=said):
        pipeline.run(inputs, constants)


def test_what_cannot_be_opened_or_is_closed() -> None:
    with pytest.raises(RequestError, match="no kernel"):
        Pipeline([])
    with pytest.raises(RequestError, match=r"device\.power_mode=turbo"):
        Pipeline(["gelu"], open_device("device=hardware", "device.power_mode=turbo"))
    pipeline = Pipeline(["gelu"])
    pipeline.close()
    with pytest.raises(RequestError, match="closed"):
        pipeline.run([np.zeros((1, 512), np.int8)])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_run(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec("\n".join(EXAMPLES[: number + 1]), {})


def test_what_the_examples_print(capsys: pytest.CaptureFixture[str]) -> None:
    exec("\n".join(EXAMPLES), {})
    shown = re.findall(r"^# (.*)$", "\n".join(EXAMPLES), re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert printed
    assert [line for line in printed if line in shown] == printed
