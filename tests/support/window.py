"""A small encoder, and a device with round costs that it runs on."""

from __future__ import annotations

from typing import Any

from harness.models.whisper import Encoder
from support import small_device

EXEC_NS = {"matmul": 50, "attention": 900, "layernorm": 11, "gelu": 13}
COSTS: dict[str, Any] = {
    **small_device.COSTS,
    "sync_ns_per_mib": 0,
    "cold_start_ns": 100_000,
    "context_open_ns": 1_000_000,
    "exec_ns": EXEC_NS,
}

SMALL = Encoder("small", layers=1, heads=2, d_model=32, ffn=64, frames=70)
"""1,003 calls: 20 tiles of attention (2 heads, 2 x 2 and padding), a product's 16s, the rest."""
REGISTER_SMALL = (
    "from harness.models.whisper import ENCODERS; "
    "from support.window import SMALL; ENCODERS[SMALL.name] = SMALL"
)
"""Statements by which a process knows workload.model=small."""
