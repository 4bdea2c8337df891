"""The sanitizer tracks which bytes of which bos the runs in flight use, and reports hazards.

A run is in flight from its launch until the program sees its end, by `wait()` or `state()` of this
run or of a later one on the same context, which executes in order. The clock does not matter: a
program whose result depends on timing is wrong even if the timing was good. Bytes that a hazard
leaves undefined are filled with `memory.UNDEFINED`.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING

from harness.hazard import Hazard, Kind
from harness.sim.enums import ert_cmd_state
from harness.sim.hazard_log import HazardLog
from harness.sim.memory import Memory, whole_lines
from harness.sim.sites import Site

if TYPE_CHECKING:
    from harness.sim.access import Access, Result
    from harness.sim.launch import Launch
    from harness.sim.machine import Machine

_COMPLETED = ert_cmd_state.ERT_CMD_STATE_COMPLETED


class Sanitizer:
    """Checks the calls of one machine; the simulated pyxrt calls it before a call takes effect.

    plug(machine := Machine(profile, models))  # with `profile.hazards` other than off
    ...  # a program that uses harness.sim.pyxrt
    for hazard in machine.sanitizer.take():
        print(hazard)  # the two calls, the bo, the bytes and the run
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.log = HazardLog(machine)
        self._report = self.log.report

    def take(self) -> list[Hazard]:
        """Return the hazards since the last call, in the order of their first occurrence."""
        return self.log.take()

    def on_launch(self, launch: Launch, frame: FrameType, now_ns: int) -> None:
        """A run is launched from `frame`: from here on its arguments are in use."""
        before, launch.site = launch.site, (frame.f_code, frame.f_lasti, now_ns)
        context, code = launch.context, launch.code
        context.submitted = launch.order = context.submitted + 1
        context.in_flight_launches.append(launch)
        if launch.suspect or (code is not None and code.host != code.device):
            self._check(launch, before)
        else:
            # A quick check, because every launch pays for it: no other run uses these bos, no
            # output is unread, and the host changed nothing since the last sync.
            for memory in launch.memories:
                changed = memory.host != (memory.sync_copy or memory.device)
                if changed or memory.last is not launch or memory.fresh:
                    self._check(launch, before)
                    break
        launch.unread = bool(launch.output_accesses)
        for access in launch.output_accesses:
            access.memory.fresh += access.result

    def _check(self, launch: Launch, before: Site | None) -> None:
        """Check a launch for every hazard; `before`: place of the run's previous launch."""
        launch.spoilt = False
        for kind, what, site in launch.problems:
            self.log.add(kind, launch, what, (0, 0), site, "run.set_arg")
            launch.spoil()
        for access in launch.accesses:
            memory = access.memory
            if memory.changed_by_host(*access.key):
                self._report(Kind.NOT_SYNCED, access, memory.write_site, "write")
                launch.spoil()
            if (last := memory.last) is not None:
                other = last is not launch and last.unread
                memory.mixed |= other or last.context is not launch.context
                if memory.writers:
                    self._conflicts(access)
            self._uses_results(access, before)
        # After the checks above, which need the launches before this one.
        for access in launch.accesses:
            access.memory.last = launch
        launch.restaged = launch.consumed = False
        # The quick check compares whole memories, so a launch on a part needs the slow one.
        whole = all(access.key == access.memory.key for access in launch.accesses)
        launch.suspect = launch.spoilt or not whole

    def on_end_seen(self, launch: Launch) -> None:
        """The program sees the end of a run, and so of all runs before it on its context."""
        context, in_flight_launches = launch.context, launch.context.in_flight_launches
        context.retired = max(context.retired, launch.order)
        while in_flight_launches and in_flight_launches[0].order <= launch.order:
            ended = in_flight_launches.popleft()
            for memory in ended.compared_memories:
                if memory.host != (memory.sync_copy or memory.device):
                    self._check_map_writes(ended)
            if ended.spoilt or ended.final is not _COMPLETED:
                self._undefine_failed(ended)

    def _check_map_writes(self, launch: Launch) -> None:
        """Check for writes in flight through a view of `map()`, which make no call."""
        for access in launch.accesses:
            if not launch.spoilt and access.memory.changed_by_host(*access.key):
                how = "write through map(), seen in "
                self._report(Kind.WRITE_IN_FLIGHT, access, launch.site, "launch", how)
                launch.spoil()

    def _undefine_failed(self, launch: Launch) -> None:
        """Undefine the output of a run that failed or is spoilt, and of the runs that use it."""
        launch.spoil()
        if launch.final is _COMPLETED:
            return
        for output in launch.output_accesses:
            for access in output.memory.accesses:
                user = access.launch
                reads = user.in_flight and user.order > launch.order and access.reads
                if reads and access.overlaps(*output.key):
                    how = "failure seen in "
                    self._report(Kind.FAILED_OUTPUT, access, launch.site, "launch", how)
                    user.spoil()

    def on_sync(
        self, memory: Memory, key: tuple[int, int], to_device: bool
    ) -> list[tuple[int, int]] | None:
        """Bytes `key` are about to be synced. Returns the ranges that the host will see wrongly.

        The call is not needed for a memory whose last run has ended and whose output was read,
        unless the memory is `mixed`.
        """
        wrong: list[tuple[int, int]] | None = None
        for access in memory.accesses:
            launch = access.launch
            if launch.in_flight:
                if self._sync_in_flight(access, *key, to_device):
                    shared = max(key[0], access.key[0]), min(key[1], access.key[1])
                    wrong = [*(wrong or []), shared]
            elif access.writes is None and not to_device:
                # A program syncs outputs back, not inputs: so this argument is an output.
                if launch.order:
                    access.mark_as_output()
            elif launch.unread and access.reads:
                begin, end = whole_lines(*key)
                if memory.changed_by_host(max(access.key[0], begin), min(access.key[1], end)):
                    launch.restaged = launch.suspect = True
        if memory.fresh and not wrong:
            wrong = self._take_results(memory, *key, to_device)
        return wrong

    def on_write(self, memory: Memory, low: int, high: int) -> None:
        """`bo.write()` is about to change the bytes `low` to `high`."""
        for access in memory.accesses:
            if access.launch.in_flight and access.overlaps(low, high):
                self._report(Kind.WRITE_IN_FLIGHT, access, access.launch.site, "launch")
                access.launch.spoil()

    def on_read(self, memory: Memory, low: int, high: int) -> bool:
        """`bo.read()` is about to read bytes `low` to `high`. Returns whether they are valid."""
        valid = True
        for (begin, end), launch in memory.fresh:
            if begin < high and low < end:
                kind = Kind.READ_BEFORE_COMPLETION if launch.in_flight else Kind.STALE_READ
                self._report(kind, launch.access(memory, begin), launch.site, "launch")
                valid = False
        return valid

    def on_free(self, memory: Memory) -> None:
        """The last bo of a memory is deleted."""
        if self._machine.aborted:
            return
        for access in memory.accesses:
            if access.launch.in_flight:
                self._report(Kind.FREED_IN_FLIGHT, access, access.launch.site, "launch", "free in ")
                access.launch.spoil()
        self._never_read(memory, "free in ")

    def on_exit(self, memories: list[Memory]) -> None:
        """The program has ended, and these memories still exist."""
        for memory in memories:
            self._never_read(memory, "end of the program, after ")

    def on_set_arg(self, launch: Launch, index: int) -> None:
        """An argument of a run is about to be set."""
        if launch.in_flight:
            what, site = f"argument {index}", launch.site
            self.log.add(Kind.ARGUMENT_IN_FLIGHT, launch, what, (0, 0), site, "launch")

    def on_drop(self, launch: Launch) -> None:
        """A run object is deleted while the run is in flight."""
        if launch.accesses:
            last = launch.accesses[-1]
            self._report(Kind.RUN_DROPPED, last, launch.site, "launch", "dropped in ")

    def _conflicts(self, access: Access) -> None:
        """Report other runs in flight that use the same bytes in a conflicting way."""
        launch = access.launch
        for other in access.memory.accesses:
            theirs = other.launch
            if (
                theirs is launch
                or theirs.order <= theirs.context.retired
                or not other.overlaps(*access.key)
            ):
                continue
            if kind := access.conflict(other):
                self._report(kind, access, theirs.site, "launch")
                launch.spoil()
                theirs.spoil()

    def _uses_results(self, access: Access, before: Site | None) -> None:
        """Check the unread outputs in the bytes that a launch uses; `before` as in `_check`."""
        memory, launch = access.memory, access.launch
        unread: list[Result] = []
        for key, theirs in memory.fresh:
            if not access.overlaps(*key):
                unread.append((key, theirs))
                continue
            site = before if theirs is launch else theirs.site
            has_ended = theirs is launch or not theirs.in_flight
            if access.reads:
                # What it also writes is not there any more.
                unread += [] if access.writes else [(key, theirs)]
                theirs.consumed = theirs.suspect = True
                if has_ended and theirs.final is not _COMPLETED:
                    self._report(Kind.FAILED_OUTPUT, access, site, "launch")
                    launch.spoil()
            elif has_ended and theirs.loses_to(launch):
                self._report(Kind.NEVER_READ, access, site, "launch")
        memory.fresh = tuple(unread)

    def _sync_in_flight(self, access: Access, low: int, high: int, to_device: bool) -> bool:
        """Check a sync of a memory that a run in flight uses.

        Returns whether the sync reads an output that is not complete.
        """
        memory, launch = access.memory, access.launch
        if access.overlaps(low, high):
            if not to_device and access.writes is not False:
                self._report(Kind.READ_BEFORE_COMPLETION, access, launch.site, "launch")
                return True
            if to_device or memory.changed_by_host(*access.key):
                self._report(Kind.WRITE_IN_FLIGHT, access, launch.site, "launch")
                launch.spoil()
            return False
        # The sync also moves the rest of its first and last cache line.
        first, last = whole_lines(low, high)
        for begin, end in ((first, low), (high, last)):
            touched = max(begin, access.key[0]), min(end, access.key[1])
            changes = access.writes is not False or memory.changed_by_host(*touched)
            if touched[0] < touched[1] and changes:
                self._report(Kind.MISALIGNED_SYNC, access, launch.site, "launch")
                launch.spoil()
        return False

    def _take_results(
        self, memory: Memory, low: int, high: int, to_device: bool
    ) -> list[tuple[int, int]]:
        """Remove the synced lines from the unread outputs, and return the outputs that are lost.

        An output is lost if the host wrote to its cache line: the sync writes that line back over
        the output.
        """
        lost: list[tuple[int, int]] = []
        low, high = whole_lines(low, high)
        left: list[Result] = []
        for (begin, end), launch in (before := memory.fresh):
            if launch.in_flight or begin >= high or low >= end:
                left.append(((begin, end), launch))
                continue
            access = launch.access(memory, begin)
            if launch.final is not _COMPLETED and not to_device:
                self._report(Kind.FAILED_OUTPUT, access, launch.site, "launch")
            elif launch.spoilt or (to_device and not access.loses_to_staging):
                # Already reported, or no attempt to read the output.
                pass
            elif memory.changed_by_host(*whole_lines(begin, end)):
                overwritten = memory.changed_by_host(begin, end)
                # The host may overwrite an output that another run has used.
                if not (overwritten and launch.consumed):
                    kind = Kind.NEVER_READ if overwritten else Kind.MISALIGNED_SYNC
                    self._report(kind, access, memory.write_site, "write")
                    if not to_device:
                        lost.append((max(begin, low), min(end, high)))
            # Parts of the output outside the synced lines stay unread.
            rest = [((begin, low), launch)] * (begin < low) + [((high, end), launch)] * (high < end)
            left += rest
        memory.fresh = tuple(left)
        for _, launch in before:
            launch.update_unread()
        return lost

    def _never_read(self, memory: Memory, how: str) -> None:
        """Report the outputs of a memory that were neither synced nor used."""
        for (begin, _), launch in memory.fresh:
            if not launch.in_flight and not launch.consumed and launch.final is _COMPLETED:
                access = launch.access(memory, begin)
                self._report(Kind.NEVER_READ, access, launch.site, "launch", how)
        memory.fresh = ()
