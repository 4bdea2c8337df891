"""Arrays of every element type as bytes and back, blocks, directions, and several outputs."""

from __future__ import annotations

import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_device import ADD

from harness.errors import RequestError
from harness.kernel import DTYPES, Buffer, Direction, KernelSpec, Part, Scalar, Unused


@given(
    dtype=st.sampled_from(DTYPES),
    tiles=st.integers(0, 3),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    block=st.sampled_from([(), (1, 1), (2, 4), (4, 8), (3, 5)]),
    outer=st.sampled_from([(), (2,)]),
    seed=st.integers(0, 99),
)
def test_packing_is_undone_by_unpacking(dtype, tiles, grid, block, outer, seed) -> None:
    height, width = block or (3, 3)
    shape = (*outer, grid[0] * height, grid[1] * width)
    part = Part("x", shape, dtype, block=block)
    # Whole numbers of four bits, which every type holds.
    values = np.random.default_rng(seed).integers(-8, 8, (tiles, *shape))
    buffer = Buffer("b", (part, part))
    array = values.astype(np.int8 if dtype == "int4" else _numpy(dtype))
    packed = buffer.pack(array, array[::-1])
    assert (packed.shape, packed.dtype) == ((tiles, 2 * part.size_bytes), np.uint8)
    back = buffer.unpack(packed)
    np.testing.assert_array_equal(back[0], array)
    np.testing.assert_array_equal(back[1], array[::-1])
    assert back[0].dtype == array.dtype


def _numpy(dtype: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def test_bytes_of_int4() -> None:
    """The first of two values is in the low half; ml_dtypes has the same two's complement."""
    part = Part("x", (5,), "int4")
    values = np.array([[-8, 7, -1, 0, 3]], np.int8)
    assert part.size_bytes == 3
    assert part.pack(values).tolist() == [[0x78, 0x0F, 0x03]]
    assert (values.astype(ml_dtypes.int4).view(np.uint8) & 0xF).tolist() == [[8, 7, 15, 0, 3]]


@pytest.mark.parametrize("value", [-9, 8])
def test_a_value_beyond_int4(value: int) -> None:
    said = re.escape(f"given values from {min(value, 0)} to {max(value, 0)}; allowed: -8 to 7")
    with pytest.raises(RequestError, match=said):
        Part("x", (2,), "int4").pack(np.array([[0, value]], np.int8))


def test_blocks_follow_each_other() -> None:
    """mlir-aie stores 4x8 blocks one behind the other, rows of blocks first."""
    part = Part("x", (8, 16), "int16", block=(4, 8))
    array = np.arange(128, dtype=np.int16).reshape(1, 8, 16)
    stored = part.pack(array).view(np.int16).ravel()
    expected = [
        array[0, row + r, column + c]
        for row in (0, 4)
        for column in (0, 8)
        for r in range(4)
        for c in range(8)
    ]
    assert stored.tolist() == expected


def test_arguments_keep_their_places() -> None:
    x, y, z = (Part(name, (4,), "int16") for name in "xyz")
    spec = KernelSpec(
        "many",
        (
            Buffer("y", (y,), Direction.OUT),
            Unused(),
            Buffer("x", (x,)),
            Scalar("n", 3),
            Buffer("z", (z,), Direction.INOUT),
        ),
        reference=lambda x, z, n: (x * n, x + z),
    )
    assert [each.name for each in spec.buffers] == ["y", "x", "z"]
    assert spec.indices == (3, 5, 7)
    assert [each.name for each in spec.inputs] == ["x", "z"]
    assert [each.name for each in spec.outputs] == ["y", "z"]
    assert spec.scalars == {6: Scalar("n", 3)}
    assert spec.size_bytes == 4 * 8
    arrays = [np.arange(8, dtype=np.int16).reshape(2, 4) + at for at in (0, 100)]
    packed = [buffer.pack(array) for buffer, array in zip(spec.inputs, arrays, strict=True)]
    outputs = spec.split_outputs(spec.compute(*packed))
    np.testing.assert_array_equal(spec.outputs[0].unpack(outputs[0])[0], arrays[0] * 3)
    np.testing.assert_array_equal(spec.outputs[1].unpack(outputs[1])[0], arrays[0] + arrays[1])


def test_a_kernel_without_output() -> None:
    with pytest.raises(RequestError, match="kernel add: no output; give a buffer a direction"):
        replace(ADD, arguments=ADD.inputs)


def test_a_kernel_without_reference() -> None:
    packed = np.zeros((1, ADD.inputs[0].size_bytes), np.uint8)
    with pytest.raises(RequestError, match="kernel add: has no reference"):
        replace(ADD, reference=None).compute(packed)
