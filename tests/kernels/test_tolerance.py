"""Tolerances: what each kind accepts, what none accepts, and what a declaration may contain."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_device import ADD

from harness.errors import RequestError
from harness.kernel import DTYPES, EXACT, Array, Tolerance, tolerance_of
from harness.kernel.difference import FLOATS, poison_of
from harness.kernel.dtypes import array_dtype

WHY = "sums in another order"
NAN, INF = float("nan"), float("inf")


def tolerance(kind: str, limit: float, **more: float) -> Tolerance:
    return Tolerance(kind, limit, WHY, **more)


def array(values: list[float], dtype: str) -> Array:
    """One tile."""
    return np.array([values]).astype(array_dtype(dtype))


RIGHT_AND_WRONG = [
    # kind and limits, dtype, expected, right, wrong
    (tolerance("absolute", 0.5), "float32", [1, 2], [1.5, 2], [1.5001, 2]),
    (tolerance("absolute", 2), "int8", [1, -2], [3, -4], [4, -2]),
    (tolerance("absolute", 2), "uint8", [1, 255], [0, 253], [4, 255]),
    (tolerance("relative", 0.25), "float32", [8, -4], [10, -3], [10.1, -4]),
    (tolerance("relative", 0.25), "bfloat16", [8, 0], [9, 0], [8, 1e-30]),
    (tolerance("relative", 0.5, floor=1), "float16", [0, 4], [0.5, 2], [0.51, 4]),
    (tolerance("relative", 0.1), "int16", [100, 0], [90, 0], [89, 0]),
    # The neighbours of 1: ulps are half as large below it.
    (tolerance("ulps", 1), "bfloat16", [1], [1 + 2**-7], [1 + 2**-6]),
    (tolerance("ulps", 1), "bfloat16", [1], [1 - 2**-8], [1 - 2**-7]),
    (tolerance("ulps", 2), "float16", [1], [1 + 2**-9], [1 + 3 * 2**-10]),
    (tolerance("ulps", 1), "float32", [2], [2 + 2**-22], [2 + 2**-21]),
    # Through zero: the smallest numbers of both signs are two ulps apart.
    (tolerance("ulps", 2), "float32", [2**-149], [-(2**-149)], [-(2**-148)]),
    (tolerance("ulps", 0), "float32", [0.0], [-0.0], [2**-149]),
    # The same NaN in other bits.
    (tolerance("ulps", 0), "bfloat16", [NAN, 1], [-NAN, 1], [-NAN, 1.1]),
    (tolerance("lsb", 1), "int4", [3, -8], [2, -7], [5, -8]),
    (tolerance("lsb", 1), "int32", [2**31 - 1, 0], [2**31 - 2, 0], [2**31 - 3, 0]),
    (tolerance("lsb", 1), "int8", [127], [126], [-128]),
    (tolerance("lsb", 1, share=0.25), "int8", [0, 0, 0, 0], [9, 1, 0, 0], [2, 2, 0, 0]),
    (tolerance("mismatch_share", 0.5), "int8", [1, 2], [9, 2], [2, 3]),
    (tolerance("mismatch_share", 0.5, cap=3), "int8", [1, 2], [4, 2], [5, 2]),
    (tolerance("mismatch_share", 0.5), "float32", [1, NAN], [2, NAN], [2, 2]),
    (tolerance("cosine", 0.9), "float32", [1, 1, 1], [1.2, 1, 1], [-1, 1, 1]),
    # Blind to a factor, as its description states.
    (tolerance("cosine", 1), "float32", [1, 0], [7, 0], [0, 0]),
    (tolerance("cosine", 0.9), "int8", [0, 0], [0, 0], [1, 0]),
    (EXACT, "float32", [NAN, 0.0], [NAN, 0.0], [NAN, -0.0]),
]


@pytest.mark.parametrize(("limits", "dtype", "expected", "right", "wrong"), RIGHT_AND_WRONG)
def test_what_each_kind_accepts(limits, dtype, expected, right, wrong) -> None:
    expected = array(expected, dtype)
    assert not limits.measure(array(right, dtype), expected, dtype).wrong.any()
    assert limits.measure(array(wrong, dtype), expected, dtype).wrong.all()


def every_tolerance(dtype: str) -> list[Tolerance]:
    """The widest of each kind that the dtype allows."""
    return [
        EXACT,
        tolerance("absolute", 1e30 if dtype in FLOATS else 7),
        tolerance("relative", 0.99, floor=7),
        tolerance("ulps", 2**30, share=0.9) if dtype in FLOATS else tolerance("lsb", 7, share=0.9),
        tolerance("mismatch_share", 0.99),
        tolerance("cosine", 0.001),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_element_that_is_not_written_is_wrong_under_every_tolerance(dtype: str) -> None:
    """Also one of many, and where NaN or an infinity is right."""
    values = [1.0, -1, 0, 7, -8] if dtype != "uint8" else [1.0, 0, 127, 128, 255]
    values += [NAN, INF, -INF] if dtype in FLOATS else []
    expected = array(values, dtype)
    poison = poison_of(expected, dtype)
    for limits in every_tolerance(dtype):
        limits.check_dtype(dtype, "out.tolerance")
        assert not limits.measure(expected, expected, dtype).wrong.any()
        assert limits.measure(poison, expected, dtype).wrong.all(), limits
        for index in range(len(values)):
            got = expected.copy()
            got[0, index] = poison[0, index]
            difference = limits.measure(got, expected, dtype)
            assert difference.wrong.all(), (limits, values[index])
            assert difference.at.tolist() == [index]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("got", "expected"), [(NAN, 1), (1, NAN), (INF, 1), (1, INF), (-INF, INF), (NAN, INF)]
)
def test_numbers_that_are_none_are_in_no_tolerance(dtype: str, got: float, expected: float) -> None:
    for limits in every_tolerance(dtype):
        difference = limits.measure(array([got, 2], dtype), array([expected, 2], dtype), dtype)
        assert difference.wrong.all()
        assert (difference.largest.tolist() == [INF]) or limits.is_exact


@given(dtype=st.sampled_from(FLOATS), bits=st.integers(0, 2**32 - 1), steps=st.integers(0, 9))
def test_ulps_are_counted_by_nextafter(dtype: str, bits: int, steps: int) -> None:
    """`ml_dtypes` and numpy step to the next float; so many steps are so many ulps."""
    numbers = array_dtype(dtype)
    width = 8 * numbers.itemsize
    start = np.array([[bits % 2**width]], f"u{width // 8}").view(numbers)
    step = ml_dtypes.bfloat16 if dtype == "bfloat16" else numbers.type
    value = start.copy()
    for _ in range(steps):
        value = np.nextafter(value, step(INF))
    difference = tolerance("ulps", 9).measure(value, start, dtype)
    if np.isfinite(start).all() and np.isfinite(value).all():
        assert difference.largest.tolist() == [steps]
        assert not difference.wrong.any()


@pytest.mark.parametrize(
    "limits",
    [
        tolerance("absolute", 1, share=0.1),
        tolerance("relative", 0.5),
        tolerance("mismatch_share", 0.5, cap=4),
        tolerance("cosine", 0.5),
    ],
    ids=lambda each: each.kind,
)
def test_large_tiles_are_measured_in_pieces(
    limits: Tolerance, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    expected = generator.standard_normal((5, 3, 7)).astype(np.float32)
    got = expected + generator.standard_normal((5, 3, 7)).astype(np.float32)
    whole = limits.measure(got, expected, "float32")
    monkeypatch.setattr("harness.kernel.tolerance.PIECE_ELEMENTS", 4)
    pieces = limits.measure(got, expected, "float32")
    for name in ("wrong", "at", "outside"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
    np.testing.assert_allclose(pieces.largest, whole.largest)


def test_every_tile_is_judged_alone() -> None:
    expected = np.zeros((3, 2, 2), np.float32)
    got = expected.copy()
    got[1, 1, 0], got[2] = 0.5, 0.25
    difference = tolerance("absolute", 0.3, share=0.2).measure(got, expected, "float32")
    assert difference.wrong.tolist() == [False, True, False]
    assert difference.largest.tolist() == [0, 0.5, 0.25]
    assert difference.at.tolist() == [0, 2, 0]
    assert difference.outside.tolist() == [0, 0.25, 0]


@pytest.mark.parametrize(
    ("limits", "text", "place"),
    [
        (tolerance("ulps", 4), "at most 4 ulps", "largest error 3 ulps of 4 allowed"),
        (
            tolerance("relative", 0.01),
            "a relative error of at most 0.01",
            "largest relative error 3 of 0.01 allowed",
        ),
        (
            tolerance("absolute", 0.5, share=0.01),
            "an absolute error of at most 0.5, except for 1% of the elements",
            "largest error 3 of 0.5 allowed, exceeded by 0.2% of 1% of the elements",
        ),
        (
            tolerance("mismatch_share", 0.01, cap=2),
            "at most 1% of the elements differ, by at most 2",
            "largest share of differing elements 0.2% of 1% allowed",
        ),
        (
            tolerance("cosine", 0.99),
            "a cosine of at least 0.99",
            "least cosine -2, 0.99 required",
        ),
    ],
)
def test_texts(limits: Tolerance, text: str, place: str) -> None:
    assert (limits.text, limits.place(3.0, 0.002)) == (text, place)
    assert limits.place(INF, 1) == "an element that no tolerance allows"


def test_declared_tolerances() -> None:
    declared = {"kind": "relative", "limit": 0.01, "floor": 0.5, "share": 0.1, "reason": WHY}
    assert tolerance_of(declared, "t") == tolerance("relative", 0.01, floor=0.5, share=0.1)
    assert tolerance_of({"kind": "exact"}, "t") == tolerance_of(None, "t") == EXACT
    assert tolerance_of("exact", "t") == EXACT


GOOD = {"kind": "ulps", "limit": 2, "reason": WHY}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (3, "k.tolerance=3: not a tolerance; write exact, or {kind: absolute, limit: 0.01"),
        (GOOD | {"limits": 1}, "k.tolerance.limits: not a key of a tolerance; did you mean limit?"),
        ({"limit": 1}, "k.tolerance.kind: missing; allowed: exact, absolute"),
        (GOOD | {"kind": "ulp"}, "k.tolerance.kind=ulp: not a kind of tolerance; did you mean ul"),
        ({"kind": "ulps", "reason": WHY}, "k.tolerance.limit: missing; kind=ulps needs one"),
        (GOOD | {"limit": -1}, "k.tolerance.limit=-1: allowed: whole numbers from 0 on"),
        (GOOD | {"limit": 1.5}, "k.tolerance.limit=1.5: allowed: whole numbers from 0 on"),
        (GOOD | {"limit": "1e-3"}, "k.tolerance.limit=1e-3: not a number; write one such as 4"),
        (GOOD | {"limit": True}, "k.tolerance.limit=True: not a number"),
        (GOOD | {"limit": NAN}, "k.tolerance.limit=nan: not a number"),
        (GOOD | {"limit": [1]}, r"k.tolerance.limit=\[1\]: not a number"),
        (GOOD | {"kind": "absolute", "limit": -0.1}, "k.tolerance.limit=-0.1: allowed: 0 or more"),
        (GOOD | {"kind": "relative", "limit": 1}, "k.tolerance.limit=1: allowed: 0 or more and be"),
        (GOOD | {"kind": "cosine", "limit": 2}, "k.tolerance.limit=2: allowed: above 0 and at mos"),
        (GOOD | {"kind": "mismatch_share"}, "k.tolerance.limit=2: allowed: above 0 and below 1"),
        (GOOD | {"reason": " "}, "k.tolerance.reason: missing; with kind=ulps, write why outputs"),
        (GOOD | {"reason": 5}, "k.tolerance.reason=5: not a text; write why"),
        (GOOD | {"share": 1}, "k.tolerance.share=1: allowed: 0 or more and below 1"),
        (GOOD | {"floor": 1}, "k.tolerance.floor=1: kind=ulps has none; leave it out, or use rela"),
        (GOOD | {"cap": 1}, "k.tolerance.cap=1: kind=ulps has none; leave it out, or use mismatch"),
        ({"kind": "exact", "limit": 1}, "k.tolerance.limit=1: kind=exact has none; leave it out"),
        (
            GOOD | {"kind": "relative", "limit": 0.1, "floor": 0},
            "k.tolerance.floor=0: allowed: numbers above 0",
        ),
    ],
)
def test_wrong_declarations(declared: object, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        tolerance_of(declared, "k.tolerance")


@pytest.mark.parametrize(
    ("limits", "dtype", "message"),
    [
        (tolerance("lsb", 1), "bfloat16", "t.kind=lsb: not for bfloat16; use ulps, absolute or re"),
        (tolerance("ulps", 1), "int8", "t.kind=ulps: not for int8; use lsb, absolute or relative"),
        (tolerance("lsb", 128), "int8", "t.limit=128: half the range of int8 or more, so anything"),
        (tolerance("absolute", 8), "int4", "t.limit=8: half the range of int4 or more"),
        (tolerance("relative", 0.1, floor=200), "uint8", "t.floor=200: half the range of uint8"),
    ],
)
def test_kinds_that_do_not_fit_the_dtype(limits: Tolerance, dtype: str, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        limits.check_dtype(dtype, "t")


def test_a_kernel_whose_tolerance_does_not_fit_an_output() -> None:
    message = "^kernel add: sum: tolerance.kind=ulps: not for int8"
    with pytest.raises(RequestError, match=message):
        replace(ADD, tolerance=tolerance("ulps", 1))
    assert replace(ADD, tolerance=tolerance("lsb", 1)).tolerance.limit == 1
