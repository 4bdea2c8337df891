"""Random programs of the pyxrt API: correct ones have no hazard, and the others are caught.

`Oracle` judges from the rules alone whether each call of a program is legal; `Writer` writes
programs of legal calls; `Player` makes the calls. A program is a list of tuples, so that a test
can break it at random and judge it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from support.rig import COMPLETED, FROM_DEVICE, OPCODE, SPECS, TO_DEVICE, Rig

from harness.hazard import Hazard, Kind
from harness.kernel import KernelSpec
from harness.sim import pyxrt

pytestmark = pytest.mark.slow


LINE = 64
Call = tuple[Any, ...]
Verdict = set[Kind | None]
"""What a call does wrong; None among them: something of which the rules say nothing."""
UNCLEAR: Verdict = {None}


def data_of(seed: int, size: int) -> np.ndarray:
    return (np.arange(size) * (2 * seed + 7) + 31 * seed) % 163 + 1


# --- the rules ---


@dataclass(eq=False)
class Root:
    """One allocation: the host's bytes, the device's, the last common ones, and their versions.

    The host adds to a byte's version whenever it stages that byte.
    """

    host: np.ndarray
    device: np.ndarray
    agreed: np.ndarray
    versions: np.ndarray
    size: int
    results: list[Result] = field(default_factory=list)


@dataclass(eq=False)
class Use:
    """Bytes that a run in flight uses."""

    root: Root
    low: int
    high: int
    writes: bool

    def meets(self, root: Root, low: int, high: int) -> bool:
        return self.root is root and self.low < high and low < self.high


@dataclass(eq=False)
class Launch:
    """One launch. unsure: it was polled, so that it may have been seen to end or not."""

    column: int
    order: int
    uses: list[Use]
    unsure: bool = False


@dataclass(eq=False)
class Result:
    """An output that the program has not synced.

    left: its bytes. used: whether later runs use it, in part (1) or whole (2).
    """

    low: int
    high: int
    left: np.ndarray
    work: Any
    inputs: Any
    versions: Any
    flight: Launch
    used: int = 0

    @property
    def lost(self) -> Verdict:
        """What it is to lose it."""
        if self.used == 2 or not self.left.any():
            return set()
        return {Kind.NEVER_READ} if self.left.all() and not self.used else set(UNCLEAR)


@dataclass(eq=False)
class Run:
    """A run object: its arguments as (root, low, high), its latest launch, and if pending."""

    column: int
    bound: list[tuple[Root, int, int] | None]
    flight: Launch | None = None
    pending: bool = False
    in_list: bool = False


class Oracle:
    """What the program is known to have done, and whether it may do the next call."""

    def __init__(self) -> None:
        self.columns: list[tuple[KernelSpec, list[int]]] = []
        self.roots: dict[str, Root] = {}
        self.handles: dict[str, tuple[Root, int, int]] = {}
        self.runs: dict[str, Run] = {}
        self.lists: dict[str, tuple[list[str], int]] = {}
        self.busy: set[str] = set()
        self.flights: list[Launch] = []

    def judge(self, call: Call) -> Verdict:
        try:
            return getattr(self, f"judge_{call[0]}", lambda *_: set())(*call[1:])
        except (KeyError, IndexError):
            return set(UNCLEAR)

    def make(self, call: Call) -> Any:
        return getattr(self, f"make_{call[0]}", lambda *_: None)(*call[1:])

    # what is in flight

    def using(self, root: Root, low: int, high: int, writes: bool = False) -> list[Launch]:
        return [
            flight
            for flight in self.flights
            if any(use.meets(root, low, high) and (use.writes or not writes) for use in flight.uses)
        ]

    @staticmethod
    def against(flights: list[Launch], kind: Kind) -> Verdict:
        return {None if flight.unsure else kind for flight in flights}

    def span(self, handle: str, low: int, high: int) -> tuple[Root, int, int]:
        root, begin, _ = self.handles[handle]
        return root, begin + low, begin + high

    @staticmethod
    def lines(low: int, high: int) -> tuple[int, int]:
        return low // LINE * LINE, -(-high // LINE) * LINE

    @staticmethod
    def fresh(root: Root, low: int, high: int) -> list[Result]:
        return [
            result
            for result in root.results
            if result.left[max(0, low - result.low) : max(0, high - result.low)].any()
        ]

    # making things

    def make_column(self, kernel: str) -> None:
        self.columns.append((SPECS[kernel], [0, 0]))

    def make_bo(self, name: str, size: int) -> None:
        whole = -(-size // LINE) * LINE
        root = Root(*(np.zeros(whole, np.uint8) for _ in range(3)), np.zeros(whole, int), size)
        self.roots[name] = root
        self.handles[name] = root, 0, size

    def judge_window(self, name: str, of: str, size: int, offset: int) -> Verdict:
        return set() if of in self.handles else set(UNCLEAR)

    def make_window(self, name: str, of: str, size: int, offset: int) -> None:
        root, low, _ = self.handles[of]
        self.handles[name] = root, low + offset, low + offset + size

    def judge_run(self, name: str, column: int, handles: list[str]) -> Verdict:
        spec, _ = self.columns[column]
        for handle, buffer in zip(handles, (*spec.inputs, spec.output), strict=True):
            _, low, high = self.handles[handle]
            if high - low < buffer.size_bytes:
                return set(UNCLEAR)
        return set()

    def make_run(self, name: str, column: int, handles: list[str | None]) -> None:
        spec, _ = self.columns[column]
        sizes = [buffer.size_bytes for buffer in (*spec.inputs, spec.output)]
        bound: list[tuple[Root, int, int] | None] = []
        for handle, size in zip(handles, sizes, strict=True):
            root, low, _ = self.handles[handle]
            bound.append((root, low, low + size))
        self.runs[name] = Run(column, bound)

    def judge_set(self, name: str, index: int, handle: str) -> Verdict:
        run = self.runs[name]
        self.handles[handle]
        return self.against(
            [run.flight] if run.flight in self.flights else [], Kind.ARGUMENT_IN_FLIGHT
        )

    def make_set(self, name: str, index: int, handle: str) -> None:
        run = self.runs[name]
        root, low, _ = self.handles[handle]
        _, begin, end = run.bound[index]
        run.bound[index] = root, low, low + end - begin

    def judge_list(self, name: str, column: int, members: list[str]) -> Verdict:
        return (
            set()
            if all(not self.runs[each].pending and not self.runs[each].in_list for each in members)
            else UNCLEAR
        )

    def make_list(self, name: str, column: int, members: list[str]) -> None:
        self.lists[name] = members, column
        for each in members:
            self.runs[each].in_list = True

    # what the host does to bos

    def judge_write(self, handle: str, low: int, high: int, seed: int, how: str) -> Verdict:
        root, low, high = self.span(handle, low, high)
        changed = range(low, high)
        if how != "write":  # what changes nothing cannot be seen
            changed = low + np.flatnonzero(root.host[low:high] != data_of(seed, high - low))
            if not changed.size:
                return set()
            low, high = changed[0], changed[-1] + 1
        disturbed = [
            flight
            for flight in self.using(root, low, high)
            if any(use.meets(root, byte, byte + 1) for use in flight.uses for byte in changed)
        ]
        wrong = self.against(disturbed, Kind.WRITE_IN_FLIGHT)
        begin, end = self.lines(low, high)
        if not wrong and self.using(root, begin, end, writes=True):
            wrong |= UNCLEAR  # the line would be written back over the output
        if any(
            result.used != 2 or result.low < low or high < result.high
            for result in self.fresh(root, begin, end)
        ):
            wrong |= UNCLEAR
        return wrong

    def make_write(self, handle: str, low: int, high: int, seed: int, how: str) -> None:
        root, low, high = self.span(handle, low, high)
        root.host[low:high] = data_of(seed, high - low)

    def synced(self, handle: str, low: int, high: int, whole: bool) -> tuple[Root, int, int]:
        """The bytes of a sync; without size and offset it is of the whole bo."""
        return self.handles[handle] if whole else self.span(handle, low, high)

    def judge_sync(self, handle: str, to_device: bool, low: int, high: int, whole: bool) -> Verdict:
        root, low, high = self.synced(handle, low, high, whole)
        wrong = (
            self.against(self.using(root, low, high), Kind.WRITE_IN_FLIGHT)
            if to_device
            else self.against(self.using(root, low, high, writes=True), Kind.READ_BEFORE_COMPLETION)
        )
        begin, end = self.lines(low, high)
        for part in ((begin, low), (high, end)):
            if part[0] < part[1]:
                wrong |= self.against(self.using(root, *part, writes=True), Kind.MISALIGNED_SYNC)
        ended = [
            result for result in self.fresh(root, begin, end) if result.flight not in self.flights
        ]
        if to_device and any(result.used != 2 for result in ended):
            wrong |= UNCLEAR
        return wrong

    def make_sync(self, handle: str, to_device: bool, low: int, high: int, whole: bool) -> None:
        root, low, high = self.synced(handle, low, high, whole)
        begin, end = self.lines(low, high)
        for line in range(begin, end, LINE):
            at = slice(line, line + LINE)
            changed = root.host[at] != root.agreed[at]
            root.versions[at] += changed
            if changed.any():
                root.device[at] = root.host[at]
            root.host[at] = root.agreed[at] = root.device[at]
        for result in self.fresh(root, begin, end):
            if result.flight not in self.flights:
                result.left[max(0, begin - result.low) : max(0, end - result.low)] = False
        root.results = [result for result in root.results if result.left.any()]

    def judge_read(self, handle: str, low: int, high: int, how: str) -> Verdict:
        root, low, high = self.span(handle, low, high)
        running = self.using(root, low, high, writes=True)
        stale = [each for each in self.fresh(root, low, high) if each.flight not in running]
        changed = (root.host[low:high] != root.agreed[low:high]).any()
        if how == "map":  # looking makes no call, so nothing could be told
            return set(UNCLEAR) if running or stale else set()
        if running and stale:
            return set(UNCLEAR)
        wrong = self.against(running, Kind.READ_BEFORE_COMPLETION)
        return wrong | ({None if changed else Kind.STALE_READ} if stale else set())

    def make_read(self, handle: str, low: int, high: int, how: str) -> np.ndarray:
        root, low, high = self.span(handle, low, high)
        return root.host[low:high].copy()

    def judge_free(self, handle: str) -> Verdict:
        root, low, high = self.handles[handle]
        if sum(each[0] is root for each in self.handles.values()) > 1:
            return set(UNCLEAR) if self.using(root, low, high) else set()
        wrong = self.against(self.using(root, 0, root.size), Kind.FREED_IN_FLIGHT)
        for result in root.results:
            if result.flight not in self.flights:
                wrong |= set(UNCLEAR) if result.flight.unsure else result.lost
        return wrong

    def make_free(self, handle: str) -> None:
        root = self.handles.pop(handle)[0]
        if all(each[0] is not root for each in self.handles.values()):
            self.roots = {name: each for name, each in self.roots.items() if each is not root}

    # what runs do

    def judge_start(self, name: str) -> Verdict:
        run = self.runs[name]
        if run.pending or run.in_list:
            return set(UNCLEAR)
        return self._judge_launch([run])

    def make_start(self, name: str) -> None:
        self._launch(self.runs[name])

    def judge_call(self, name: str, column: int, handles: list[str]) -> Verdict:
        known = self.runs.get(name)
        if known and known.pending:
            return set(UNCLEAR)
        if self.judge_run(name, column, handles):
            return set(UNCLEAR)
        before = dict(self.runs)
        self.make_run(name, column, handles)
        wrong = self._judge_launch([self.runs[name]])
        self.runs = before
        return wrong

    def make_call(self, name: str, column: int, handles: list[str]) -> None:
        self.make_run(name, column, handles)
        self._launch(self.runs[name])

    def judge_execute(self, name: str) -> Verdict:
        members, _ = self.lists[name]
        if name in self.busy or any(self.runs[each].pending for each in members):
            return set(UNCLEAR)
        return self._judge_launch([self.runs[each] for each in members])

    def make_execute(self, name: str) -> None:
        self.busy.add(name)
        for each in self.lists[name][0]:
            self._launch(self.runs[each])

    def _uses(self, run: Run) -> list[Use]:
        last = len(run.bound) - 1
        return [Use(*bound, index == last) for index, bound in enumerate(run.bound)]

    def _judge_launch(self, runs: list[Run]) -> Verdict:
        wrong: Verdict = set()
        ahead = list(self.flights)
        used: list[Use] = []
        for run in runs:
            if any(
                all(root is not known for known in self.roots.values()) for root, _, _ in run.bound
            ):
                return set(UNCLEAR)  # freed
            uses = self._uses(run)
            *inputs, output = uses
            if any(output.meets(each.root, each.low, each.high) for each in inputs):
                return set(UNCLEAR)
            for use in uses:
                at = slice(use.low, use.high)
                if (use.root.host[at] != use.root.agreed[at]).any():
                    wrong.add(Kind.NOT_SYNCED)
            at = slice(*self.lines(output.low, output.high))
            if (
                Kind.NOT_SYNCED not in wrong
                and (output.root.host[at] != output.root.agreed[at]).any()
            ):
                wrong |= UNCLEAR
            for flight in ahead:
                for theirs in flight.uses:
                    for use in uses:
                        if not theirs.meets(use.root, use.low, use.high):
                            continue
                        other = flight.column != run.column
                        if use.writes and theirs.writes:
                            same = (use.low, use.high) == (theirs.low, theirs.high)
                            kinds = {Kind.SHARED_OUTPUT if same else Kind.OVERLAP}
                            kinds |= {Kind.UNORDERED} if other else set()
                        elif (use.writes or theirs.writes) and other:
                            kinds = {Kind.UNORDERED}
                        else:
                            continue
                        wrong |= UNCLEAR if flight.unsure else kinds
            for result in output.root.results:
                if result.flight in ahead or not (
                    result.low < output.high and output.low < result.high
                ):
                    continue
                if any(
                    each.root is output.root and each.low <= result.low and result.high <= each.high
                    for each in used
                ):
                    continue
                wrong |= self._loses(result, run, uses)
            used += inputs
            ahead.append(Launch(run.column, 0, uses))
        return wrong

    def _loses(self, result: Result, run: Run, uses: list[Use]) -> Verdict:
        """What a launch loses by overwriting an unread result; nothing if it repeats the work."""
        work, inputs, versions = self._work(run, uses)
        lost = result.lost
        if lost != {Kind.NEVER_READ}:
            return lost
        if result.flight.unsure:
            return set(UNCLEAR)
        if work == result.work and inputs == result.inputs and versions == result.versions:
            return set()
        if (
            result.work[0] == work[0]
            and (work != result.work or versions != result.versions)
            and inputs != result.inputs
        ):
            return {Kind.NEVER_READ}
        return set(UNCLEAR)

    def _work(self, run: Run, uses: list[Use]) -> tuple[Any, Any, Any]:
        return (
            (run.column, [(id(use.root), use.low, use.high) for use in uses]),
            [bytes(use.root.device[use.low : use.high]) for use in uses[:-1]],
            [bytes(use.root.versions[use.low : use.high]) for use in uses[:-1]],
        )

    def _launch(self, run: Run) -> None:
        spec, counts = self.columns[run.column]
        counts[0] += 1
        uses = self._uses(run)
        *inputs, output = uses
        run.flight, run.pending = Launch(run.column, counts[0], uses), True
        work = self._work(run, uses)
        for each in inputs:
            for result in each.root.results:
                if each.meets(each.root, result.low, result.high):
                    result.used = (
                        2
                        if each.low <= result.low and result.high <= each.high
                        else max(1, result.used)
                    )
        self.flights.append(run.flight)
        output.root.results = [
            result
            for result in output.root.results
            if not (result.low < output.high and output.low < result.high)
        ]
        left = np.ones(output.high - output.low, bool)
        output.root.results.append(Result(output.low, output.high, left, *work, run.flight))
        taken = [each.root.device[each.low : each.high].reshape(1, -1) for each in inputs]
        output.root.device[output.low : output.high] = spec.compute(*taken)[0]

    def judge_wait(self, name: str, how: str) -> Verdict:
        run = self.runs[name]
        return set(UNCLEAR) if run.in_list or not run.flight else set()

    def make_wait(self, name: str, how: str) -> None:
        run = self.runs[name]
        run.pending = False
        self._seen(run.flight)

    def _seen(self, flight: Launch) -> None:
        self.flights = [
            each
            for each in self.flights
            if each.column != flight.column or each.order > flight.order
        ]

    def judge_poll(self, name: str) -> Verdict:
        return self.judge_wait(name, "")

    def make_poll(self, name: str) -> None:
        flight = self.runs[name].flight
        for each in self.flights:
            if each.column == flight.column and each.order <= flight.order:
                each.unsure = True

    def judge_finish(self, name: str) -> Verdict:
        return set() if name in self.busy else set(UNCLEAR)

    def make_finish(self, name: str) -> None:
        self.busy.discard(name)
        for each in self.lists[name][0]:
            self.make_wait(each, "")

    def judge_drop(self, name: str) -> Verdict:
        run = self.runs[name]
        if run.in_list or (run.pending and run.flight not in self.flights):
            return set(UNCLEAR)
        return self.against([run.flight] if run.pending else [], Kind.RUN_DROPPED)

    def make_drop(self, name: str) -> None:
        del self.runs[name]

    def judge_end(self) -> Verdict:
        wrong: Verdict = set(UNCLEAR) if self.flights else set()
        for root in self.roots.values():
            for result in root.results:
                wrong |= result.lost
        return wrong


# --- programs ---


class Writer:
    """Writes a correct program by the choices that hypothesis draws."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.oracle = Oracle()
        self.calls: list[Call] = []
        self.names = 0

    def below(self, count: int) -> int:
        return self.draw(st.integers(0, count - 1))

    def of(self, choices: Any) -> Any:
        choices = list(choices)
        return choices[self.below(len(choices))]

    def chance(self, percent: int) -> bool:
        return self.below(100) >= 100 - percent

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    def can(self, *call: Any) -> bool:
        """Write the call, if it is legal."""
        if self.oracle.judge(call):
            return False
        self.oracle.make(call)
        self.calls.append(call)
        return True

    def program(self) -> list[Call]:
        for _ in range(1 + self.below(4)):
            assert self.can("column", self.of(SPECS))
        for _ in range(1 + self.below(4)):
            self.bos()
        for _ in range(1 + self.below(4)):
            self.new_run()
        steps = (
            (self.launch, 8),
            (self.collect, 6),
            (self.stage, 6),
            (self.wait, 3),
            (self.look, 2),
            (self.warm_up, 1),
            (self.new_run, 1),
            (self.new_list, 1),
            (self.call, 2),
            (self.rebind, 1),
            (self.free, 1),
            (self.drop, 1),
            (self.bos, 1),
        )
        steps = [step for step, weight in steps for _ in range(weight)]
        for _ in range(15 + self.below(40)):
            self.of(steps)()
        self.close()
        return self.calls

    def bos(self) -> None:
        """An allocation, and windows onto it."""
        if self.chance(30):
            self.can("bo", self.name("bo"), self.of((128, 256, 21, 42, 100)))
            return
        tiles, stride = 1 + self.below(4), self.of((128, 256, 64, 192, 128, 256, 136, 42, 21))
        size, name = self.of((128, 256, stride)), self.name("bo")
        assert self.can("bo", name, stride * (tiles - 1) + max(size, stride))
        for tile in range(tiles):
            assert self.can("window", self.name("bo"), name, size, tile * stride)
        if self.chance(10):
            self.can("free", name)

    def fitting(self, column: int) -> list[str] | None:
        """Bos for a run: chains where possible, so that some inputs are another run's output."""
        oracle, chosen = self.oracle, []
        spec, _ = oracle.columns[column]
        for buffer in (*spec.inputs, spec.output):
            fits = [
                handle
                for handle, (_, low, high) in oracle.handles.items()
                if high - low >= buffer.size_bytes
            ]
            if not fits:
                fits = [self.name("bo")]
                assert self.can("bo", fits[0], buffer.size_bytes)
            chosen.append(self.of(fits))
        return chosen

    def new_run(self) -> None:
        column = self.below(len(self.oracle.columns))
        self.can("run", self.name("run"), column, self.fitting(column))

    def new_list(self) -> None:
        column = self.below(len(self.oracle.columns))
        names = []
        for _ in range(1 + self.below(4)):
            handles = self.fitting(column)
            names.append(self.name("run"))
            assert self.can("run", names[-1], column, handles)
        self.can("list", self.name("list"), column, names)

    def launchable(self) -> list[Call]:
        oracle = self.oracle
        return [("start", name) for name, run in oracle.runs.items() if not run.in_list] + [
            ("execute", name) for name in oracle.lists
        ]

    def bound(self, call: Call) -> list[Run]:
        oracle = self.oracle
        names = [call[1]] if call[0] == "start" else oracle.lists[call[1]][0]
        return [oracle.runs[name] for name in names]

    def launch(self) -> Call | None:
        choices = self.launchable()
        if not choices:
            return None
        call = self.of(choices)
        if self.can(*call):
            return call
        for run in self.bound(
            call
        ):  # make way: what is dirty is synced, what is unread taken, what is in the way ends
            self.prepare(run)
        while not self.can(*call):
            if not self.wait():
                return None
            if self.chance(50):
                for run in self.bound(call):
                    self.prepare(run)
        return call

    def prepare(self, run: Run) -> None:
        for root, low, high in run.bound:
            for handle, (mine, begin, end) in list(self.oracle.handles.items()):
                if mine is root and begin < high and low < end:
                    if self.oracle.fresh(root, begin, end):
                        self.can("sync", handle, False, 0, end - begin, True)
                    if (root.host[low:high] != root.agreed[low:high]).any():
                        self.can("sync", handle, self.chance(80), 0, end - begin, True)

    def pending(self) -> list[Call]:
        oracle = self.oracle
        runs = [
            ("wait", name, "wait")
            for name, run in oracle.runs.items()
            if run.pending and not run.in_list
        ]
        return runs + [("finish", name) for name in oracle.lists if name in oracle.busy]

    def wait(self) -> Call | None:
        choices = self.pending()
        if not choices:
            return None
        call = self.of(choices)
        if call[0] == "wait":
            if self.chance(20):
                self.can("poll", call[1])
            call = (*call[:2], self.of(("wait", "timeout", "wait2", "poll")))
        assert self.can(*call)
        return call

    def collect(self) -> None:
        """Sync and check outputs of runs seen to end, through any bo, whole or in parts."""
        if self.chance(60):
            self.wait()
        oracle = self.oracle
        handles = [
            handle
            for handle, (root, low, high) in oracle.handles.items()
            if any(result.flight not in oracle.flights for result in oracle.fresh(root, low, high))
        ]
        if handles:
            self.take(self.of(handles))

    def take(self, handle: str) -> None:
        _, low, high = self.oracle.handles[handle]
        size = high - low
        if self.chance(60):
            parts = [(0, size, True)]
        else:
            cuts = sorted({0, size, *(self.below(size + 1) for _ in range(self.below(3)))})
            parts = [(*each, False) for each in pairwise(cuts)]
        for begin, end, whole in parts:
            self.can("sync", handle, False, begin, end, whole)
        if self.chance(90):
            self.can("read", handle, 0, size, self.of(("read", "map")))

    def stage(self) -> None:
        """Fill a bo, and sync all or some of it now, or leave that for later."""
        if not self.oracle.handles:
            return
        handle = self.of(self.oracle.handles)
        _, low, high = self.oracle.handles[handle]
        size = high - low
        begin, end = 0, size
        if self.chance(30):
            begin = self.below(size)
            end = begin + 1 + self.below(size - begin)
        if not self.can(
            "write", handle, begin, end, self.below(60), self.of(("write", "map", "view"))
        ):
            return
        how = self.below(10)
        if how < 6:
            self.can("sync", handle, True, 0, size, True)
        elif how < 8:
            middle = self.below(size + 1)
            for part in ((0, middle), (middle, size))[:: 1 if how == 6 else -1]:
                if part[0] < part[1]:
                    self.can("sync", handle, True, *part, False)
        elif how < 9:
            self.can("sync", handle, True, begin, end, False)

    def look(self) -> None:
        if self.oracle.handles:
            handle = self.of(self.oracle.handles)
            _, low, high = self.oracle.handles[handle]
            begin = self.below(high - low)
            self.can(
                "read",
                handle,
                begin,
                begin + 1 + self.below(high - low - begin),
                self.of(("read", "map")),
            )
            if self.chance(30):
                self.can("sync", handle, self.chance(50), 0, high - low, True)

    def warm_up(self) -> None:
        """Launch and wait again and again, without looking."""
        call = self.launch()
        while call:
            assert self.can(
                *({"start": ("wait", call[1], "wait"), "execute": ("finish", call[1])}[call[0]])
            )
            if self.chance(40) or not self.can(*call):
                return

    def call(self) -> None:
        column = self.below(len(self.oracle.columns))
        handles = self.fitting(column)
        name = self.name("run")
        if self.can("call", name, column, handles):
            return
        self.oracle.make_run(name, column, handles)
        self.prepare(self.oracle.runs.pop(name))
        self.can("call", name, column, handles)

    def rebind(self) -> None:
        if self.oracle.runs:
            name = self.of(self.oracle.runs)
            run = self.oracle.runs[name]
            index = self.below(len(run.bound))
            _, low, high = run.bound[index]
            fits = [
                each
                for each, (_, begin, end) in self.oracle.handles.items()
                if end - begin >= high - low
            ]
            if fits:
                self.can("set", name, index, self.of(fits))

    def free(self) -> None:
        if len(self.oracle.handles) > 3:
            self.can("free", self.of(self.oracle.handles))

    def drop(self) -> None:
        if len(self.oracle.runs) > 2:
            self.can("drop", self.of(self.oracle.runs))

    def close(self) -> None:
        """Let everything end, and take every output."""
        while self.pending():
            self.wait()
        for handle, (root, low, high) in list(self.oracle.handles.items()):
            if any(result.used != 2 for result in self.oracle.fresh(root, low, high)):
                self.take(handle)
        assume(self.can("end"))  # else an output was bound through a bo that is gone


class Player:
    """Makes the calls of a program on a simulated device."""

    def __init__(self, **profile: Any) -> None:
        self.rig = Rig(0, context_limit=6, **profile)
        self.columns = []
        self.bos: dict[str, pyxrt.bo] = {}
        self.views: dict[str, np.ndarray] = {}
        self.runs: dict[str, pyxrt.run] = {}
        self.lists: dict[str, pyxrt.runlist] = {}

    def make(self, call: Call) -> np.ndarray | None:
        return getattr(self, call[0])(*call[1:])

    def column(self, kernel: str) -> None:
        self.columns.append(self.rig.open(kernel))

    def bo(self, name: str, size: int) -> None:
        self.bos[name] = pyxrt.bo(
            self.rig.device, size, pyxrt.bo.host_only, self.columns[0].kernel.group_id(3)
        )

    def window(self, name: str, of: str, size: int, offset: int) -> None:
        self.bos[name] = pyxrt.bo(self.bos[of], size, offset)

    def run(self, name: str, column: int, handles: list[str]) -> None:
        self.runs[name] = self.rig.run(
            *(self.bos[handle] for handle in handles), column=self.columns[column]
        )

    def set(self, name: str, index: int, handle: str) -> None:
        self.runs[name].set_arg(3 + index, self.bos[handle])

    def list(self, name: str, column: int, members: list[str]) -> None:
        self.lists[name] = pyxrt.runlist(self.columns[column].context)
        for each in members:
            self.lists[name].add(self.runs[each])

    def write(self, handle: str, low: int, high: int, seed: int, how: str) -> None:
        data = data_of(seed, high - low).astype(np.uint8)
        if how == "write":
            self.bos[handle].write(data, low)
        elif how == "map":
            np.frombuffer(self.bos[handle].map(), np.uint8)[low:high] = data
        else:
            if handle not in self.views:
                self.views[handle] = np.frombuffer(self.bos[handle].map(), np.uint8)
            self.views[handle][low:high] = data

    def sync(self, handle: str, to_device: bool, low: int, high: int, whole: bool) -> None:
        direction = TO_DEVICE if to_device else FROM_DEVICE
        self.bos[handle].sync(direction, *(() if whole else (high - low, low)))

    def read(self, handle: str, low: int, high: int, how: str) -> np.ndarray:
        if how == "read":
            return self.bos[handle].read(high - low, low).view(np.uint8)
        return np.frombuffer(self.bos[handle].map(), np.uint8)[low:high].copy()

    def free(self, handle: str) -> None:
        self.views.pop(handle, None)
        del self.bos[handle]

    def start(self, name: str) -> None:
        self.runs[name].start()

    def call(self, name: str, column: int, handles: list[str]) -> None:
        opened = self.columns[column]
        bos = (self.bos[handle] for handle in handles)
        self.runs[name] = opened.kernel(OPCODE, opened.instructions, 16, *bos)

    def execute(self, name: str) -> None:
        self.lists[name].execute()

    def wait(self, name: str, how: str) -> None:
        run = self.runs[name]
        if how == "wait2":
            run.wait2()
        elif how == "timeout":
            assert run.wait(1000) is COMPLETED
        elif how == "poll":
            while run.state() is not COMPLETED:
                self.rig.machine.clock.now_ns += 50
        else:
            assert run.wait() is COMPLETED

    def poll(self, name: str) -> None:
        self.runs[name].state()

    def finish(self, name: str) -> None:
        self.lists[name].wait()

    def drop(self, name: str) -> None:
        del self.runs[name]

    def end(self) -> None:
        self.rig.end()

    def settle(self) -> None:
        """Wait for all that was launched, in that order."""
        for run in list(self.runs.values()):
            if run._launch.unseen and not run._launch.lists:
                run.wait()
        for runlist in self.lists.values():
            runlist.wait()


@st.composite
def programs(draw: Any) -> list[Call]:
    return Writer(draw).program()


PROFILES = st.fixed_dictionaries(
    {
        "queue_depth": st.integers(1, 4),
        "chain_length": st.integers(1, 4),
        "launch_ns": st.sampled_from([0, 20, 500]),
        "columns": st.integers(1, 4),
    }
)


def told(calls: list[Call], found: list[Hazard]) -> str:
    return "\n".join([*map(repr, calls), *map(str, found)])


def check_correct(calls: list[Call], profile: dict[str, Any]) -> tuple[int, int]:
    """Play a correct program: no hazard and right outputs; returns its launches and reads."""
    oracle, player = Oracle(), Player(**profile)
    launches = reads = 0
    for done, call in enumerate(calls):
        assert not oracle.judge(call)
        want, got = oracle.make(call), player.make(call)
        found = player.rig.take()
        assert not found, told(calls[: done + 1], found)
        if want is not None:
            assert (want == got).all(), told(calls[: done + 1], [])
            reads += 1
        launches += call[0] in ("start", "call", "execute")
    return launches, reads


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(programs(), PROFILES)
def test_a_correct_program_has_no_hazard(calls: list[Call], profile: dict[str, Any]) -> None:
    launches, reads = check_correct(calls, profile)
    event(f"{min(launches // 4 * 4, 12)} or more launches")
    event(f"{min(reads // 4 * 4, 12)} or more reads")


MUTABLE = "write", "sync", "wait", "finish", "poll", "read"
LAUNCHES = "start", "call", "execute"
TRIES = 12


def broken(draw: Any, calls: list[Call]) -> list[Call]:
    """A program with one call left out, moved, turned round, repeated, or thrown in."""

    def of(choices: Any) -> Any:
        choices = list(choices)
        assume(choices)
        return choices[draw(st.integers(0, len(choices) - 1))]

    calls = list(calls)
    how = of(
        (
            "drop",
            "move",
            "turn",
            "cut",
            "swap",
            "again",
            "free",
            "drop_run",
            "set",
            "host",
            "start",
            "end",
        )
    )
    runs = {call[1]: call for call in calls if call[0] in ("run", "call")}
    if how in ("drop", "move", "turn", "cut"):
        index = of(index for index, call in enumerate(calls) if call[0] in MUTABLE)
        call = calls.pop(index)
        if how == "move":
            calls.insert(of(range(max(0, index - 8), min(len(calls), index + 8) + 1)), call)
        elif call[0] == "sync" and how == "turn":
            calls.insert(index, ("sync", call[1], not call[2], *call[3:]))
        elif call[0] == "sync" and how == "cut":
            low, high = call[3:5]
            calls.insert(
                index,
                (*call[:3], *((low, low + 1) if draw(st.booleans()) else (high - 1, high)), False),
            )
        return calls
    index = of(index for index, call in enumerate(calls) if call[0] in LAUNCHES)
    launched = calls[index]
    if launched[0] == "execute":
        member = of(next(call for call in calls if call[0] == "list" and call[1] == launched[1])[3])
    else:
        member = launched[1]
    handle = of(runs[member][3])
    after = index + 1 + draw(st.integers(0, 2))
    if how == "swap":
        calls[index - 1 : index + 1] = calls[index], calls[index - 1]
    elif how == "again":
        calls.insert(after, of(call for call in calls if call[0] in MUTABLE))
    elif how == "free":
        calls.insert(after, ("free", handle))
    elif how == "drop_run":
        calls.insert(after, ("drop", member))
    elif how == "set":
        calls.insert(after, ("set", member, len(runs[member][3]) - 1, runs[member][3][-1]))
    elif how == "host":
        size = 16 + draw(st.integers(0, 5))
        whole = draw(st.booleans())
        calls.insert(
            after,
            of(
                (
                    ("write", handle, 0, size, 61, of(("write", "map", "view"))),
                    ("sync", handle, True, 0, size, whole),
                    ("sync", handle, False, 0, size, whole),
                    ("read", handle, 0, size, "read"),
                )
            ),
        )
    elif how == "start":
        _, _, column, handles = runs[member]
        columns = [call[1] for call in calls if call[0] == "column"]
        same = [each for each, kernel in enumerate(columns) if kernel == columns[column]]
        calls.insert(
            after,
            ("call", "extra", of(same), [*of(runs.values())[3][: len(handles) - 1], handles[-1]]),
        )
        assume(len(calls[after][3]) == len(handles))
    else:
        calls[after:] = [
            *({"execute": ("finish", launched[1])}.get(launched[0], ("wait", member, "wait")),),
            ("end",),
        ]
    return calls


def first_wrong(calls: list[Call]) -> tuple[int, Verdict] | None:
    """The first call that is not legal, and what is wrong with it."""
    oracle = Oracle()
    for index, call in enumerate(calls):
        if wrong := oracle.judge(call):
            return index, wrong
        oracle.make(call)
    return None


def check_broken(calls: list[Call], wrong: Verdict, profile: dict[str, Any]) -> None:
    """Play a program whose last call alone is `wrong`: that call, none earlier, has the hazard."""
    player = Player(**profile)
    for done, legal in enumerate(calls[:-1]):
        player.make(legal)
        early = player.rig.take()
        assert not early, told(calls[: done + 1], early)
    player.make(calls[-1])
    if player.rig.machine.aborted:
        GONE.append(player)
    else:
        player.settle()
    found = player.rig.take()
    assert found, f"{told(calls, [])}\nshould be {wrong}"
    assert {each.kind for each in found} <= wrong, told(calls, found)


GONE: list[Player] = []
"""Players whose process is gone: nothing of theirs is freed any more."""


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(st.data(), PROFILES)
def test_a_broken_program_has_its_hazard(data: Any, profile: dict[str, Any]) -> None:
    correct = data.draw(programs())
    assume(any(call[0] in LAUNCHES for call in correct))
    for _ in range(TRIES):
        calls = broken(data.draw, correct)
        where = first_wrong(calls)
        if where and None not in where[1]:
            break
    else:
        assume(False)
    wrong_at, wrong = where
    event(" or ".join(sorted(kind.value for kind in wrong)))
    check_broken(calls[: wrong_at + 1], wrong, profile)


# --- programs that once went otherwise ---

PLAIN = {"queue_depth": 1, "chain_length": 1, "launch_ns": 0, "columns": 1}


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(
            [
                ("column", "add"),
                ("bo", "operands", 256),
                ("bo", "middle", 256),
                ("bo", "sum", 128),
                ("run", "first", 0, ["operands", "middle"]),
                ("start", "first"),
                ("wait", "first", "wait"),
                ("call", "second", 0, ["middle", "sum"]),
                ("wait", "second", "wait"),
                ("write", "middle", 0, 256, 0, "write"),
                ("sync", "sum", False, 0, 128, True),
                ("sync", "middle", False, 0, 256, True),
                ("read", "middle", 0, 256, "read"),
                ("start", "first"),
                ("start", "second"),
                ("wait", "first", "wait"),
                ("wait", "second", "wait"),
                ("sync", "sum", False, 0, 128, False),
                ("read", "sum", 0, 128, "read"),
                ("end",),
            ],
            id="host_writes_over_what_a_run_has_used_and_syncs_it_either_way",
        ),
        pytest.param(
            [
                ("column", "odd"),
                ("bo", "operands", 128),
                ("bo", "sum", 256),
                ("write", "operands", 0, 128, 0, "write"),
                ("sync", "operands", True, 0, 128, True),
                ("run", "run", 0, ["operands", "sum"]),
                ("start", "run"),
                ("wait", "run", "wait"),
                ("sync", "sum", False, 0, 256, True),
                ("write", "sum", 0, 256, 0, "write"),
                ("sync", "sum", True, 0, 128, False),
                ("sync", "sum", True, 128, 256, False),
                ("start", "run"),
                ("wait", "run", "wait"),
                ("sync", "sum", False, 0, 256, True),
                ("read", "sum", 0, 256, "read"),
                ("end",),
            ],
            id="what_was_written_is_synced_in_two_parts",
        ),
        pytest.param(
            [
                ("column", "sub"),
                ("bo", "bo1", 256),
                ("bo", "bo2", 128),
                ("bo", "bo3", 128),
                ("write", "bo1", 0, 256, 0, "map"),
                ("sync", "bo1", True, 0, 256, True),
                ("run", "run4", 0, ["bo1", "bo2", "bo3"]),
                ("start", "run4"),
                ("write", "bo1", 128, 129, 0, "write"),
                ("write", "bo1", 0, 256, 0, "map"),
                ("wait", "run4", "wait"),
                ("sync", "bo3", False, 0, 128, True),
                ("end",),
            ],
            id="host_changes_only_what_is_beside_an_input_through_a_view_of_both",
        ),
    ],
)
def test_correct_programs_that_were_once_misjudged(calls: list[Call]) -> None:
    check_correct(calls, PLAIN)


@pytest.mark.parametrize(
    ("calls", "wrong"),
    [
        pytest.param(
            [
                ("column", "neg"),
                ("bo", "bo1", 272),
                ("window", "bo2", "bo1", 136, 0),
                ("window", "bo3", "bo1", 136, 136),
                ("run", "run4", 0, ["bo2", "bo3"]),
                ("start", "run4"),
                ("sync", "bo2", True, 0, 16, True),
            ],
            {Kind.WRITE_IN_FLIGHT, Kind.MISALIGNED_SYNC},
            id="whole_sync_reaches_the_line_of_the_output",
        ),
        pytest.param(
            [
                ("column", "neg"),
                ("bo", "bo1", 128),
                ("bo", "bo2", 128),
                ("run", "run3", 0, ["bo1", "bo2"]),
                ("start", "run3"),
                ("wait", "run3", "wait"),
                ("write", "bo1", 0, 128, 0, "write"),
                ("sync", "bo1", False, 0, 128, True),
                ("start", "run3"),
            ],
            {Kind.NEVER_READ},
            id="sync_from_the_device_stages_an_input_anew",
        ),
        pytest.param(
            [
                ("column", "odd"),
                ("bo", "bo1", 128),
                ("window", "bo2", "bo1", 64, 0),
                ("window", "bo3", "bo1", 64, 64),
                ("bo", "bo4", 21),
                ("run", "run5", 0, ["bo2", "bo4"]),
                ("start", "run5"),
                ("wait", "run5", "wait"),
                ("write", "bo2", 0, 64, 0, "write"),
                ("sync", "bo3", True, 0, 64, True),
                ("start", "run5"),
            ],
            {Kind.NOT_SYNCED},
            id="sync_of_other_lines_does_not_stage_an_input_anew",
        ),
        pytest.param(
            [
                ("column", "neg"),
                ("bo", "bo1", 128),
                ("bo", "bo2", 128),
                ("bo", "bo3", 128),
                ("run", "run4", 0, ["bo1", "bo2"]),
                ("run", "run5", 0, ["bo1", "bo3"]),
                ("start", "run4"),
                ("start", "run5"),
                ("wait", "run4", "wait"),
                ("wait", "run5", "wait"),
                ("sync", "bo3", False, 0, 128, True),
                ("write", "bo1", 0, 128, 0, "write"),
                ("sync", "bo1", True, 0, 128, True),
                ("start", "run4"),
            ],
            {Kind.NEVER_READ},
            id="input_of_two_runs_staged_anew_when_only_the_later_output_was_taken",
        ),
        pytest.param(
            [
                ("column", "neg"),
                ("column", "neg"),
                ("bo", "bo1", 128),
                ("bo", "bo2", 128),
                ("bo", "bo3", 128),
                ("run", "run4", 0, ["bo1", "bo2"]),
                ("run", "run5", 1, ["bo1", "bo3"]),
                ("start", "run4"),
                ("start", "run5"),
                ("wait", "run5", "wait"),
                ("drop", "run5"),
                ("sync", "bo1", True, 0, 128, True),
            ],
            {Kind.WRITE_IN_FLIGHT},
            id="sync_of_an_input_in_flight_after_another_of_its_runs_was_dropped",
        ),
        pytest.param(
            [
                ("column", "odd"),
                ("bo", "bo1", 384),
                ("window", "bo2", "bo1", 128, 128),
                ("window", "bo3", "bo1", 128, 256),
                ("run", "run4", 0, ["bo3", "bo2"]),
                ("run", "run5", 0, ["bo1", "bo3"]),
                ("write", "bo1", 0, 384, 0, "write"),
                ("sync", "bo1", True, 0, 384, True),
                ("start", "run4"),
                ("start", "run5"),
                ("wait", "run4", "wait"),
                ("wait", "run5", "wait"),
                ("write", "bo1", 42, 43, 0, "write"),
                ("sync", "bo1", True, 42, 43, False),
                ("start", "run4"),
            ],
            UNCLEAR,
            id="host_writes_beside_an_input_that_a_run_changes",
        ),
    ],
)
def test_broken_programs_that_were_once_misjudged(calls: list[Call], wrong: Verdict) -> None:
    assert first_wrong(calls) == (len(calls) - 1, wrong)
    if wrong != UNCLEAR:
        check_broken(calls, wrong, PLAIN)
