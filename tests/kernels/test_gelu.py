"""The gelu kernel gives the whole number nearest to the exact result, for every possible value."""

from __future__ import annotations

import numpy as np
import pytest
from support.references.gelu import exact

from harness.inputs.generate import make_tiles
from harness.kernel import load_kernel

SPEC = load_kernel("gelu")
VALUES = range(-128, 128)


EXACT = np.array([exact(x) for x in VALUES])


def test_layout_and_cost():
    assert [(part.name, part.shape, part.dtype, part.constant) for part in SPEC.parts] == [
        ("x", (512,), "int8", False)
    ]
    assert ([buffer.size_bytes for buffer in SPEC.inputs], SPEC.output.size_bytes) == ([512], 512)
    assert SPEC.ops == 11_264


def test_every_value_is_the_nearest():
    # No result is so near a half that float64 could tell its side wrongly.
    assert np.abs(EXACT % 1 - 0.5).min() > 1e-3
    x = np.resize(np.arange(-128, 128), 512).astype(np.int8)
    assert SPEC.reference(x[None])[0].tolist() == [round(exact(value)) for value in x.tolist()]


def test_it_falls_short_of_the_positive_part_by_the_same_on_both_sides():
    x = np.arange(1, 128).astype(np.int8)
    above, below = (
        SPEC.reference(np.resize(side, 512)[None])[0, :127].astype(int) for side in (x, -x)
    )
    assert (above - x).tolist() == below.tolist()


@pytest.mark.parametrize("tiles", [0, 1, 37])
def test_a_batch_equals_its_tiles_one_by_one(tiles):
    x = np.random.default_rng(tiles).integers(-128, 128, (tiles, 512)).astype(np.int8)
    out = SPEC.reference(x)
    assert (out.shape, out.dtype) == ((tiles, 512), np.int8)
    for i in range(tiles):
        np.testing.assert_array_equal(out[i : i + 1], SPEC.reference(x[i : i + 1]))


def test_error_on_speech_is_as_stated():
    x = make_tiles("gelu", 1003, "speech", 0, lambda: 0, 1003).packed[0].view(np.int8)
    error = np.abs(SPEC.reference(x) - EXACT[x.astype(int) + 128])
    assert error.max() <= 0.5
    assert error.mean() == pytest.approx(0.263, abs=0.002)
