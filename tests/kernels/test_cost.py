"""The costs that kernels declare: their work, and what a wrong declaration is answered with."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.errors import RequestError
from harness.kernel import FixedCost, GemmCost, RooflineCost, cost_of

GEMM = {"m": 512, "k": 512, "n": 512, "tile": [64, 64, 32], "dtype": "bfloat16"}


def test_the_work_of_a_product() -> None:
    """512^3 on 16 cores, by hand: calls = MNK / (mnk * 16), bytes = e MNK / 4 (1/n + 1/m) + 4MN."""
    cost = GemmCost(512, 512, 512, (64, 64, 32), "bfloat16")
    assert (cost.cores, cost.macs, cost.ops, cost.calls) == (16, 512**3, 2 * 512**3, 64)
    assert cost.bytes == 2 * (512**3 // 128 + 512**3 // 256) + 4 * 512 * 512
    halved = GemmCost(512, 512, 512, (64, 64, 32), "bfloat16", columns=2)
    assert (halved.cores, halved.calls) == (8, 128)


@pytest.mark.parametrize(
    ("mapping", "cost"),
    [
        ({"ns": 20_000}, FixedCost(20_000)),
        ({"gemm": GEMM}, GemmCost(512, 512, 512, (64, 64, 32), "bfloat16")),
        ({"ops": 5, "bytes": 7}, RooflineCost(5, 7, "int8")),
        ({"ops": 5, "bytes": 7, "dtype": "float32"}, RooflineCost(5, 7, "float32")),
    ],
)
def test_each_form_of_a_declaration(mapping: dict[str, Any], cost: Any) -> None:
    assert cost_of(mapping, "cost") == cost
    assert hash(cost_of(mapping, "cost")) == hash(cost)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (None, "cost: not a cost; give ns: N, gemm:"),
        ([1], "cost: not a cost"),
        ({}, "cost: not a cost"),
        ({"ns": -1}, "cost.ns=-1: give whole numbers from 0"),
        ({"ns": 1.5}, "cost.ns=1.5: give whole numbers"),
        ({"ns": True}, "cost.ns=True: give whole numbers"),
        ({"ns": 10**16}, "give whole numbers from 0 to 1,000,000,000,000,000"),
        ({"ns": 1, "ops": 2}, "cost.ops: unknown key; allowed: ns; a cost is"),
        ({"ops": 2}, "cost: lacks bytes; a cost is"),
        ({"ops": 2, "byts": 3}, "cost.byts: unknown key; did you mean bytes?"),
        ({"ops": 2, "bytes": 3, "dtype": "int9"}, "cost.dtype=int9: no such type; did you mean"),
        ({"gemm": GEMM, "ns": 3}, "cost: gemm takes a mapping, and no other key beside it"),
        ({"gemm": 3}, "cost: gemm takes a mapping"),
        ({"gemm": GEMM | {"m": 0}}, "cost.gemm.m=0: give whole numbers from 1"),
        ({"gemm": GEMM | {"tile": [64, 64]}}, "cost.gemm.tile=[64, 64]: give three numbers"),
        ({"gemm": GEMM | {"tile": 64}}, "cost.gemm.tile=64: give three numbers"),
        ({"gemm": GEMM | {"tile": [64, "x", 1]}}, "cost.gemm.tile=x: give whole numbers"),
        ({"gemm": GEMM | {"out_dtype": "bf16"}}, "cost.gemm.out_dtype=bf16: no such type"),
        ({"gemm": GEMM | {"dtype": ["int8"]}}, "cost.gemm.dtype=['int8']: no such type"),
    ],
)
def test_a_wrong_declaration_is_one_line(mapping: Any, message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)) as raised:
        cost_of(mapping, "cost")
    assert "\n" not in str(raised.value)
