"""An access: the bytes of a memory that a launch uses, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from harness.hazard import Kind
from harness.sim.enums import ert_cmd_state

if TYPE_CHECKING:
    from harness.sim.launch import Launch
    from harness.sim.memory import Memory

Result: TypeAlias = "tuple[tuple[int, int], Launch]"
"""A byte range of a memory, and the launch that wrote it."""


class Access:
    """The bytes `key` = (low, high) of a memory that a launch uses.

    writes: whether it writes them; None if unknown. reads: whether their content before the launch
    matters. result: the entry that the launch adds to the memory's `fresh`.
    """

    __slots__ = ("argument", "key", "launch", "memory", "reads", "result", "writes")

    def __init__(
        self,
        launch: Launch,
        argument: int,
        memory: Memory,
        key: tuple[int, int],
        writes: bool | None,
        reads: bool,
    ):
        self.launch = launch
        self.argument = argument
        self.memory = memory
        self.key = key
        self.writes = writes
        self.reads = reads
        self.result: tuple[Result, ...] = ((key, launch),)

    def overlaps(self, low: int, high: int) -> bool:
        """Return whether the launch uses any of the bytes `low` to `high`."""
        return self.key[0] < high and low < self.key[1]

    def conflict(self, other: Access) -> Kind | None:
        """Return how a run in flight that uses the same bytes conflicts with this later one."""
        # In one context the later run reads what the earlier one wrote.
        takes_over = self.reads and other.key == self.key
        if self.writes and other.writes and not takes_over:
            return Kind.SHARED_OUTPUT if other.key == self.key else Kind.OVERLAP
        if (self.writes or other.writes) and other.launch.context is not self.launch.context:
            return Kind.UNORDERED
        # Two runs may read the same bytes, and one context executes in order.
        return None

    @property
    def loses_to_staging(self) -> bool:
        """Whether the next input in the same bytes overwrites a result: that of an inout bo."""
        completed = self.launch.final is ert_cmd_state.ERT_CMD_STATE_COMPLETED
        return completed and self.reads and bool(self.writes)

    def mark_as_output(self) -> None:
        """Treat the argument as an output in the following launches of the kernel's runs."""
        self.launch.outputs.add(self.argument)
        self.launch.bound = False
