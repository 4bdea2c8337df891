"""Kernel folders: what a spec must be, and what is said of one that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ADD, make_tiles

from harness.errors import RequestError
from harness.kernel import load_kernel


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SPEC = (", "cannot be loaded (SyntaxError"),
        ("raise SystemExit(7)", "cannot be loaded (SystemExit: 7)"),
        ("import no_such_module", "cannot be loaded (ModuleNotFoundError"),
        ("", "defines no SPEC"),
        ("SPEC = 3", "defines no SPEC"),
        ("from conftest import ADD as SPEC", "is named add; name it as its folder"),
    ],
)
def test_a_wrong_spec(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "spec.py").write_text(text)
    with pytest.raises(RequestError) as raised:
        load_kernel("mine", tmp_path)
    assert "kernel mine: " in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (lambda left, right: None, "TypeError"),
        (lambda left, right: left[:1], "1 outputs of 3 tiles"),
        (lambda left, right: left[:, :3], "given int8[3, 16], takes int8[8, 16] per tile"),
        (lambda left, right: left + 1.5, "given float64[8, 16]"),
        (lambda left: left, "TypeError"),
    ],
)
def test_a_wrong_reference(reference, said: str) -> None:
    tiles = make_tiles(replace(ADD, reference=reference), 3)
    with pytest.raises(RequestError, match="kernel add: its reference fails") as raised:
        _ = tiles.expected
    assert said in str(raised.value)


def test_packing_is_undone_by_unpacking() -> None:
    buffer, generator = ADD.inputs[0], np.random.default_rng(0)
    arrays = [generator.integers(-128, 128, (5, 8, 16), np.int8) for _ in buffer.parts]
    packed = buffer.pack(*arrays)
    assert packed.shape == (5, buffer.size_bytes)
    for array, back in zip(arrays, buffer.unpack(packed), strict=True):
        np.testing.assert_array_equal(array, back)
