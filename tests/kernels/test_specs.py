"""Kernel folders: what a spec must be, and what is said of one that is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_device import ADD, make_tiles

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
        (
            "from support.small_device import ADD as SPEC",
            "is named add; name it mine, as its folder",
        ),
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


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ([np.zeros((2, 8, 16), np.int8)], "operands: given 1 arrays, takes 2: left, right"),
        ([np.zeros((2, 8, 16), np.int8)] * 3, "operands: given 3 arrays, takes 2: left, right"),
        (
            [np.zeros((2, 8, width), np.int8) for width in (16, 15)],
            "operands.right: given int8[8, 15], ",
        ),
        (
            [np.zeros((2, 8, 16))] * 2,
            "operands.left: given float64[8, 16], takes int8[8, 16] per tile",
        ),
        (
            [np.zeros((8, 16), np.int8)] * 2,
            "operands.left: given int8[16], takes int8[8, 16] per tile",
        ),
        ([np.int8(3)] * 2, "operands.left: given int8[], takes int8[8, 16] per tile"),
        (
            [np.zeros((tiles, 8, 16), np.int8) for tiles in (2, 3)],
            "operands.right: given 3 tiles, takes as many as",
        ),
    ],
)
def test_arrays_that_do_not_fit(arrays: list[np.ndarray], said: str) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        ADD.inputs[0].pack(*arrays)


@pytest.mark.parametrize(
    "packed", [np.zeros((2, 255), np.uint8), np.zeros(256, np.uint8), np.zeros((1, 256), np.int8)]
)
def test_bytes_that_do_not_fit(packed: np.ndarray) -> None:
    said = f"operands: given {packed.dtype}{list(packed.shape)}, takes uint8[tiles, 256]"
    with pytest.raises(RequestError, match=re.escape(said)):
        ADD.compute(packed)


# Variants

VARIANTS = """
from dataclasses import replace
from support.small_device import ADD
SPEC = replace(ADD, name="mine")
VARIANTS = (replace(ADD, name="mine_8"), replace(ADD, name="mine_8_wide"))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name in ("mine", "mine_own"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "spec.py").write_text(VARIANTS)
    (tmp_path / "mine_own" / "spec.py").write_text(VARIANTS.replace("mine", "mine_own"))
    return tmp_path


@pytest.mark.parametrize("name", ["mine", "mine_8", "mine_8_wide", "mine_own", "mine_own_8"])
def test_a_variant_is_found_in_its_folder(mine: Path, name: str) -> None:
    assert load_kernel(name, mine).name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "mine_9",
            "no such variant of mine; did you mean mine_8? Allowed: mine, mine_8, mine_8_wide",
        ),
        (
            "mine_",
            "no such variant of mine; did you mean mine_8? Allowed: mine, mine_8, mine_8_wide",
        ),
        ("mine_own_9", "no such variant of mine_own; did you mean mine_own_8? "),
        ("mine8", "kernel mine8: no such kernel; did you mean mine_8? Allowed: mine, mine_8, "),
        ("", "; a new one is a file conf/kernel/<name>.yaml, or a folder "),
    ],
)
def test_an_unknown_kernel(mine: Path, name: str, said: str) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        load_kernel(name, mine)


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ('[replace(ADD, name="mine_8")]', "VARIANTS of "),
        ("(3,)", "is not a tuple of harness.kernel.KernelSpec"),
        ('(replace(ADD, name="other_8"),)', "is named other_8; name it mine_<suffix>"),
    ],
)
def test_wrong_variants(mine: Path, variants: str, said: str) -> None:
    (mine / "mine" / "spec.py").write_text(VARIANTS + f"VARIANTS = {variants}")
    with pytest.raises(RequestError, match=re.escape(said)):
        load_kernel("mine_8", mine)
