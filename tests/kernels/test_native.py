"""The C++ of every kernel, compiled for this machine and not an NPU, equals its reference."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import native

from harness.inputs.generate import make_tiles
from harness.kernel import Bytes, KernelSpec, kernel_names, load_kernel

pytestmark = pytest.mark.slow


def filled(spec: KernelSpec) -> Bytes:
    """Every part all -128, all 0 or all 127, in every combination."""
    sizes = [part.size_bytes for part in spec.parts]
    tiles = [np.repeat(values, sizes) for values in product((-128, 0, 127), repeat=len(sizes))]
    return np.array(tiles).astype(np.int8).view(np.uint8)


def one_hot(spec: KernelSpec) -> Bytes:
    """One value unlike all others, in places all over."""
    size = spec.inputs[0].size_bytes
    places, values = (
        range(0, size, max(29, size // 60)),
        ((127, 0), (-128, 0), (0, 127), (-127, -128)),
    )
    hot = [
        np.where(np.arange(size) == place, value, rest)
        for place, (value, rest) in product(places, values)
    ]
    return np.array(hot).astype(np.int8).view(np.uint8)


def drawn(spec: KernelSpec, seed: int, spreads: tuple[int, ...], tiles: int = 1) -> Bytes:
    """Each part uniform within its own spread of its own centre."""
    rng = np.random.default_rng(seed)
    arrays = []
    for part, spread in zip(spec.parts, spreads, strict=True):
        centre = rng.integers(-128, 128)
        values = centre + rng.integers(-spread, spread + 1, (tiles, *part.shape))
        arrays.append(np.clip(values, -128, 127).astype(np.int8))
    return spec.inputs[0].pack(*arrays)


def assert_same(name: str, packed: Bytes) -> None:
    np.testing.assert_array_equal(native.compute(name, packed), load_kernel(name).compute(packed))


@pytest.mark.parametrize("name", native.NAMES)
def test_filled_tiles(name: str) -> None:
    assert_same(name, filled(load_kernel(name)))


@pytest.mark.parametrize("name", native.NAMES)
def test_one_hot_tiles(name: str) -> None:
    assert_same(name, one_hot(load_kernel(name)))


@pytest.mark.parametrize("source", ["speech", "random"])
@pytest.mark.parametrize("name", native.NAMES)
def test_tiles_of_workloads(name: str, source: str) -> None:
    assert_same(name, make_tiles(name, 200, source, 3, lambda: 0, 200).packed[0])


@pytest.mark.parametrize("name", native.NAMES)
def test_uniform_tiles(name: str) -> None:
    size = load_kernel(name).inputs[0].size_bytes
    assert_same(name, np.random.default_rng(5).integers(0, 256, (500, size), np.uint8))


@pytest.mark.parametrize("name", native.NAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_tiles_of_any_spread(name: str, data: st.DataObject) -> None:
    spec = load_kernel(name)
    spreads = data.draw(st.tuples(*[st.integers(0, 128)] * len(spec.parts)))
    assert_same(name, drawn(spec, data.draw(st.integers(0, 2**32)), spreads, tiles=3))


@pytest.mark.parametrize("name", native.NAMES)
def test_without_undefined_behaviour(name: str, tmp_path: Path) -> None:
    spec = load_kernel(name)
    spread = [
        drawn(spec, spread, (spread,) * len(spec.parts), tiles=2)
        for spread in (0, 1, 2, 5, 20, 128)
    ]
    packed = np.concatenate([filled(spec), one_hot(spec), *spread])
    np.testing.assert_array_equal(
        native.compute_sanitized(name, packed, tmp_path), spec.compute(packed)
    )


def test_every_kernel_is_compared() -> None:
    assert set(kernel_names(native.kernels_root())) == set(native.NAMES)


def test_without_a_compiler_the_skip_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match=r"no g\+\+: install it"):
        native.compute_sanitized("gelu", np.zeros((1, 512), np.uint8), tmp_path)
