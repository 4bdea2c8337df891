"""The sanitizer: it watches which bytes of which bos the runs in flight use, and reports hazards.

A run is in flight from the call that launches it until the program sees its completion: by `wait()`
or `state()` of this run, or of a later one on the same context, which executes in order. The clock
does not matter: a program that is right by luck is wrong. Bytes that a hazard leaves undefined are
filled with `memory.UNDEFINED`.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING

from harness.sim.enums import ert_cmd_state
from harness.sim.hazard import Hazard, Kind
from harness.sim.hazard_log import HazardLog
from harness.sim.memory import Memory, whole_lines
from harness.sim.sites import Site

if TYPE_CHECKING:
    from harness.sim.launch import Access, Launch, Result
    from harness.sim.machine import Machine

_COMPLETED = ert_cmd_state.ERT_CMD_STATE_COMPLETED


class Sanitizer:
    """Watches one machine. The simulated pyxrt calls it before each call takes effect."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._log = HazardLog(machine)
        self._report = self._log.report

    def take(self) -> list[Hazard]:
        """The hazards since the last call, in the order of their first occurrence."""
        return self._log.take()

    def launched(self, launch: Launch, frame: FrameType, now_ns: int) -> None:
        """A run is started from `frame`: from here on its arguments are in use."""
        before, launch.site = launch.site, (frame.f_code, frame.f_lasti, now_ns)
        context, code = launch.context, launch.code
        context.submitted = launch.order = context.submitted + 1
        context.in_flight_launches.append(launch)
        if launch.suspect or (code is not None and code.host != code.device):
            self._look_closely(launch, before)
        else:
            # Quickly told, as every launch costs it: these bos are its own, and in order.
            for memory in launch.memories:
                if (
                    memory.last is not launch
                    or memory.fresh
                    or memory.host != (memory.agreed or memory.device)
                ):
                    self._look_closely(launch, before)
                    break
        launch.unread = bool(launch.written)
        for access in launch.written:
            access.memory.fresh += access.result

    def _look_closely(self, launch: Launch, before: Site | None) -> None:
        """Look for what is wrong with a launch; `before`: the one before it of the same run."""
        launch.spoilt = False
        for kind, what, site in launch.problems:
            self._log.add(kind, launch, what, (0, 0), site, "run.set_arg")
            self._spoil(launch)
        for access in launch.accesses:
            memory = access.memory
            if memory.changed_by_host(*access.key):
                self._report(Kind.NOT_SYNCED, access, memory.written, "write")
                self._spoil(launch)
            if (last := memory.last) is not None:
                memory.mixed |= last.context is not launch.context or (
                    last is not launch and last.unread
                )
                if memory.writers:
                    self._conflicts(access)
            self._uses_results(access, before)
        for access in launch.accesses:
            access.memory.last = launch
        launch.restaged = launch.consumed = False
        whole = all(access.key == access.memory.key for access in launch.accesses)
        launch.suspect = launch.spoilt or not whole

    def observed(self, launch: Launch) -> None:
        """The host has seen that a run has ended, and so have all before it on its context."""
        context, in_flight_launches = launch.context, launch.context.in_flight_launches
        context.retired = max(context.retired, launch.order)
        while in_flight_launches and in_flight_launches[0].order <= launch.order:
            ended = in_flight_launches.popleft()
            for memory in ended.watched:
                if memory.host != (memory.agreed or memory.device):
                    self._look_back(ended)
            if ended.spoilt or ended.final is not _COMPLETED:
                self._failed(ended)

    def _look_back(self, launch: Launch) -> None:
        """Look for bytes changed through `map()`, which makes no call, between a launch and the sight of its end."""
        for access in launch.accesses:
            if not launch.spoilt and access.memory.changed_by_host(*access.key):
                how = "write through map(), seen in "
                self._report(Kind.WRITE_IN_FLIGHT, access, launch.site, "launch", how)
                self._spoil(launch)

    def _failed(self, launch: Launch) -> None:
        """A run is seen to have ended with nothing to rely on: nor can those in flight that use its output."""
        self._spoil(launch)
        if launch.final is _COMPLETED:
            return
        for written in launch.written:
            for access in written.memory.accesses:
                user = access.launch
                if (
                    user.in_flight
                    and user.order > launch.order
                    and not access.writes
                    and access.overlaps(*written.key)
                ):
                    how = "failure seen in "
                    self._report(Kind.FAILED_OUTPUT, access, launch.site, "launch", how)
                    self._spoil(user)

    def syncing(
        self, memory: Memory, key: tuple[int, int], to_device: bool
    ) -> list[tuple[int, int]] | None:
        """A sync of bytes `key` is about to happen; returns what the host will not see rightly after it.

        It need not be told of a memory whose last user was seen to end and whose output was taken, unless that is
        `mixed`.
        """
        wrong: list[tuple[int, int]] | None = None
        for access in memory.accesses:
            launch = access.launch
            if launch.in_flight:
                if self._sync_in_flight(access, *key, to_device):
                    shared = max(key[0], access.key[0]), min(key[1], access.key[1])
                    wrong = [*(wrong or []), shared]
            elif access.writes is None and not to_device:
                if launch.order:
                    access.turn_out_written()  # nobody syncs inputs back
            elif launch.unread and not access.writes:
                begin, end = whole_lines(*key)
                if memory.changed_by_host(max(access.key[0], begin), min(access.key[1], end)):
                    launch.restaged = launch.suspect = True
        if memory.fresh and not wrong:
            wrong = self._take_results(memory, *key, to_device)
        return wrong

    def writing(self, memory: Memory, low: int, high: int) -> None:
        """`write()` of those bytes is about to happen."""
        for access in memory.accesses:
            if access.launch.in_flight and access.overlaps(low, high):
                self._report(Kind.WRITE_IN_FLIGHT, access, access.launch.site, "launch")
                self._spoil(access.launch)

    def reading(self, memory: Memory, low: int, high: int) -> bool:
        """Whether `read()` of those bytes gives what they are meant to hold."""
        right = True
        for (begin, end), launch in memory.fresh:
            if begin < high and low < end:
                kind = Kind.READ_BEFORE_COMPLETION if launch.in_flight else Kind.STALE_READ
                self._report(kind, launch.access(memory, begin), launch.site, "launch")
                right = False
        return right

    def freed(self, memory: Memory) -> None:
        """The last handle of a bo is gone."""
        if self._machine.aborted:
            return
        for access in memory.accesses:
            if access.launch.in_flight:
                self._report(Kind.FREED_IN_FLIGHT, access, access.launch.site, "launch", "free in ")
                self._spoil(access.launch)
        self._never_read(memory, "free in ")

    def ended(self, memories: list[Memory]) -> None:
        """The program is over."""
        for memory in memories:
            self._never_read(memory, "end of the program, after ")

    def argument_set(self, launch: Launch, index: int) -> None:
        """An argument of a run is set."""
        if launch.in_flight:
            self._log.add(
                Kind.ARGUMENT_IN_FLIGHT, launch, f"argument {index}", (0, 0), launch.site, "launch"
            )

    def dropped(self, launch: Launch) -> None:
        """A run object is gone while in flight."""
        if launch.accesses:
            last = launch.accesses[-1]
            self._report(Kind.RUN_DROPPED, last, launch.site, "launch", "dropped in ")

    def _conflicts(self, access: Access) -> None:
        """Other runs in flight that use the same bytes."""
        launch = access.launch
        for other in access.memory.accesses:
            theirs = other.launch
            if (
                theirs is launch
                or theirs.order <= theirs.context.retired
                or not other.overlaps(*access.key)
            ):
                continue
            if access.writes and other.writes:
                kind = Kind.SHARED_OUTPUT if other.key == access.key else Kind.OVERLAP
            elif (access.writes or other.writes) and theirs.context is not launch.context:
                kind = Kind.UNORDERED
            else:  # reads share, and one context executes in order
                continue
            self._report(kind, access, theirs.site, "launch")
            self._spoil(launch)
            self._spoil(theirs)

    def _uses_results(self, access: Access, before: Site | None) -> None:
        """Check the unread outputs among the bytes that a launch uses; `before` as in `_look_closely`."""
        memory, launch = access.memory, access.launch
        unread: list[Result] = []
        for key, theirs in memory.fresh:
            if not access.overlaps(*key):
                unread.append((key, theirs))
            elif not access.writes:
                unread.append((key, theirs))
                theirs.consumed = theirs.suspect = True
                if not theirs.in_flight and theirs.final is not _COMPLETED:
                    self._report(Kind.FAILED_OUTPUT, access, theirs.site, "launch")
                    self._spoil(launch)
            elif (theirs is launch or not theirs.in_flight) and theirs.loses_to(launch):
                site = before if theirs is launch else theirs.site
                self._report(Kind.NEVER_READ, access, site, "launch")
        memory.fresh = tuple(unread)

    def _sync_in_flight(self, access: Access, low: int, high: int, to_device: bool) -> bool:
        """Judge a sync of a memory that a run in flight uses; whether it reads what is not there yet."""
        memory, launch = access.memory, access.launch
        if access.overlaps(low, high):
            if not to_device and access.writes is not False:
                self._report(Kind.READ_BEFORE_COMPLETION, access, launch.site, "launch")
                return True
            if to_device or memory.changed_by_host(*access.key):
                self._report(Kind.WRITE_IN_FLIGHT, access, launch.site, "launch")
                self._spoil(launch)
            return False
        first, last = whole_lines(low, high)
        for begin, end in ((first, low), (high, last)):
            touched = max(begin, access.key[0]), min(end, access.key[1])
            changes = access.writes is not False or memory.changed_by_host(*touched)
            if touched[0] < touched[1] and changes:
                self._report(Kind.MISALIGNED_SYNC, access, launch.site, "launch")
                self._spoil(launch)
        return False

    def _take_results(
        self, memory: Memory, low: int, high: int, to_device: bool
    ) -> list[tuple[int, int]]:
        """Outputs among the lines synced have been taken, or what remains of them stays to be; returns those lost.

        A line that the host wrote to is written back over the output in it.
        """
        lost: list[tuple[int, int]] = []
        low, high = whole_lines(low, high)
        left: list[Result] = []
        for (begin, end), launch in memory.fresh:
            if launch.in_flight or begin >= high or low >= end:
                left.append(((begin, end), launch))
                continue
            if launch.final is not _COMPLETED and not to_device:
                self._report(
                    Kind.FAILED_OUTPUT, launch.access(memory, begin), launch.site, "launch"
                )
            elif launch.spoilt or to_device:
                pass
            elif memory.changed_by_host(*whole_lines(begin, end)):
                overwritten = memory.changed_by_host(begin, end)
                # The host may overwrite what another run has used.
                if not (overwritten and launch.consumed):
                    kind = Kind.NEVER_READ if overwritten else Kind.MISALIGNED_SYNC
                    self._report(kind, launch.access(memory, begin), memory.written, "write")
                    lost.append((max(begin, low), min(end, high)))
            rest = [((begin, low), launch)] * (begin < low) + [((high, end), launch)] * (high < end)
            launch.unread = bool(rest)
            left += rest
        memory.fresh = tuple(left)
        return lost

    def _never_read(self, memory: Memory, how: str) -> None:
        for (begin, _), launch in memory.fresh:
            if not launch.in_flight and not launch.consumed and launch.final is _COMPLETED:
                self._report(
                    Kind.NEVER_READ, launch.access(memory, begin), launch.site, "launch", how
                )
        memory.fresh = ()

    def _spoil(self, launch: Launch) -> None:
        """Leave nothing in its output to rely on, now or when it ends."""
        launch.spoilt = launch.suspect = True
        for access in launch.accesses:
            if access.writes:
                access.memory.undefine(*access.key)
