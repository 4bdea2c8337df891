"""The Python API, and the examples of its documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness import api
from harness.api import EncoderBlock, Pipeline, open_device
from harness.config.device import Hardware, Simulator
from harness.config.strategy import Strategy
from harness.errors import DeviceError, RequestError
from harness.kernel import (
    DTYPES,
    Buffer,
    Direction,
    FixedCost,
    KernelSpec,
    Part,
    load_kernel,
)
from harness.kernel.dtypes import array_dtype

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


def own(timed: bool = True) -> KernelSpec:
    """Two input buffers, a constant and two outputs; y is a + b + g, z is the first row of b."""
    values = Part("a", (2, 3), "int16"), Part("g", (3,), "int16", constant=True)
    return KernelSpec(
        "own",
        (
            Buffer("values", values),
            Buffer("more", (Part("b", (2, 3), "int16"),)),
            Buffer("sums", (Part("y", (2, 3), "int16"), Part("z", (3,), "int16")), Direction.OUT),
        ),
        reference=lambda a, g, b: (a + g[:, None] + b, b[:, 0]),
        cost=FixedCost(5000) if timed else None,
    )


def same(name: str, size: int, dtype: str = "int8") -> KernelSpec:
    """A copy of one array."""
    parts = Part("x", (size,), dtype), Part("y", (size,), dtype)
    return KernelSpec(
        name,
        (Buffer("in", parts[:1]), Buffer("out", parts[1:], Direction.OUT)),
        reference=lambda x: x,
        cost=FixedCost(7000),
    )


@pytest.mark.parametrize("device", [None, "device=cpu"])
@pytest.mark.parametrize("resident", [False, True])
def test_a_kernel_as_an_object(device: str | None, resident: bool) -> None:
    """Several input buffers and outputs; arrays of any layout in memory."""
    a, b = np.arange(60, dtype=np.int16).reshape(2, 5, 2, 3)
    g, strategy = np.array([1, 2, 3], np.int16), Strategy(depth=2, batch=2, resident=resident)
    with Pipeline([own()], device, strategy) as pipeline:
        for a_of, b_of in ((a, b), (np.asfortranarray(a), b[::-1]), (a[::2], b[::2])):
            y, z = pipeline.run([a_of, b_of], [[g]])
            np.testing.assert_array_equal(y, a_of + b_of + g)
            np.testing.assert_array_equal(z, b_of[:, 0])
        y, z = pipeline.run([a[:0], b[:0]], [[g]])
        assert (y.shape, z.shape) == ((0, 2, 3), (0, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_of_any_type(dtype: str) -> None:
    x = np.arange(-8, 7).reshape(3, 5).astype(array_dtype(dtype))
    with Pipeline([same("copy", 5, dtype)]) as pipeline:
        y = pipeline.run([x])
    assert (y.dtype, y.tolist()) == (x.dtype, x.tolist())


def test_names_and_objects_in_a_chain() -> None:
    x = np.random.default_rng(0).integers(-64, 64, (4, 512), np.int8)
    with Pipeline([same("before", 512), "gelu", same("after", 512)]) as pipeline:
        assert (pipeline.run([x]) == load_kernel("gelu").reference(x)).all()
        assert pipeline.timeline.kernels == ("before", "gelu", "after")


A = np.zeros((2, 2, 3), np.int16)
G = np.zeros(3, np.int16)


@pytest.mark.parametrize(
    ("inputs", "constants", "said"),
    [
        ("ab", [[G]], "inputs: given a text, takes a list"),
        (3, [[G]], "inputs: given int, takes a list"),
        ([A], [[G]], "own: got 1 inputs and 1 constants; takes inputs a, b and constants g"),
        ([A, A, A], [[G]], "own: got 3 inputs and 1 constants"),
        ([[1, 2], A], [[G]], "own.a: given list, takes a numpy array int16[tiles, 2, 3]"),
        ([A, None], [[G]], "own.b: given NoneType, takes a numpy array"),
        ([np.int16(3), A], [[G]], "own.a: given one number, takes int16[tiles, 2, 3]"),
        ([A, np.int16(3)], [[G]], "more.b: given int16[], takes int16[2, 3] per tile"),
        ([A, A.astype(float)], [[G]], "more.b: given float64[2, 3], takes int16[2, 3] per tile"),
        ([A, A[:, :1]], [[G]], "more.b: given int16[1, 3], takes int16[2, 3] per tile"),
        ([A, A[:1]], [[G]], "own.more: given 1 tiles, takes as many as values: 2"),
        ([A, A], [], "own: got 2 inputs and 0 constants"),
        ([A, A], [G], "constants[0]: given ndarray, takes a list of arrays for each kernel"),
        ([A, A], [[G], []], "constants: 2 groups, but the chain has 1 kernels"),
        ([A, A], 5, "constants: given int, takes a list"),
        ([A, A], [[[0, 0, 0]]], "own.g: given list, takes a numpy array int16[3]"),
        ([A, A], [[A]], "values.g: given int16[2, 2, 3], takes int16[3] per tile"),
    ],
)
def test_wrong_arrays_of_a_kernel(inputs: Any, constants: Any, said: str) -> None:
    with Pipeline([own()]) as pipeline, pytest.raises(RequestError) as raised:
        pipeline.run(inputs, constants)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["attention"], "kernels: given a text, takes a list of names and specs"),
        ([own()], "kernels: given one kernel, takes a list"),
        ([None], "kernels: given NoneType, takes a list"),
        ([[5]], "kernels[0]: given int, takes a name or a KernelSpec"),
        ([["gelu", None]], "kernels[1]: given NoneType"),
        ([["gellu"]], "kernel gellu: no such kernel; did you mean gelu?"),
        ([[own(), own(timed=False)]], "kernels: two kernels are named own; rename one of them"),
        ([[own(timed=False)]], "kernel own: the simulator has no time for it; give its KernelSpec"),
        ([["gelu"], 5], "device: given 5, takes the result of open_device, or an override"),
        ([["gelu"], "device=gpu"], "device=gpu: no such option"),
        ([["gelu"], None, "pipelined"], "strategy: given 'pipelined', takes a Strategy"),
        ([["gelu", "gelu"], None, None, {"gelu": "exact"}], "given 'exact', takes one of Link.ex"),
        ([["gelu"], None, None, "exact"], "links: given 'exact', takes a mapping"),
        ([["gelu", same("half", 256)]], "workload.links.half=exact: gelu returns 512 bytes"),
        ([["gelu", own()]], "own takes 2 input buffers"),
    ],
)
def test_wrong_arguments_of_a_pipeline(arguments: list[Any], said: str) -> None:
    with pytest.raises(RequestError) as raised:
        Pipeline(*arguments)
    assert said in str(raised.value)


def test_other_wrong_arguments() -> None:
    with pytest.raises(RequestError, match="3: not a text; give overrides: 'key=value'"):
        api.run(3)  # type: ignore[arg-type]
    with EncoderBlock() as block:
        with pytest.raises(RequestError, match=r"attention\.q: given list, takes a numpy array"):
            block.forward([[1]], *(each[0] for each in tiles(1)[1:]), GAMMA, BETA)
        with pytest.raises(RequestError, match=r"attention\.q: given one number, takes int8"):
            block.forward_batch(np.int8(1), *tiles(1)[1:], GAMMA, BETA)
