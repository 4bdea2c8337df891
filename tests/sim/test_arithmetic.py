"""A simulated kernel computes each output once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.small_device import ADD

from harness.errors import RequestError
from harness.kernel import Array
from harness.sim.arithmetic import Arithmetic

OPERANDS = bytes(range(256))
TOTAL = bytes((low + low + 128) % 256 for low in range(128))


@pytest.fixture
def seen() -> list[bytes]:
    """The operands of every computation."""
    return []


@pytest.fixture
def arithmetic(seen: list[bytes]) -> Arithmetic:
    def add(left: Array, right: Array) -> Array:
        seen.append(left.tobytes() + right.tobytes())
        left += right
        return left

    return Arithmetic(replace(ADD, reference=add))


def test_equal_inputs_are_computed_once(arithmetic: Arithmetic, seen: list[bytes]) -> None:
    """The reference may change its own copies of the inputs."""
    other = bytes(reversed(OPERANDS))
    for _ in range(2):
        assert arithmetic.output_of((OPERANDS,)) == TOTAL
        assert arithmetic.output_of((other,)) == TOTAL[::-1]
    assert seen == [OPERANDS, other]


def test_outputs_beyond_the_limit_are_computed_again(
    arithmetic: Arithmetic, seen: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.sim.arithmetic.MOST_BYTES", 2 * ADD.size_bytes)
    inputs = [bytes([number] * 256) for number in range(3)]
    for each in (*inputs, *inputs):
        total = np.full(128, 2 * each[0], np.uint8)
        assert arithmetic.output_of((each,)) == total.tobytes()
    assert seen == [*inputs, *inputs]


@pytest.mark.parametrize("fault", [ValueError("odd"), SystemExit(3)])
def test_a_reference_that_fails_on_some_inputs_is_an_error_of_the_user(
    fault: BaseException,
) -> None:
    def add(left: Array, right: Array) -> Array:
        raise fault

    inputs = tuple(bytes(each.size_bytes) for each in ADD.inputs)
    with pytest.raises(RequestError, match=f"kernel {ADD.name}: its reference fails "):
        Arithmetic(replace(ADD, reference=add)).output_of(inputs)
