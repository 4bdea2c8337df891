"""How fast the cores of a simulated device compute: peaks, and products of matrices by shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.config.setting import Schema, setting

MOST = 1_000_000_000
MOST_PCT = 10_000


def _rate(meaning: str, unit: str) -> Any:
    return setting(0, meaning, least=0, most=MOST, unit=unit)


def _error(meaning: str) -> Any:
    return setting(0.0, meaning, least=0, most=MOST_PCT, unit="%")


@dataclass(frozen=True)
class Gemm(Schema):
    """Times of mlir-aie's whole_array design, for one type of operands, at calibrated_mhz.

    execution = t0 + max(calls * call + MAC / (cores * mac_per_ns), bytes * ns_per_mib)

    calls, cores and bytes: see `harness.kernel.GemmCost`. The second term scales with the H clock,
    the third with the columns. Without mac_per_ns there is no model.
    """

    t0_ns: int = _rate("fixed part of an execution", "ns")
    call_ns: int = _rate("fixed part of each call of the tile's kernel", "ns")
    mac_per_ns: int = _rate("multiply-accumulates of a core; 0: no model", "MAC/ns")
    ns_per_mib: int = _rate("bytes between memory and four columns", "ns/MiB")
    mean_error_pct: float = _error("mean error of the model against the published times")
    largest_error_pct: float = _error("largest error of the model against the published times")


@dataclass(frozen=True)
class GemmInt8(Gemm):
    """Products of int8."""

    group = "device.gemm_int8."


@dataclass(frozen=True)
class GemmBfloat16(Gemm):
    """Products of bfloat16."""

    group = "device.gemm_bfloat16."
