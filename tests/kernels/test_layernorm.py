"""The layernorm kernel against plain whole-number loops, bit for bit, and against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references.layernorm import exact, plain

from harness.inputs.generate import make_tiles
from harness.kernel import load_kernel

SPEC = load_kernel("layernorm")


def full(value):
    return np.full(256, value, np.int8)


def hot(value, rest=0, place=7):
    return np.where(np.arange(256) == place, value, rest).astype(np.int8)


def alternating(*values):
    return np.resize(np.array(values, np.int8), 256)


def leading(count, value):
    return np.where(np.arange(256) < count, value, 0).astype(np.int8)


# A standard deviation of 98, exactly, around 0: +-1 are +-1/98 of it.
OF_98 = np.array(
    [value * sign for value in (1, 40, 119, 127, 127, *[98] * 123) for sign in (1, -1)], np.int8
)
EXTREMES = {
    "lowest": (full(-128), full(-128), full(-128)),
    "highest": (full(127), full(127), full(127)),
    "zeros": (full(0), full(0), full(0)),
    "no variance": (full(90), full(127), alternating(*range(-128, 128))),
    "least variance": (hot(1), full(127), full(0)),
    "least variance below": (hot(-128, -127), full(-128), full(0)),
    "farthest out": (hot(127, -128), full(127), full(0)),
    "most variance": (alternating(-128, 127), full(-128), full(0)),
    "saturating": (
        alternating(-128, 127),
        alternating(-128, -128, 127, 127),
        alternating(127, -128),
    ),
    "ramp": (alternating(*range(-128, 128)), alternating(*range(127, -129, -1)), full(3)),
    "decided by epsilon, from above": (leading(1, 3), full(118), full(0)),
    "decided by epsilon, from below": (leading(2, 2), full(11), full(0)),
    "49 / 98, which is not 49 * (1 / 98) in float64": (OF_98, full(49), full(0)),
    "gamma of 0": (alternating(3, -9, 27), full(0), alternating(*range(-128, 128))),
}


def random_tiles(seed, tiles, spread=128):
    x, gamma, beta = (
        np.random.default_rng(seed).integers(-spread, spread, (3, tiles, 256)).astype(np.int8)
    )
    return x, gamma, beta


def test_layout_and_cost():
    assert [(part.name, part.shape, part.dtype, part.constant) for part in SPEC.parts] == [
        ("x", (256,), "int8", False),
        ("gamma", (256,), "int8", True),
        ("beta", (256,), "int8", True),
    ]
    assert ([buffer.size_bytes for buffer in SPEC.inputs], SPEC.output.size_bytes) == ([768], 256)
    assert SPEC.ops == 2_816


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_tile_matches_plain_integers(name):
    tile = EXTREMES[name]
    out = SPEC.reference(*(array[None] for array in tile))
    assert out[0].tolist() == plain(*(array.tolist() for array in tile))


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), spread=st.integers(0, 128), centre=st.integers(-128, 127))
def test_random_tile_matches_plain_integers(seed, spread, centre):
    rng = np.random.default_rng(seed)
    x = np.clip(centre + rng.integers(-spread, spread + 1, 256), -128, 127).astype(np.int8)
    gamma, beta = rng.integers(-128, 128, (2, 256)).astype(np.int8)
    out = SPEC.reference(x[None], gamma[None], beta[None])
    assert out[0].tolist() == plain(x.tolist(), gamma.tolist(), beta.tolist())


@pytest.mark.parametrize(("gamma", "expected"), [(1, [1, -1, 2, -2, 0]), (-3, [-2, 2, -5, 5, 0])])
def test_halves_round_away_from_zero(gamma, expected):
    """Values are exactly +-1/2 and +-3/2 deviations: 256 * (16 * 8^2 + 112 * 24^2) = 4096^2."""
    x = np.repeat([8, -8, 24, -24, 0], [8, 8, 56, 56, 128]).astype(np.int8)
    out = SPEC.reference(x[None], full(gamma)[None], full(0)[None])
    assert out[0, [0, 8, 16, 72, 128]].tolist() == expected


def test_beta_is_added_before_the_limits():
    x = alternating(-100, 100)
    out = SPEC.reference(x[None], full(127)[None], full(-128)[None])
    assert out[0, :2].tolist() == [-128, -1]


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), shift=st.integers(-60, 60))
def test_a_shift_of_all_values_does_not_matter(seed, shift):
    x, gamma, beta = random_tiles(seed, 2, spread=64)
    shifted = (x + shift).astype(np.int8)
    np.testing.assert_array_equal(
        SPEC.reference(shifted, gamma, beta), SPEC.reference(x, gamma, beta)
    )


def test_no_variance_gives_beta():
    gamma, beta = random_tiles(1, 1)[1:]
    np.testing.assert_array_equal(SPEC.reference(full(77)[None], gamma, beta), beta)


@pytest.mark.parametrize("tiles", [0, 1, 37])
def test_a_batch_equals_its_tiles_one_by_one(tiles):
    arrays = random_tiles(tiles, tiles)
    out = SPEC.reference(*arrays)
    assert (out.shape, out.dtype) == ((tiles, 256), np.int8)
    for i in range(tiles):
        np.testing.assert_array_equal(
            out[i : i + 1], SPEC.reference(*(array[i : i + 1] for array in arrays))
        )


def test_error_on_speech_stays_within_the_stated_bound():
    assert_accurate(
        SPEC.inputs[0].unpack(
            make_tiles("layernorm", 1003, "speech", 0, lambda: 0, 1003).packed[0]
        ),
        0.25,
    )


def test_error_on_random_tiles_stays_within_the_stated_bound():
    assert_accurate(random_tiles(0, 1000), 0.20)


def assert_accurate(tiles, mean):
    error = np.abs(SPEC.reference(*tiles) - exact(*tiles))
    assert error.max() <= 0.51
    assert error.mean() <= mean
