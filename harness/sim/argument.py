"""The arguments that a run is set to: bytes of a memory, or scalars."""

from __future__ import annotations

from dataclasses import dataclass

from harness.hazard import Kind
from harness.sim.bo import BoRange
from harness.sim.memory import Memory
from harness.sim.sites import Site


@dataclass(frozen=True)
class Argument:
    """The value of an argument: bytes `key` of a memory, or the number `value`.

    memory: None for a number. problem: a hazard of the value itself. site: the place where it was
    set.
    """

    memory: Memory | None
    key: tuple[int, int]
    problem: Kind | None
    site: Site
    value: int = 0


def bo_argument(window: BoRange, site: Site) -> Argument:
    """Return the argument that a bo gives."""
    # The kernel sees the device's address, which XRT computes wrongly for nested sub-buffers.
    begin = window.device_offset
    problem = None if begin == window.offset else Kind.NESTED_SUB_BUFFER
    return Argument(window.memory, (begin, begin + window.size), problem, site)
