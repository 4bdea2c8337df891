"""The matmul kernels against plain whole-number loops, bit for bit, and against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references.matmul import exact, plain

from harness.inputs.generate import make_tiles
from harness.kernel import load_kernel

SIDES = {"matmul": 16, "matmul_64": 64}


def extremes(side):
    full = {value: np.full((side, side), value, np.int8) for value in (-128, -1, 0, 1, 127)}
    unit = np.eye(side, dtype=np.int8)
    ramp = np.arange(side * side).reshape(side, side).astype(np.int8)
    pairs = [(first, second) for first in full.values() for second in full.values()]
    return [
        *pairs,
        (unit * 32, ramp),
        (ramp, unit * 32),
        (unit * -128, unit * -128),
        (ramp, ramp.T),
    ]


@pytest.mark.parametrize(("name", "side"), SIDES.items())
def test_layout_and_cost(name, side):
    spec = load_kernel(name)
    assert [(part.name, part.shape, part.dtype, part.constant) for part in spec.parts] == [
        ("a", (side, side), "int8", False),
        ("b", (side, side), "int8", True),
    ]
    assert ([buffer.size_bytes for buffer in spec.inputs], spec.output.size_bytes) == (
        [2 * side**2],
        side**2,
    )
    assert spec.ops == {16: 9_216, 64: 540_672}[side]


@pytest.mark.parametrize(("name", "side"), SIDES.items())
def test_extreme_tiles_match_plain_integers(name, side):
    for a, b in extremes(side):
        assert load_kernel(name).reference(a[None], b[None])[0].tolist() == plain(
            a.tolist(), b.tolist()
        )


@pytest.mark.parametrize(("name", "side"), SIDES.items())
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), spreads=st.tuples(*[st.integers(0, 128)] * 2))
def test_random_tile_matches_plain_integers(name, side, seed, spreads):
    rng = np.random.default_rng(seed)
    a, b = (
        rng.integers(-spread, min(spread, 127) + 1, (side, side)).astype(np.int8)
        for spread in spreads
    )
    assert load_kernel(name).reference(a[None], b[None])[0].tolist() == plain(
        a.tolist(), b.tolist()
    )


@pytest.mark.parametrize(
    ("total", "expected"), [(16, 1), (-16, 0), (15, 0), (-17, -1), (48, 2), (-48, -1)]
)
def test_halves_round_up(total, expected):
    a, b = np.zeros((2, 1, 16, 16), np.int8)
    a[0, 3, 5], b[0, 5, 9] = total, 1
    out = load_kernel("matmul").reference(a, b)
    assert (out[0, 3, 9], np.count_nonzero(out)) == (expected, int(expected != 0))


@pytest.mark.parametrize(("name", "side"), SIDES.items())
def test_one_is_neutral(name, side):
    a = np.random.default_rng(2).integers(-128, 128, (3, side, side)).astype(np.int8)
    unit = np.broadcast_to(32 * np.eye(side, dtype=np.int8), a.shape)
    np.testing.assert_array_equal(load_kernel(name).reference(a, unit), a)


@pytest.mark.parametrize("tiles", [0, 1, 37])
def test_a_batch_equals_its_tiles_one_by_one(tiles):
    spec = load_kernel("matmul")
    a, b = np.random.default_rng(tiles).integers(-20, 20, (2, tiles, 16, 16)).astype(np.int8)
    out = spec.reference(a, b)
    assert (out.shape, out.dtype) == ((tiles, 16, 16), np.int8)
    for i in range(tiles):
        np.testing.assert_array_equal(out[i : i + 1], spec.reference(a[i : i + 1], b[i : i + 1]))


@pytest.mark.parametrize(("name", "share"), [("matmul", 0.358), ("matmul_64", 0.599)])
def test_error_and_saturation_on_speech_are_as_stated(name, share):
    assert_accurate(name, make_tiles(name, 1003, "speech", 0, lambda: 0, 1003).packed[0], share)


@pytest.mark.parametrize(("name", "share"), [("matmul", 0.851), ("matmul_64", 0.925)])
def test_error_and_saturation_on_random_tiles_are_as_stated(name, share):
    size = load_kernel(name).inputs[0].size_bytes
    assert_accurate(name, np.random.default_rng(0).integers(0, 256, (1000, size), np.uint8), share)


def assert_accurate(name, packed, share):
    spec = load_kernel(name)
    arrays = spec.inputs[0].unpack(packed)
    out, true = spec.reference(*arrays), exact(*arrays)
    assert np.abs(out - true).max() <= 0.5
    saturated = 32 * (arrays[0].astype(np.float64) / 32) @ (arrays[1].astype(np.float64) / 32)
    assert ((saturated >= 127.5) | (saturated < -128.5)).mean() == pytest.approx(share, abs=0.0006)
