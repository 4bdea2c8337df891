"""How much the outputs of a device may differ from the expected ones, and by how much they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite

import numpy as np

from harness.errors import RequestError, nearest
from harness.kernel.difference import (
    FLOATS,
    Difference,
    Errors,
    absolute,
    cosine_of,
    differing,
    inner_products,
    integer_range,
    never_right,
    relative,
    smallest_normal,
    ulps,
)
from harness.kernel.dtypes import Array

KINDS = ("exact", "absolute", "relative", "ulps", "lsb", "mismatch_share", "cosine")
"""What a tolerance limits; `Tolerance` explains each."""
ELEMENTWISE = ("absolute", "relative", "ulps", "lsb")
"""Kinds that limit the error of each element."""
NUMBERS = {"limit": KINDS[1:], "floor": ("relative",), "share": ELEMENTWISE, "cap": KINDS[5:6]}
"""Fields that are numbers, and the kinds that have them."""

PIECE_ELEMENTS = 1 << 20
"""Elements of a tile that are measured at once."""


@dataclass(frozen=True)
class Tolerance:
    """How much each tile of an output may differ from the expected one.

    kind: `exact`: the same bits. `absolute`: |got - expected| <= limit. `relative`:
    |got - expected| <= limit * max(|expected|, floor); floor: by default the smallest normal
    number of the dtype, 1 for integers. `ulps`: floats, at most `limit` representable values away,
    in the output's own dtype. `lsb`: integers, |got - expected| <= limit. `mismatch_share`: at
    most the share `limit` of the elements has other bits, by at most `cap`. `cosine`: the cosine
    of the angle between both tiles is at least `limit`; it is blind to a factor.

    share: with a limit for each element, the share of a tile's elements that may exceed it.
    reason: why the outputs may differ; required unless exact. NaN is right only where NaN is
    expected, an infinity only where the same is. No share excuses these, nor an integer element
    that the kernel has not written.

        Tolerance("ulps", 2, reason="bf16 sums in another order")

    RequestError for a value that is not allowed.
    """

    kind: str = "exact"
    limit: float = 0.0
    reason: str = ""
    floor: float | None = None
    share: float = 0.0
    cap: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RequestError(
                f"tolerance.kind={self.kind}: not a kind of tolerance; "
                f"{nearest(str(self.kind), KINDS)}"
            )
        for name, kinds in NUMBERS.items():
            self._check_number(name, kinds)
        if not isinstance(self.reason, str):
            raise RequestError(f"tolerance.reason={self.reason}: not a text; write why")
        if self.kind != "exact" and not self.reason.strip():
            raise RequestError(
                f"tolerance.reason: missing; with kind={self.kind}, write why outputs may differ"
            )

    def _check_number(self, name: str, kinds: tuple[str, ...]) -> None:
        """RequestError unless the field is a number that the kind allows, or not given."""
        value, default = getattr(self, name), _DEFAULTS[name]
        if self.kind not in kinds:
            if value != default:
                raise RequestError(
                    f"tolerance.{name}={value}: kind={self.kind} has none; leave it out, or use "
                    f"{', '.join(kinds)}"
                )
            return
        if value is None and default is None:
            return
        if not _is_number(value):
            raise RequestError(
                f"tolerance.{name}={str(value)[:60]}: not a number; write one such as 4 or 0.01"
            )
        allowed = self._allowed(name, value)
        if allowed:
            raise RequestError(f"tolerance.{name}={value}: allowed: {allowed}")

    def _allowed(self, name: str, value: float) -> str:
        """The allowed values if `value` is none of them, else empty."""
        if name == "floor":
            return "" if value > 0 else "numbers above 0"
        if name == "share":
            return "" if 0 <= value < 1 else "0 or more and below 1; 0.01 is 1% of the elements"
        if name == "cap" or self.kind == "absolute":
            return "" if value >= 0 else "0 or more"
        if self.kind in ("ulps", "lsb"):
            is_whole = value >= 0 and value == int(value)
            return "" if is_whole else "whole numbers from 0 on"
        if self.kind == "cosine":
            return "" if 0 < value <= 1 else "above 0 and at most 1"
        if self.kind == "mismatch_share":
            return "" if 0 < value < 1 else "above 0 and below 1; 0.01 is 1% of the elements"
        # With 1, an output of zeros would always be right.
        return "" if 0 <= value < 1 else "0 or more and below 1; 0.01 is 1% of the expected value"

    @property
    def is_exact(self) -> bool:
        """Whether outputs must have the same bits."""
        return self.kind == "exact"

    @property
    def is_elementwise(self) -> bool:
        """Whether the limit is one of the error of each element."""
        return self.kind in ELEMENTWISE

    def check_dtype(self, dtype: str, where: str) -> None:
        """RequestError unless outputs of `dtype` can have this tolerance; where: what has it.

        For integers, an element that is not written must exceed every limit, so the limit is
        below half of the dtype's range.
        """
        is_float = dtype in FLOATS
        if self.kind == ("lsb" if is_float else "ulps"):
            other = "ulps" if is_float else "lsb"
            raise RequestError(
                f"{where}.kind={self.kind}: not for {dtype}; use {other}, absolute or relative"
            )
        if is_float or self.is_exact:
            return
        lowest, highest = integer_range(dtype)
        half = (highest - lowest + 1) // 2
        names = {"absolute": "limit", "lsb": "limit", "relative": "floor", "mismatch_share": "cap"}
        name = names.get(self.kind, "floor")
        value = getattr(self, name)
        if value is not None and value >= half:
            raise RequestError(
                f"{where}.{name}={value}: half the range of {dtype} or more, so anything is "
                f"right; allowed: below {half}"
            )

    def measure(self, got: Array, expected: Array, dtype: str) -> Difference:
        """Compare arrays (tiles, *shape) of an output part with elements of `dtype`."""
        tiles = len(got)
        got, expected = got.reshape(tiles, -1), expected.reshape(tiles, -1)
        elements = got.shape[1]
        largest, at = np.full(tiles, -1.0), np.zeros(tiles, np.int64)
        beyond, products = np.zeros(tiles), np.zeros((tiles, 3))
        # In pieces, because the errors of a tile take up to 16 times its memory.
        for begin in range(0, elements, PIECE_ELEMENTS):
            piece = slice(begin, begin + PIECE_ELEMENTS)
            errors = self._errors(got[:, piece], expected[:, piece], dtype)
            beyond += (errors > (self.limit if self.is_elementwise else 0)).sum(axis=1)
            index = errors.argmax(axis=1)
            highest = errors[np.arange(tiles), index]
            at = np.where(highest > largest, begin + index, at)
            largest = np.maximum(largest, highest)
            if self.kind == "cosine":
                products += inner_products(got[:, piece], expected[:, piece])
        hopeless, outside = np.isinf(largest), beyond / elements
        wrong = outside > self.share
        if self.kind == "mismatch_share":
            largest, wrong = outside, outside > self.limit
        elif self.kind == "cosine":
            cosine = cosine_of(products)
            largest, wrong = 1 - cosine, cosine < self.limit
        return Difference(wrong | hopeless, np.where(hopeless, np.inf, largest), at, outside)

    def _errors(self, got: Array, expected: Array, dtype: str) -> Errors:
        """The error of each element, (tiles, elements) float64, in the unit of the kind.

        Infinite where no limit and no share excuses it.
        """
        if self.kind == "ulps":
            errors = ulps(got, expected)
        elif self.kind == "relative":
            errors = relative(got, expected, self.floor or smallest_normal(dtype))
        elif self.kind in ("exact", "mismatch_share"):
            errors = differing(got, expected)
        else:
            errors = absolute(got, expected)
        errors[never_right(got, expected, dtype)] = np.inf
        if self.cap is not None:
            errors[absolute(got, expected) > self.cap] = np.inf
        return errors

    @property
    def text(self) -> str:
        """The tolerance in words: `at most 4 ulps`."""
        limit = _number(self.limit)
        words = {
            "exact": "the same bits",
            "absolute": f"an absolute error of at most {limit}",
            "relative": f"a relative error of at most {limit}",
            "ulps": f"at most {limit} ulps",
            "lsb": f"at most {limit} lsb",
            "mismatch_share": f"at most {_percent(self.limit)} of the elements differ",
            "cosine": f"a cosine of at least {limit}",
        }[self.kind]
        if self.cap is not None:
            words += f", by at most {_number(self.cap)}"
        return words + (f", except for {_percent(self.share)} of the elements" * bool(self.share))

    def place(self, largest: float, outside: float) -> str:
        """Where outputs lie in the tolerance: `largest error 3 ulps of 4 allowed`.

        largest, outside: as in `Difference`, of the worst tile.
        """
        if largest == np.inf:
            return "an element that no tolerance allows"
        if self.kind == "cosine":
            return f"least cosine {_number(1 - largest)}, {_number(self.limit)} required"
        if self.kind in ("exact", "mismatch_share"):
            share = f"largest share of differing elements {_percent(outside)}"
            return f"{share} of {_percent(self.limit)} allowed"
        name, unit = "error", ""
        if self.kind == "relative":
            name = "relative error"
        elif self.kind != "absolute":
            unit = f" {self.kind}"
        words = f"largest {name} {_number(largest)}{unit} of {_number(self.limit)} allowed"
        if not self.share:
            return words
        return f"{words}, exceeded by {_percent(outside)} of {_percent(self.share)} of the elements"


_DEFAULTS = {each.name: each.default for each in fields(Tolerance)}
EXACT = Tolerance()
"""The same bits."""


def tolerance_of(mapping: object, where: str) -> Tolerance:
    """The tolerance that a YAML file declares; where: the key that has it, for messages.

        tolerance_of({"kind": "relative", "limit": 0.01, "reason": "bf16 sums"}, "tolerance")

    None and `exact` are EXACT. RequestError for an unknown key, a missing limit, and a value that
    is not allowed.
    """
    if mapping is None or mapping == "exact":
        return EXACT
    if not isinstance(mapping, Mapping):
        raise RequestError(
            f"{where}={mapping}: not a tolerance; write exact, or "
            "{kind: absolute, limit: 0.01, reason: ...}"
        )
    for key in mapping:
        if key not in _DEFAULTS:
            raise RequestError(
                f"{where}.{key}: not a key of a tolerance; {nearest(str(key), _DEFAULTS)}"
            )
    if "kind" not in mapping:
        raise RequestError(f"{where}.kind: missing; allowed: {', '.join(KINDS)}")
    if "limit" not in mapping and mapping["kind"] in KINDS[1:]:
        raise RequestError(f"{where}.limit: missing; kind={mapping['kind']} needs one")
    try:
        return Tolerance(**mapping)
    except RequestError as error:
        raise RequestError(where + str(error).removeprefix("tolerance")) from None


def _is_number(value: object) -> bool:
    """Whether `value` is a finite number; True and numbers beyond every float are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
