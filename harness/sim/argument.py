"""The arguments that a run is set to: bytes of a memory, or scalars."""

from __future__ import annotations

from dataclasses import dataclass

from harness.hazard import Kind
from harness.sim.bo import BoRange
from harness.sim.kernel_model import NO_BANK
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


def bo_argument(window: BoRange, bank: int, site: Site) -> Argument:
    """Return the argument that a bo gives.

    If the bo is in another bank than the argument, XRT binds a copy of it without a warning, and
    the output is written to the copy.
    """
    if bank not in (window.memory.bank, NO_BANK):
        copy = Memory(window.size, f"copy of {window.memory.name} in another bank", bank=bank)
        # XRT's own reference, which lasts as long as the argument.
        copy.handles = 1
        content = window.memory.device[slice(*window.key)]
        copy.device[: window.size] = copy.host[: window.size] = content
        return Argument(copy, copy.key, Kind.WRONG_BANK, site)
    # The kernel sees the device's address, which XRT computes wrongly for nested sub-buffers.
    begin = window.device_offset
    problem = None if begin == window.offset else Kind.NESTED_SUB_BUFFER
    return Argument(window.memory, (begin, begin + window.size), problem, site)
