"""The attention kernel against plain whole-number loops, bit for bit, and against float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.references.attention import FRAC, OCTAVES, exact, plain, weight

from harness.inputs.audio import CLIP, load_audio, log_mel, project
from harness.kernel import kernels_root, load_kernel

SPEC = load_kernel("attention")


def random_tiles(seed, tiles):
    return tuple(
        np.random.default_rng(seed).integers(-128, 128, (3, tiles, 64, 64)).astype(np.int8)
    )


def speech_tiles(head):
    mel = log_mel(load_audio(CLIP))
    return tuple(
        array[: 17 * 64].reshape(17, 64, 64) for array in project(mel, (64, 64, 64), 0, head)
    )


def full(value):
    return np.full((64, 64), value, np.int8)


def rows(*values):
    """A tile whose rows are constant, the values over and over."""
    return np.repeat(np.resize(np.array(values, np.int8), 64)[:, None], 64, axis=1)


def one_hot(value):
    return (np.eye(64) * value).astype(np.int8)


EXTREMES = {
    "lowest": (full(-128), full(-128), full(-128)),
    "highest": (full(127), full(127), full(127)),
    "zeros": (full(0), full(0), full(0)),
    "one hot": (one_hot(127), one_hot(127), one_hot(-128)),
    "farthest apart": (full(-128), rows(-128, 127), rows(127, -128)),
    "all but one far below": (full(127), rows(127, *[-128] * 63), rows(-128, *[127] * 63)),
    "near the 16 nat limit": (full(32), rows(*range(64, -64, -2)), rows(127, -128, 1)),
    "positive half": (full(0), full(5), rows(1, 0)),
    "negative half": (full(0), full(5), rows(-1, 0)),
    "just below half": (full(0), full(5), rows(*[1] * 31, *[0] * 33)),
    "lowest half": (full(0), full(0), rows(-128, -127)),
}


def test_layout_and_cost():
    assert [(part.name, part.shape, part.dtype) for part in SPEC.inputs[0].parts] == [
        (name, (64, 64), "int8") for name in "qkv"
    ]
    assert ([buffer.size_bytes for buffer in SPEC.inputs], SPEC.output.size_bytes) == (
        [12_288],
        4_096,
    )
    assert SPEC.ops == 1_048_576 + 40_960


def test_constants_of_the_arithmetic():
    assert (OCTAVES, FRAC[0], FRAC[128], FRAC[255]) == (11819, 32768, 23170, 16428)


def test_table_of_the_source():
    source = (kernels_root() / "attention" / "attention.cc").read_text()
    table = source[source.index("FRAC[256] = {") : source.index("};")].partition("{")[2]
    assert [int(value) for value in table.rstrip(", \n").split(",")] == FRAC


def test_every_weight_matches_plain_integers():
    module = SPEC.reference.__globals__
    given_weights = module["WEIGHTS"].take(module["exponents"](np.arange(131073, dtype=np.int32)))
    assert given_weights.tolist() == [weight(distance) for distance in range(131073)]


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_tile_matches_plain_integers(name):
    q, k, v = EXTREMES[name]
    out = SPEC.reference(q[None], k[None], v[None])
    assert out[0].tolist() == plain(q.tolist(), k.tolist(), v.tolist())


@pytest.mark.parametrize(
    ("name", "expected"),
    [("positive half", 1), ("negative half", -1), ("just below half", 0), ("lowest half", -128)],
)
def test_halves_round_away_from_zero(name, expected):
    out = SPEC.reference(*(array[None] for array in EXTREMES[name]))
    assert np.unique(out).tolist() == [expected]


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), spreads=st.tuples(*[st.integers(0, 128)] * 3))
def test_random_tile_matches_plain_integers(seed, spreads):
    rng = np.random.default_rng(seed)
    q, k, v = (
        rng.integers(-spread, min(spread, 127) + 1, (64, 64)).astype(np.int8) for spread in spreads
    )
    out = SPEC.reference(q[None], k[None], v[None])
    assert out[0].tolist() == plain(q.tolist(), k.tolist(), v.tolist())


@pytest.mark.parametrize("seed", [192, 374, 1137, 1219])
def test_sums_beyond_float32_match_plain_integers(seed):
    """Each tile has a quotient so near a half that rounding its sum to float32 changes the side."""
    rng = np.random.default_rng(seed)
    q, k = rng.integers(-8, 9, (2, 64, 64)).astype(np.int8)
    v = rng.integers(96, 128, (64, 64)).astype(np.int8)
    out = SPEC.reference(q[None], k[None], v[None])
    assert out[0].tolist() == plain(q.tolist(), k.tolist(), v.tolist())


def test_speech_tile_matches_plain_integers():
    q, k, v = speech_tiles(head=0)
    out = SPEC.reference(q, k, v)
    assert out[8].tolist() == plain(q[8].tolist(), k[8].tolist(), v[8].tolist())


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_the_keys_does_not_matter(seed):
    q, k, v = random_tiles(seed, 2)
    order = np.random.default_rng(seed).permutation(64)
    np.testing.assert_array_equal(
        SPEC.reference(q, k[:, order], v[:, order]), SPEC.reference(q, k, v)
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_negated_values_give_the_negated_output(seed):
    q, k, v = random_tiles(seed, 2)
    v = np.maximum(v, -127)
    np.testing.assert_array_equal(SPEC.reference(q, k, -v), -SPEC.reference(q, k, v))


@pytest.mark.parametrize("value", [-128, -1, 0, 1, 127])
def test_a_constant_value_comes_out_unchanged(value):
    q, k, _ = random_tiles(3, 2)
    out = SPEC.reference(q, k, np.full((2, 64, 64), value, np.int8))
    assert np.unique(out).tolist() == [value]


@pytest.mark.parametrize("tiles", [0, 1, 16, 17, 37])
def test_a_batch_equals_its_tiles_one_by_one(tiles):
    q, k, v = random_tiles(tiles, tiles)
    out = SPEC.reference(q, k, v)
    assert (out.shape, out.dtype) == ((tiles, 64, 64), np.int8)
    for i in range(tiles):
        one = slice(i, i + 1)
        np.testing.assert_array_equal(out[one], SPEC.reference(q[one], k[one], v[one]))


def test_packed_bytes_give_the_same():
    arrays = random_tiles(7, 3)
    packed = SPEC.compute(SPEC.inputs[0].pack(*arrays))
    assert packed.shape == (3, 4096)
    np.testing.assert_array_equal(SPEC.output.unpack(packed)[0], SPEC.reference(*arrays))


@pytest.mark.parametrize("head", [0, 1])
def test_error_on_speech_stays_within_the_stated_bound(head):
    assert_accurate(speech_tiles(head), most=0.55)


def test_error_on_random_tiles_stays_within_the_stated_bound():
    assert_accurate(random_tiles(0, 200), most=0.58)


def assert_accurate(tiles, most):
    error = np.abs(SPEC.reference(*tiles) - exact(*tiles))
    assert error.max() <= most
    assert error.mean() <= 0.25 + 0.005
