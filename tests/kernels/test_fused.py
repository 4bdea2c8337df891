"""The fused kernels: the bytes of the chains they stand for, and how far those are from float64."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from support.references import attention, gelu, layernorm, matmul

from harness.inputs.generate import make_tiles
from harness.kernel import load_kernel

SOURCES = {
    "speech": lambda name: make_tiles(name, 1003, "speech", 0, lambda: 0, 1003).packed[0],
    "uniform": lambda name: np.random.default_rng(0).integers(
        0, 256, (1000, load_kernel(name).inputs[0].size_bytes), np.uint8
    ),
}


def attention_layernorm_chain(packed):
    """Two launches, with the host taking the first four rows in between."""
    rows = load_kernel("attention").compute(packed[:, :12_288])
    return load_kernel("layernorm").compute(
        np.concatenate([rows[:, :256], packed[:, 12_288:]], axis=1)
    )


def matmul_gelu_chain(packed):
    """Two launches, with the host padding in between."""
    return load_kernel("gelu").compute(
        np.pad(load_kernel("matmul").compute(packed), ((0, 0), (0, 256)))
    )


CHAINS = {"attention_layernorm": attention_layernorm_chain, "matmul_gelu": matmul_gelu_chain}


def test_layouts_and_costs():
    fused, other = load_kernel("attention_layernorm"), load_kernel("matmul_gelu")
    assert [(part.name, part.size_bytes, part.constant) for part in fused.parts] == [
        *[(name, 4096, False) for name in "qkv"],
        *[(name, 256, True) for name in ("gamma", "beta")],
    ]
    assert ([buffer.size_bytes for buffer in fused.inputs], fused.output.size_bytes) == (
        [12_800],
        256,
    )
    assert [(part.name, part.size_bytes, part.constant) for part in other.parts] == [
        ("a", 256, False),
        ("b", 256, True),
    ]
    assert ([buffer.size_bytes for buffer in other.inputs], other.output.size_bytes) == ([512], 512)
    assert (fused.ops, other.ops) == (1_089_536 + 2_816, 9_216 + 11_264)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", CHAINS)
def test_the_bytes_are_those_of_the_chain(name, source):
    packed = SOURCES[source](name)[:50]
    np.testing.assert_array_equal(load_kernel(name).compute(packed), CHAINS[name](packed))


def test_attention_layernorm_matches_plain_integers():
    spec = load_kernel("attention_layernorm")
    q, k, v, gamma, beta = spec.inputs[0].unpack(SOURCES["speech"](spec.name)[9:10])
    rows = attention.plain(q[0].tolist(), k[0].tolist(), v[0].tolist())[:4]
    expected = layernorm.plain(list(chain(*rows)), gamma[0].tolist(), beta[0].tolist())
    assert spec.reference(q, k, v, gamma, beta)[0].tolist() == expected


def test_matmul_gelu_matches_plain_integers():
    spec = load_kernel("matmul_gelu")
    a, b = spec.inputs[0].unpack(SOURCES["speech"](spec.name)[9:10])
    products = chain(*matmul.plain(a[0].tolist(), b[0].tolist()))
    assert (
        spec.reference(a, b)[0].tolist()
        == [round(gelu.exact(value)) for value in products] + [0] * 256
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "most", "mean"), [("speech", 8.6, 0.69), ("uniform", 2.2, 0.30)]
)
def test_error_of_attention_layernorm_is_as_stated(source, most, mean):
    spec = load_kernel("attention_layernorm")
    q, k, v, gamma, beta = spec.inputs[0].unpack(SOURCES[source](spec.name))
    rows = attention.exact(q, k, v)[:, :4].reshape(len(q), 256)
    error = np.abs(spec.reference(q, k, v, gamma, beta) - layernorm.exact(rows, gamma, beta))
    assert error.max() <= most
    assert error.mean() <= mean


@pytest.mark.parametrize(
    ("source", "most", "mean"), [("speech", 1.03, 0.09), ("uniform", 1.03, 0.03)]
)
def test_error_of_matmul_gelu_is_as_stated(source, most, mean):
    spec = load_kernel("matmul_gelu")
    a, b = spec.inputs[0].unpack(SOURCES[source](spec.name))
    products = 32 * (a.astype(np.float64) / 32) @ (b.astype(np.float64) / 32)
    true = (
        np.vectorize(gelu.exact)(np.clip(products, -1000, 1000))
        .clip(-128, 127)
        .reshape(len(a), 256)
    )
    error = np.abs(spec.reference(a, b) - np.pad(true, ((0, 0), (0, 256))))
    assert error.max() <= most
    assert error.mean() <= mean
