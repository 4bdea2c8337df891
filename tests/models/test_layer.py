"""One layer through kernel calls: bit for bit what loops over blocks of whole arrays give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RequestError
from harness.kernel import Buffer, Direction, KernelSpec, Part, load_kernel
from harness.models.layer import FORMULAS, LayerData, layer_operations
from harness.models.layer_reference import layer_reference
from harness.models.tiling import Tiling, load_tiling
from harness.models.weights import make_weights
from harness.models.whisper import ENCODERS, Encoder

TINY = ENCODERS["whisper_tiny"]
MATMULS = ("matmul", "matmul_64")
SIZES = {
    "every edge padded": Encoder("padded", layers=2, heads=3, d_model=3 * 26, ffn=150, frames=83),
    "smaller than a tile": Encoder("less", layers=1, heads=1, d_model=5, ffn=7, frames=3),
    "heads and rows in pieces": Encoder(
        "pieces", layers=1, heads=3, d_model=3 * 90, ffn=70, frames=130
    ),
    "whole tiles": Encoder("whole", layers=1, heads=4, d_model=256, ffn=128, frames=128),
}


def frames_of(encoder, seed=0):
    """Normal of deviation 1, in units of 1/32."""
    values = np.random.default_rng(seed).normal(0, 32, (encoder.frames, encoder.d_model))
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def run(encoder, tiling, x, weights):
    """The layer's data after every operation; references compute kernels, some calls at a time."""
    data = LayerData(encoder, tiling, x, weights)
    specs = {spec.name: spec for spec in tiling.specs}
    for operation in layer_operations(encoder, tiling, 0):
        if operation.kernel is None:
            data.host(operation)
            continue
        spec, staged = specs[operation.kernel], data.stage(operation)
        assert [each.shape for each in staged] == [
            (operation.calls, each.size_bytes) for each in spec.inputs
        ]
        assert {each.dtype for each in staged} == {np.dtype(np.uint8)}
        outputs = np.empty((operation.calls, spec.output.size_bytes), np.uint8)
        for start in range(0, operation.calls, 4096):
            calls = slice(start, start + 4096)
            outputs[calls] = spec.compute(*(each[calls] for each in staged))
        data.take(operation, outputs)
    return data


@pytest.mark.parametrize("matmul", MATMULS)
@pytest.mark.parametrize("encoder", SIZES.values(), ids=SIZES)
def test_calls_give_what_loops_over_blocks_give(encoder, matmul):
    tiling, weights = load_tiling(matmul), make_weights(encoder, seed=1)
    x = frames_of(encoder)
    found = run(encoder, tiling, x, weights).result
    assert (found.shape, found.dtype) == (x.shape, np.int8)
    assert np.array_equal(found, layer_reference(encoder, tiling, x, weights))


@pytest.mark.slow
def test_a_layer_of_whisper_tiny():
    tiling, weights, x = load_tiling("matmul_64"), make_weights(TINY, seed=1), frames_of(TINY)
    data = run(TINY, tiling, x, weights)
    assert np.array_equal(data.result, layer_reference(TINY, tiling, x, weights))
    for name, array in data.arrays.items():
        assert np.mean((array == -128) | (array == 127)) < 0.05, name
        assert np.mean(array == 0) < 0.2, name


def limited(values):
    return np.clip(values, -128, 127).astype(np.int8)


def tiling_of(m, k, n, q, s, d, w, v):
    """Kernels of any tile sizes; values depend on the place in a tile; some of two buffers."""

    def kernel(name, reference, ops, out, *buffers):
        inputs = tuple(
            Buffer(
                f"in{at}", tuple(Part(f"part{each}", shape) for each, shape in enumerate(shapes))
            )
            for at, shapes in enumerate(buffers)
        )
        output = Buffer("out", (Part("out", out),), Direction.OUT)
        return KernelSpec(name, (*inputs, output), reference, ops)

    def norm(x, gamma, beta):
        return limited(
            x
            - x.sum(axis=1, keepdims=True) // w
            + (gamma.astype(np.int32) * np.arange(w) >> 5)
            + beta
        )

    def gelu(x):
        return limited(x + np.arange(v))

    product, attend = (load_kernel(name).reference for name in ("matmul", "attention"))
    return Tiling(
        matmul=kernel("matmul", product, 2 * m * k * n, (m, n), [(m, k)], [(k, n)]),
        attention=kernel("attention", attend, 4 * q * s * d, (q, d), [(q, d), (s, d)], [(s, d)]),
        layernorm=kernel("layernorm", norm, w, (w,), [(w,), (w,), (w,)]),
        gelu=kernel("gelu", gelu, v, (v,), [(v,)]),
    )


sizes = st.integers(1, 7)
encoders = st.builds(
    lambda heads, head, ffn, frames: Encoder("made up", 1, heads, heads * head, ffn, frames),
    *(st.integers(1, 3), sizes, st.integers(1, 12), st.integers(1, 12)),
)


@settings(max_examples=60)
@given(encoders, st.tuples(*[sizes] * 8), st.integers(0, 9))
def test_tiles_of_any_sizes(encoder, tile, seed):
    tiling, weights, x = tiling_of(*tile), make_weights(encoder, seed), frames_of(encoder, seed)
    assert np.array_equal(
        run(encoder, tiling, x, weights).result, layer_reference(encoder, tiling, x, weights)
    )


ROW = Encoder("row", layers=2, heads=1, d_model=1, ffn=1, frames=3)


def data_of(encoder, tiling, **arrays):
    """Data with the outputs of some operations set, and those operations by name."""
    data = LayerData(encoder, tiling, frames_of(encoder), make_weights(encoder, seed=0))
    for name, values in arrays.items():
        data.arrays[name.replace("_", " ")] = np.array(values, np.int8).reshape(encoder.frames, -1)
    return data, {each.name: each for each in layer_operations(encoder, tiling, 0)}


def test_tiles_of_keys_weigh_as_many_keys_as_they_have_and_halves_go_up():
    data, found = data_of(
        ROW, tiling_of(1, 1, 1, 1, 2, 1, 1, 1), query=[0] * 3, key=[0] * 3, value=[0] * 3
    )
    # Per row a tile of two keys and one of one: (2 * 1 + 2) / 3, (2 * -1 - 2) / 3 and
    # (2 * 127 + 127) / 3.
    data.take(
        found["attention"], np.array([[1], [2], [-1], [-2], [127], [127]], np.int8).view(np.uint8)
    )
    assert data.arrays["attention"].ravel().tolist() == [1, -1, 127]
    pair = Encoder("pair", layers=1, heads=1, d_model=1, ffn=1, frames=2)
    data, found = data_of(pair, tiling_of(*[1] * 8), query=[0] * 2, key=[0] * 2, value=[0] * 2)
    data.take(found["attention"], np.array([[1], [2], [-1], [-2]], np.int8).view(np.uint8))
    assert data.arrays["attention"].ravel().tolist() == [2, -1]  # of 1.5 and -1.5


def test_sums_are_added_wide_and_saturated_once():
    wide = Encoder("wide", layers=1, heads=1, d_model=3, ffn=1, frames=1)
    data, found = data_of(wide, tiling_of(1, 1, 1, 1, 1, 3, 1, 1), attention=[0] * 3)
    # Per part of the inner size, a value per column.
    partial = [[127, 127, -127], [-128, -128, 100], [100, 20, 3]]
    data.take(found["output"], np.array(partial, np.int8).reshape(9, 1).view(np.uint8))
    assert data.arrays["output"].tolist() == [[99, 19, -24]]
    data.take(found["output"], np.full((9, 1), 128, np.uint8))
    assert data.arrays["output"].tolist() == [[-128] * 3]
    data.arrays |= {
        "x": np.array([[100, -100, 5]], np.int8),
        "output": np.array([[100, -100, 6]], np.int8),
    }
    data.host(found["attention residual"])
    assert data.arrays["attention residual"].tolist() == [[127, -128, 11]]


def test_calls_stand_in_the_order_of_the_sizes_the_last_one_fastest():
    """Two pieces of rows, of inner sizes and of columns each: a's are (m, k), b's (k, n)."""
    two = Encoder("two", layers=1, heads=1, d_model=2, ffn=2, frames=2)
    data, found = data_of(two, tiling_of(*[1] * 8), attention_norm=[[1, 2], [3, 4]])
    data.weights = {"query": np.array([[5, 6], [7, 8]], np.int8)}
    a, b = data.stage(found["query"])
    assert a.ravel().tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert b.ravel().tolist() == [5, 6, 7, 8, 5, 6, 7, 8]


def test_every_layer_has_the_same_operations():
    tiling = load_tiling()
    first, second = (layer_operations(ROW, tiling, number) for number in (0, 1))
    assert tuple(each.name for each in first) == tuple(FORMULAS)
    assert tuple(replace(each, layer=1) for each in first) == second
    for number in (-1, 2):
        with pytest.raises(RequestError, match="out of range; allowed: 0 to 1"):
            layer_operations(ROW, tiling, number)


def test_what_does_not_fit_is_refused():
    tiling = tiling_of(*[1] * 8)
    data, found = data_of(ROW, tiling)
    for x in (np.zeros((3, 2), np.int8), np.zeros((3, 1), np.int16)):
        with pytest.raises(ValueError, match=r"takes int8\[3, 1\]"):
            LayerData(ROW, tiling, x, data.weights)
    with pytest.raises(KeyError, match="attention norm"):
        data.stage(found["query"])
    with pytest.raises(ValueError, match="the host does it"):
        data.stage(found["ffn residual"])
    with pytest.raises(ValueError, match="reshape"):
        data.take(found["attention norm"], np.zeros((2, 1), np.uint8))
    with pytest.raises(RequestError, match=r"takes uint8\[tiles, 1\]"):
        data.take(found["attention norm"], np.zeros((3, 2), np.uint8))
    with pytest.raises(KeyError, match="ffn residual"):
        _ = data.result
