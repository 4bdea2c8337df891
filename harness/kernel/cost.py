"""What an execution of a kernel costs: a time, or work from which a device's profile gives one.

`harness.config.execution_time` turns a cost into nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeAlias

from harness.errors import RequestError, nearest
from harness.kernel.dtypes import DTYPES, size_bytes

ROWS = 4
"""Cores of a column on Phoenix and Strix."""
MOST_WORK = 10**15
"""Largest number of a cost: times of 64 bits hold what it takes."""


@dataclass(frozen=True)
class FixedCost:
    """An execution takes `ns` nanoseconds at the device's full clock, whatever its shape."""

    ns: int

    def __post_init__(self) -> None:
        _check_numbers("ns", self.ns, least=0)


@dataclass(frozen=True)
class RooflineCost:
    """An execution takes as long as its arithmetic at the peak of `dtype`, or its bytes if longer.

    ops: operations; a multiply-accumulate counts as two. bytes: those that it moves in the
    direction in which it moves more. columns: those that it uses, with all their cores.
    """

    ops: int
    bytes: int
    dtype: str = "int8"
    columns: int = 1

    def __post_init__(self) -> None:
        _check_numbers("ops", self.ops, least=0)
        _check_numbers("bytes", self.bytes, least=0)
        _check_numbers("columns", self.columns, least=1)
        _check_dtype("dtype", self.dtype)

    @property
    def cores(self) -> int:
        """Cores that it uses."""
        return ROWS * self.columns

    @property
    def moved_bytes(self) -> int:
        """`bytes`."""
        return self.bytes


@dataclass(frozen=True)
class GemmCost:
    """A product of (m, k) and (k, n) by mlir-aie's whole_array design on `columns` columns.

    tile: rows, inner size and columns of what a core multiplies in one call. dtype, out_dtype: of
    the operands and of the product; None is int32 for integers, else float32.

        GemmCost(512, 512, 512, (64, 64, 32), "bfloat16").calls  # 64
    """

    m: int
    k: int
    n: int
    tile: tuple[int, int, int]
    dtype: str
    out_dtype: str | None = None
    columns: int = 4

    def __post_init__(self) -> None:
        for name in ("m", "k", "n", "columns"):
            _check_numbers(name, getattr(self, name), least=1)
        is_list = isinstance(self.tile, list | tuple)
        if not is_list or len(self.tile) != 3:
            raise RequestError(f"tile={self.tile}: give three numbers: rows, inner size, columns")
        _check_numbers("tile", *self.tile, least=1)
        # Lists come from YAML, and a list has no hash.
        object.__setattr__(self, "tile", tuple(self.tile))
        _check_dtype("dtype", self.dtype)
        if self.out_dtype is not None:
            _check_dtype("out_dtype", self.out_dtype)

    @property
    def cores(self) -> int:
        """Cores that share the calls."""
        return ROWS * self.columns

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the product."""
        return self.m * self.k * self.n

    @property
    def ops(self) -> int:
        """Operations: two for each multiply-accumulate."""
        return 2 * self.macs

    @property
    def calls(self) -> int:
        """Calls of the tile's kernel on each core, rounded up."""
        m, k, n = self.tile
        return -(-self.macs // (m * k * n * self.cores))

    @property
    def operand_bytes(self) -> int:
        """Bytes of the operands, which tiles read several times."""
        m, _, n = self.tile
        return size_bytes(self.dtype, self.macs // (self.columns * n) + self.macs // (ROWS * m))

    @property
    def product_bytes(self) -> int:
        """Bytes of the product."""
        out_dtype = self.out_dtype or ("int32" if "int" in self.dtype else "float32")
        return size_bytes(out_dtype, self.m * self.n)

    @property
    def bytes(self) -> int:
        """Bytes between memory and array, in both directions."""
        return self.operand_bytes + self.product_bytes

    @property
    def moved_bytes(self) -> int:
        """Bytes in the direction in which it moves more."""
        return max(self.operand_bytes, self.product_bytes)


Cost: TypeAlias = FixedCost | GemmCost | RooflineCost
"""What an execution costs."""
_FORMS = "ns: N, gemm: {m, k, n, tile, dtype}, or ops: N with bytes: N"


def cost_of(mapping: Any, where: str) -> Cost:
    """The cost that a declaration gives: one of three forms.

        cost_of({"ns": 20_000}, "cost")
        cost_of({"gemm": {"m": 512, "k": 512, "n": 512, "tile": [64, 64, 32], "dtype": "bfloat16"}},
                "cost")
        cost_of({"ops": 16_384, "bytes": 8_192, "dtype": "int8"}, "cost")

    where: the key, at the beginning of messages. RequestError for anything else.
    """
    if not isinstance(mapping, Mapping) or not mapping:
        raise RequestError(f"{where}: not a cost; give {_FORMS}")
    if "gemm" in mapping:
        gemm = mapping["gemm"]
        if len(mapping) > 1 or not isinstance(gemm, Mapping):
            raise RequestError(f"{where}: gemm takes a mapping, and no other key beside it")
        return _created(GemmCost, gemm, f"{where}.gemm")
    return _created(FixedCost if "ns" in mapping else RooflineCost, mapping, where)


def _created(cls: type[Cost], mapping: Mapping[Any, Any], where: str) -> Cost:
    """A cost with the values of a mapping; RequestError with the key that is wrong."""
    names = [each.name for each in fields(cls)]
    required = [each.name for each in fields(cls) if each.default is MISSING]
    for key in mapping:
        if key not in names:
            hint = nearest(str(key), names)
            raise RequestError(f"{where}.{key}: unknown key; {hint}; a cost is {_FORMS}")
    if missing := [name for name in required if name not in mapping]:
        raise RequestError(f"{where}: lacks {', '.join(missing)}; a cost is {_FORMS}")
    try:
        return cls(**mapping)
    except RequestError as error:
        raise RequestError(f"{where}.{error}") from None


def _check_numbers(key: str, *values: Any, least: int) -> None:
    for value in values:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not is_number or not least <= value <= MOST_WORK:
            raise RequestError(f"{key}={value}: give whole numbers from {least} to {MOST_WORK:,}")


def _check_dtype(key: str, dtype: Any) -> None:
    if dtype not in DTYPES:
        raise RequestError(f"{key}={dtype}: no such type; {nearest(str(dtype), DTYPES)}")
