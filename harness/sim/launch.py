"""A launch of a run: its arguments, the bytes it uses, its end, and its effect on memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.hazard import Kind
from harness.kernel import FIRST_DATA_ARGUMENT
from harness.sim.access import Access, Result
from harness.sim.arithmetic import Arithmetic
from harness.sim.enums import ert_cmd_state
from harness.sim.memory import Memory
from harness.sim.sites import Site

if TYPE_CHECKING:
    from harness.sim.kernel_model import KernelModel
    from harness.sim.machine import Machine
    from harness.sim.queue import Context

NEVER_NS = 1 << 62
"""A time after every other: the end of a run that hangs."""


class Launch:
    """A run with its arguments. One object serves every launch until an argument is set again.

    An execution may read its inputs and write its outputs at any time between its start and its
    end. So the outputs are undefined until the end, and stay undefined if an input changes before
    it. What it reads and writes is an input at the start, and an output from then on.

    machine, context, kernel, exec_ns: where it executes, what, and for how long
    alone_ns, moved_bytes: exec_ns without a limit of bandwidth, and the bytes that count for it
    outputs: indices of the arguments that the kernel writes, as far as known
    visible_ns, final: from when the host can see its end, and its final state
    order: number of the launch in its context; in flight until the context's `retired` reaches it
    site: place of the launch in the program
    unseen: launched, and the program has not seen its end
    bound: the arguments of the run have not changed since
    lists: number of runlists that the run was added to
    command: number of its command in the context, from 0
    member_state: what `state()` shows of a run that a runlist submitted; None for a run that was
        started itself. amdxdna writes the end of a runlist into the packet of its chain only
    spoilt_arguments: those that the failure of the run left in its packet as 0xff
    polled_ns: time of the last look that saw no end
    computing: an execution applies the kernel's arithmetic

    For the sanitizer:
    accesses: one per bo among the arguments
    memories, code: memories of the data, and of the instructions
    output_accesses: those that write
    result: the `result` of the output access, if there is only one
    compared_memories: memories that are compared again when the end is seen; none if the kernel
        does not compute, because the comparison would take longer than everything else
    problems: arguments that are wrong whatever other runs do
    suspect: the next launch needs the slow check
    spoilt: a hazard left the output undefined
    unread: an output has not been synced from the device
    restaged: an input has been synced while an output was unread
    consumed: another launch has used an output
    """

    __slots__ = (
        "_arithmetic",
        "_has_inout",
        "_input_bytes",
        "_inputs",
        "_started_bytes",
        "_written",
        "accesses",
        "alone_ns",
        "bound",
        "code",
        "command",
        "compared_memories",
        "computing",
        "consumed",
        "context",
        "exec_ns",
        "final",
        "kernel",
        "lists",
        "machine",
        "member_state",
        "memories",
        "moved_bytes",
        "order",
        "output_accesses",
        "outputs",
        "polled_ns",
        "problems",
        "restaged",
        "result",
        "site",
        "spoilt",
        "spoilt_arguments",
        "suspect",
        "unread",
        "unseen",
        "visible_ns",
    )

    def __init__(
        self, machine: Machine, context: Context, model: KernelModel, outputs: set[int]
    ) -> None:
        self.machine = machine
        self.context = context
        self.kernel = model.name
        self.exec_ns = self.alone_ns = model.exec_ns
        self.moved_bytes = model.moved_bytes
        self.outputs = outputs
        self.accesses: list[Access] = []
        self.memories: list[Memory] = []
        self.compared_memories: list[Memory] = []
        self.output_accesses: list[Access] = []
        self.result: tuple[Result, ...] | None = None
        self.code: Memory | None = None
        # Never started: no look may see an end.
        self.visible_ns = NEVER_NS
        self.final = ert_cmd_state.ERT_CMD_STATE_NEW
        self.order = 0
        self.polled_ns = -1
        self.site: Site | None = None
        self.problems: list[tuple[Kind, str, Site | None]] = []
        self.spoilt = self.unread = self.restaged = self.consumed = self.computing = False
        self.bound = self.unseen = False
        self.lists = self.command = 0
        self.member_state: ert_cmd_state | None = None
        self.spoilt_arguments: frozenset[int] = frozenset()
        self.suspect = True

    def use(
        self, argument: int, memory: Memory, key: tuple[int, int], writes: bool | None, reads: bool
    ) -> Access:
        """Add the bytes that an argument covers."""
        access = Access(self, argument, memory, key, writes, reads)
        self.accesses.append(access)
        memory.accesses.append(access)
        memory.writers += bool(writes)
        if argument >= FIRST_DATA_ARGUMENT:
            self.memories.append(memory)
        else:
            # All runs of a context share the instructions, so several of them may be in flight.
            self.code, memory.mixed = memory, True
        if writes:
            self.output_accesses.append(access)
            # The quick check of `bo.sync` compares with one result only.
            self.result = access.result if len(self.output_accesses) == 1 else None
        return access

    def problem(self, kind: Kind, what: str, site: Site | None = None) -> None:
        """Add an argument that is wrong whatever other runs do; `site`: where it was set."""
        self.problems.append((kind, what, site))

    def access(self, memory: Memory, begin: int) -> Access:
        """Return the access that covers byte `begin` of a memory."""
        own = (each for each in self.accesses if each.memory is memory)
        return next(each for each in own if each.overlaps(begin, begin + 1))

    def spoil(self) -> None:
        """Make its output undefined, now and when it ends."""
        self.spoilt = self.suspect = True
        for access in self.accesses:
            if access.writes:
                access.memory.undefine(*access.key)

    def release(self) -> None:
        """Drop the references to the bos, when there will be no further launch.

        This breaks reference cycles, which would stay: the garbage collector is off during a pass.
        """
        for access in self.accesses:
            memory = access.memory
            memory.accesses.remove(access)
            memory.writers -= bool(access.writes)
            if memory.last is self and not (memory.fresh or memory.mixed or self.in_flight):
                memory.last = None
        # A hazard that is reported later still needs them.
        if not self.unread and not self.in_flight:
            self.accesses, self.output_accesses, self.result = [], [], None
            self.memories, self.compared_memories = [], []

    def update_unread(self) -> None:
        """Set `unread` from what is left in the memories of the outputs."""
        fresh = (each for access in self.output_accesses for each in access.memory.fresh)
        self.unread = any(launch is self for _, launch in fresh)

    def wait_ends_ns(self) -> int:
        """Return when `run.wait()` returns; NEVER_NS for a run whose state stays NEW.

        The first command of a context has the number 0, which the kernel's timeline takes for the
        newest one: a wait for it ends with all that was submitted until then (dma-fence-chain.c).
        """
        if self.member_state is ert_cmd_state.ERT_CMD_STATE_NEW:
            return NEVER_NS
        if self.command or self.visible_ns <= self.machine.clock.now_ns:
            return self.visible_ns
        return max(self.visible_ns, self.context.last_visible_ns)

    @property
    def why_endless(self) -> str:
        """Why `wait_ends_ns` is NEVER_NS."""
        if self.member_state is ert_cmd_state.ERT_CMD_STATE_NEW:
            return "a run of a runlist stays NEW, as amdxdna does not change its state"
        if not self.unseen:
            return "the run was never started"
        return "a run hangs, and device.watchdog_ns=0"

    @property
    def in_flight(self) -> bool:
        """Whether it was launched, and the program has not seen its end."""
        return self.order > self.context.retired

    def loses_to(self, other: Launch) -> bool:
        """Return whether a launch of `other` that writes over this output loses a result.

        It does not if the output was used, or if `other` only repeats the same work.
        """
        if self.consumed or self.final is not ert_cmd_state.ERT_CMD_STATE_COMPLETED:
            return False
        ours = [(access.memory, access.key) for access in self.accesses]
        theirs = [(access.memory, access.key) for access in other.accesses]
        return self.restaged or ours != theirs

    def compute(self, arithmetic: Arithmetic | None, accesses: list[Access]) -> None:
        """Make executions compute; accesses: those of the spec's buffers, in order.

        Without arithmetic, executions change no memory.
        """
        if arithmetic is None:
            return
        self.computing, self._arithmetic = True, arithmetic
        # Without the accesses, which refer to this launch.
        self._written = [(each.memory, each.key) for each in accesses if each.writes]
        self._has_inout = any(each.writes and each.reads for each in accesses)
        # Views: an execution takes the bytes that the device has when it begins, not those of now.
        inputs = [each for each in accesses if each.reads]
        self._inputs = [memoryview(each.memory.device)[slice(*each.key)] for each in inputs]

    def begin(self) -> None:
        """Apply the start of an execution: from here on its outputs are undefined."""
        self._input_bytes = self._started_bytes = self._read_inputs()
        for memory, key in self._written:
            memory.undefine(*key)
        if self._has_inout:
            # To see at the end whether an input changed after the begin.
            self._started_bytes = self._read_inputs()

    def finish(self) -> None:
        """Apply the end of an execution that completes: write the outputs, if they are defined."""
        if self.spoilt:
            for memory, key in self._written:
                memory.undefine(*key)
        # Else an input changed during the execution, and the outputs stay undefined.
        elif self._read_inputs() == self._started_bytes:
            output, begin = self._arithmetic.output_of(self._input_bytes), 0
            for memory, (low, high) in self._written:
                memory.device[low:high] = output[begin : begin + high - low]
                begin += high - low
        # They may be large, and this launch may not be used again.
        self._input_bytes = self._started_bytes = ()

    def _read_inputs(self) -> tuple[bytes, ...]:
        return tuple(view.tobytes() for view in self._inputs)

    def finish_corrupt(self) -> None:
        """Apply the end of an execution with a fault: one bit of its first output is flipped.

        It is a high bit of the first element (of int4: the second), which changes the value by more
        than rounding does: a tolerance must not hide the fault.
        """
        self.finish()
        memory, (low, _) = self._written[0]
        memory.device[low + self._arithmetic.high_byte] ^= 0x40
