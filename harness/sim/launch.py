"""What a run does to memory, each time it is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from harness.kernel import Bytes, KernelSpec
from harness.sim.enums import ert_cmd_state
from harness.sim.hazard import Kind
from harness.sim.memory import Memory
from harness.sim.sites import Site

if TYPE_CHECKING:
    from harness.sim.machine import Machine
    from harness.sim.queue import Context

NEVER_NS = 1 << 62
FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 of every kernel are opcode, instructions and their size."""


Result: TypeAlias = "tuple[tuple[int, int], Launch]"
"""Bytes that a launch wrote, and the launch."""


class Access:
    """Bytes `key` = (low, high) of a memory that a launch uses. writes: None where nobody knows.

    result: what a launch leaves in the memory's `fresh`.
    """

    __slots__ = ("argument", "key", "launch", "memory", "result", "writes")

    def __init__(
        self,
        launch: Launch,
        argument: int,
        memory: Memory,
        key: tuple[int, int],
        writes: bool | None,
    ):
        self.launch = launch
        self.argument = argument
        self.memory = memory
        self.key = key
        self.writes = writes
        self.result: tuple[Result, ...] = ((key, launch),)

    def overlaps(self, low: int, high: int) -> bool:
        """Whether it uses any of bytes `low` to `high`."""
        return self.key[0] < high and low < self.key[1]

    def turn_out_written(self) -> None:
        """The program showed that the argument is an output: the kernel's next runs are bound as such."""
        self.launch.outputs.add(self.argument)
        self.launch.bound = False


class Launch:
    """A run with the arguments it was bound to; serves every launch until one of them is set again.

    An execution reads its inputs from start to end and writes its output all the while: so the output is undefined
    until the end, and after it too if an input changed in between.

    visible_ns, final: when and as what its end can be seen. order: its place in the context's queue; it is in flight
    until the context's `retired` has reached that. site: the launch. unseen: launched, and the program has not looked
    at its end. bound: its arguments are still those of the run. polled_ns: when the program last looked in vain.
    outputs: arguments that the kernel is known to write. computing: does the kernel's arithmetic.

    For the sanitizer: accesses: of every bo among the arguments; `memories` and `code` are those of the data and of the
    instructions, `written` those that write, `result` that of the only one. watched: memories that are looked at again
    when its end is seen; none where it only takes its time, as that look would cost more than all the rest. problems:
    arguments that are wrong in themselves. suspect: its next launch needs a close look. spoilt: a hazard left its
    output undefined. unread: its output has not been synced; restaged: and yet an input has been. consumed: another
    run has used it.
    """

    __slots__ = (
        *(
            "accesses",
            "bound",
            "code",
            "computing",
            "consumed",
            "context",
            "exec_ns",
            "final",
            "in_list",
            "kernel",
        ),
        *(
            "machine",
            "memories",
            "order",
            "outputs",
            "polled_ns",
            "problems",
            "restaged",
            "result",
            "site",
            "spoilt",
        ),
        *(
            "suspect",
            "unread",
            "unseen",
            "visible_ns",
            "watched",
            "written",
            "_inputs",
            "_into",
            "_key",
            "_spec",
            "_taken",
        ),
    )

    def __init__(
        self, machine: Machine, context: Context, kernel: str, exec_ns: int, outputs: set[int]
    ) -> None:
        self.machine = machine
        self.context = context
        self.kernel = kernel
        self.exec_ns = exec_ns
        self.outputs = outputs
        self.accesses: list[Access] = []
        self.memories: list[Memory] = []
        self.watched: list[Memory] = []
        self.written: list[Access] = []
        self.result: tuple[Result, ...] | None = None
        self.code: Memory | None = None
        self.visible_ns = NEVER_NS
        self.final = ert_cmd_state.ERT_CMD_STATE_NEW
        self.order = 0
        self.polled_ns = -1
        self.site: Site | None = None
        self.problems: list[tuple[Kind, str, Site | None]] = []
        self.spoilt = self.unread = self.restaged = self.consumed = self.computing = False
        self.bound = self.unseen = self.in_list = False
        self.suspect = True

    def use(
        self, argument: int, memory: Memory, key: tuple[int, int], writes: bool | None
    ) -> Access:
        """Add the bytes of an argument."""
        access = Access(self, argument, memory, key, writes)
        self.accesses.append(access)
        memory.accesses.append(access)
        memory.writers += bool(writes)
        if argument >= FIRST_DATA_ARGUMENT:
            self.memories.append(memory)
        else:
            self.code, memory.mixed = memory, True
        if writes:
            self.written.append(access)
            self.result = access.result if len(self.written) == 1 else None
        return access

    def problem(self, kind: Kind, what: str, site: Site | None = None) -> None:
        """Note an argument that is wrong whatever other runs do; `site`: where it was set."""
        self.problems.append((kind, what, site))

    def access(self, memory: Memory, begin: int) -> Access:
        """Its use of byte `begin` of a memory."""
        return next(
            each
            for each in self.accesses
            if each.memory is memory and each.overlaps(begin, begin + 1)
        )

    def release(self) -> None:
        """Forget the bos: there will be no further launch. Breaks cycles: during a pass nobody collects them."""
        for access in self.accesses:
            memory = access.memory
            memory.accesses.remove(access)
            memory.writers -= bool(access.writes)
            if memory.last is self and not (memory.fresh or memory.mixed or self.in_flight):
                memory.last = None
        if not self.unread and not self.in_flight:
            self.accesses, self.memories, self.watched, self.written, self.result = (
                [],
                [],
                [],
                [],
                None,
            )

    @property
    def in_flight(self) -> bool:
        """Launched, and not yet known to the host to have ended."""
        return self.order > self.context.retired

    def loses_to(self, other: Launch) -> bool:
        """Whether a launch of `other` into its output loses a result, and is not just the same work again."""
        if self.consumed or self.final is not ert_cmd_state.ERT_CMD_STATE_COMPLETED:
            return False
        return self.restaged or [(a.memory, a.key) for a in self.accesses] != [
            (a.memory, a.key) for a in other.accesses
        ]

    def computes(self, spec: KernelSpec, inputs: list[Access], output: Access) -> None:
        """Have it do the kernel's arithmetic."""
        self.computing = True
        self._spec, self._into, self._key = spec, output.memory, output.key
        self._inputs = [
            np.frombuffer(
                each.memory.device, np.uint8, each.key[1] - each.key[0], each.key[0]
            ).reshape(1, -1)
            for each in inputs
        ]

    def begin(self) -> None:
        """At the start of an execution."""
        self._taken: list[Bytes] = [view.copy() for view in self._inputs]
        self._into.undefine(*self._key)

    def finish(self) -> None:
        """At the end of one that completes."""
        if self.spoilt:
            self._into.undefine(*self._key)
        elif all(map(np.array_equal, self._taken, self._inputs)):
            self._into.device[slice(*self._key)] = self._spec.compute(*self._taken).tobytes()

    def finish_corrupt(self) -> None:
        """At the end of one whose output has a bit flipped."""
        self.finish()
        self._into.device[self._key[0]] ^= 1
