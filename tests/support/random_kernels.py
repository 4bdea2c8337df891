"""Kernels with any list of arguments, for tests of times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from harness.kernel import Argument, Buffer, Direction, KernelSpec, Part, Scalar, Unused

_SHAPES = st.sampled_from([(1,), (63,), (64,), (3, 50), (700,)])


@st.composite
def _buffers(draw: st.DrawFn, direction: Direction | None = None) -> Buffer:
    direction = direction or draw(st.sampled_from(Direction))
    parts = [Part("x", draw(_SHAPES))]
    if direction is Direction.IN and draw(st.booleans()):
        parts.append(Part("w", draw(_SHAPES), constant=True))
    return Buffer("bo", tuple(parts), direction)


def _named(number: int, argument: Argument) -> Argument:
    """The argument with a name, and names of its parts, that no other argument has."""
    if isinstance(argument, Buffer):
        parts = tuple(replace(each, name=f"{each.name}{number}") for each in argument.parts)
        argument = replace(argument, parts=parts)
    return replace(argument, name=f"argument{number}")


@st.composite
def kernels(draw: st.DrawFn, name: str) -> KernelSpec:
    """A kernel with an input, an output, and up to four more arguments, in any order.

    Its outputs are zero, or what an inout buffer contains.
    """
    more = st.one_of(_buffers(), st.just(Scalar("n", 7)), st.just(Unused()))
    arguments: list[Argument] = [
        draw(_buffers(Direction.IN)),
        draw(_buffers(Direction.OUT)),
        *draw(st.lists(more, max_size=4)),
    ]
    ordered = enumerate(draw(st.permutations(arguments)))
    spec = KernelSpec(name, tuple(_named(number, each) for number, each in ordered))

    def reference(*arrays: Any, **_: int) -> tuple[Any, ...]:
        return tuple(
            np.zeros((len(arrays[0]), *part.shape), part.dtype) for part in spec.output.parts
        )

    return KernelSpec(name, spec.arguments, reference)
