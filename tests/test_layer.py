"""One layer through kernel calls: bit for bit what loops over blocks of whole arrays give."""

from __future__ import annotations

import numpy as np
import pytest

from harness.encoder import ENCODERS, Encoder
from harness.layer import LayerData, layer_operations
from harness.oracle import layer_reference
from harness.weights import make_weights
from harness.whisper import load_tiling

TINY = ENCODERS["whisper_tiny"]
MATMULS = ("matmul", "matmul_64")
SIZES = {
    "every edge padded": Encoder("padded", layers=2, heads=3, d_model=3 * 26, ffn=150, frames=83),
    "smaller than a tile": Encoder("less", layers=1, heads=1, d_model=5, ffn=7, frames=3),
    "heads and rows in pieces": Encoder("pieces", layers=1, heads=3, d_model=3 * 90, ffn=70, frames=130),
    "whole tiles": Encoder("whole", layers=1, heads=4, d_model=256, ffn=128, frames=128),
}


def frames_of(encoder, seed=0):
    """Normal of deviation 1, in units of 1/32."""
    values = np.random.default_rng(seed).normal(0, 32, (encoder.frames, encoder.d_model))
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def run(encoder, tiling, x, weights):
    """The layer's data with every operation carried out, kernels by their references, a part of the calls at a time."""
    data = LayerData(encoder, tiling, x, weights)
    specs = {spec.name: spec for spec in tiling.specs}
    for operation in layer_operations(encoder, tiling, 0):
        if operation.kernel is None:
            data.host(operation)
            continue
        spec, staged = specs[operation.kernel], data.stage(operation)
        assert [each.shape for each in staged] == [(operation.calls, each.size_bytes) for each in spec.inputs]
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


def test_a_layer_of_whisper_tiny():
    tiling, weights, x = load_tiling("matmul_64"), make_weights(TINY, seed=1), frames_of(TINY)
    data = run(TINY, tiling, x, weights)
    assert np.array_equal(data.result, layer_reference(TINY, tiling, x, weights))
    for name, array in data.arrays.items():
        assert np.mean((array == -128) | (array == 127)) < 0.05, name
        assert np.mean(array == 0) < 0.2, name
