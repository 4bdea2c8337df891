"""Programs on a machine of several contexts, as SimPy processes.

This is an oracle for the simulated pyxrt and shares no code with it. A program is a list of steps,
plain data. `legal` makes of it the calls that a script could make; `simulate` makes them to a model
in which the host is one process and every column another. Time is whole nanoseconds.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import simpy

from harness.config.device import Simulator

MIB = 1 << 20
NS_PER_MS = 1_000_000
INPUT_BYTES, OUTPUT_BYTES, INSTRUCTION_BYTES = 256, 128, 16
HOST_LAST = 9
"""Priority of the host among what happens at one instant: it sees all that the columns do then."""

NEW, COMPLETED, ERROR, ABORT, TIMEOUT, RAISED = (
    "NEW",
    "COMPLETED",
    "ERROR",
    "ABORT",
    "TIMEOUT",
    "RuntimeError",
)

Events = Generator[simpy.Event, Any, Any]
Name = tuple[str, int, int]
"""'run' or 'list', context, number."""


class Step(NamedTuple):
    """One step of a program.

    open, close: context.
    start, wait, wait2, state: context, number of the run; `amount` of a wait: milliseconds, 0 is no
    limit.
    execute, list_wait, look: context, number of the list; `amount`: members it has if it is a new
    one, or the member to look at (of those it has, modulo that).
    sync: to (`number` 0) or from (1) the device, `amount` bytes.
    host: `amount` nanoseconds of the host's own work.
    """

    op: str
    context: int = 0
    number: int = 0
    amount: int = 0


class Call(NamedTuple):
    """A call of the API, or a few that belong together."""

    op: str
    target: Name = ("", 0, 0)
    amount: int = 0


class Logged(NamedTuple):
    """A call made. `result`: what it returned, or the name of its exception."""

    call: Call
    begin_ns: int
    end_ns: int
    result: Any = None


class Span(NamedTuple):
    """What a column did: an execution, or the resume and cold start before one."""

    is_load: bool
    context: int
    column: int
    start_ns: int
    end_ns: int


@dataclass
class Outcome:
    """What a program saw, and what the columns did."""

    log: list[Logged] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


def legal(program: list[Step]) -> Generator[Call, Logged, None]:
    """The calls of a program; each is answered by how it went.

    `legal` waits for a run or list that the script has not seen to end before it starts it again,
    before it closes its context, and at the end. It leaves out steps without sense: those of a
    context that is not open, a wait for what was not started, and a second look at the same
    instant at what is in flight.
    """
    contexts: set[int] = set()
    members: dict[Name, int] = {}
    flying: dict[Name, None] = {}
    looked_ns = -1

    def wait(name: Name, op: str = "wait", amount: int = 0) -> Generator[Call, Logged, None]:
        if name[0] == "list":
            yield Call("list_wait", name)
            yield Call("members", name, members[name])
        else:
            answer = yield Call(op, name, amount)
            waited_ns = answer.end_ns - answer.begin_ns
            if (
                op == "wait"
                and amount
                and answer.result in (TIMEOUT, RAISED)
                and waited_ns >= amount * NS_PER_MS
            ):
                return  # of the wait, or of the watchdog: only another look can tell
        flying.pop(name, None)

    def wait_all(context: int | None = None) -> Generator[Call, Logged, None]:
        for name in [name for name in flying if context in (None, name[1])]:
            yield from wait(name)

    for op, context, number, amount in program:
        name = ("list" if op in ("execute", "list_wait", "look") else "run", context, number)
        if op == "open":
            if context not in contexts:
                answer = yield Call("open", ("context", context, 0))
                if answer.result is None:
                    contexts.add(context)
                    yield Call("alloc", ("context", context, 0), 1)
        elif op == "sync":
            yield Call(("write", "read")[number], amount=amount)
        elif op == "host":
            yield Call("host", amount=amount)
        elif context not in contexts:
            continue
        elif op == "close":
            yield from wait_all(context)
            yield Call("close", ("context", context, 0))
            contexts.remove(context)
            members = {name: count for name, count in members.items() if name[1] != context}
        elif op in ("start", "execute"):
            if name in flying:
                yield from wait(name)
            if name not in members:
                members[name] = amount if op == "execute" else 1
                yield Call("prepare", name, members[name])
            yield Call(op, name, members[name])
            flying[name] = None
        elif name not in members or (name[0] == "list" and name not in flying):
            continue
        elif op in ("state", "look"):
            if looked_ns == (yield Call("now")).end_ns:
                continue
            answer = yield Call(op, name, amount % members[name])
            if answer.result == NEW:
                looked_ns = answer.end_ns
            elif op == "state":
                flying.pop(name, None)
        else:
            yield from wait(name, op, amount)
    yield from wait_all()


@dataclass
class Command:
    """A chain of executions, by their numbers, on its way through the queue of its context."""

    context: Context
    numbers: range
    ended: simpy.Event
    states: list[str] = field(default_factory=list)
    visible_ns: int = 0
    is_first: bool = False


@dataclass
class Context:
    """Where it executes, how long, and its commands that have not ended, the oldest first.

    serial: the number of its opening, from 1; refused ones count.
    """

    serial: int
    column: Column
    exec_ns: int
    cold: bool = True
    pending: list[Command] = field(default_factory=list)
    latest: Command | None = None


@dataclass
class Device:
    """What the columns share."""

    env: simpy.Environment
    profile: Simulator
    spans: list[Span]
    busy: int = 0
    idle_since_ns: int | None = None
    """None until something was executed."""

    def resume_ns(self) -> int:
        """What a command that begins now is preceded by because the whole device has slept."""
        if self.busy or self.idle_since_ns is None:
            return 0
        return (
            self.profile.resume_ns
            if self.env.now - self.idle_since_ns > self.profile.idle_suspend_ns
            else 0
        )


class Column:
    """Executes commands in the order they came, those of all its contexts alike."""

    def __init__(self, device: Device, index: int) -> None:
        self.contexts = 0
        self.queue = simpy.Store(device.env)
        self._index = index
        self._device = device
        self._loaded: Context | None = None
        device.env.process(self._work())

    def _work(self) -> Events:
        device, profile = self._device, self._device.profile
        while True:
            command = yield self.queue.get()
            if command.ended.triggered:
                continue
            context = command.context
            resume_ns = device.resume_ns()
            device.busy += 1
            turns = self._loaded not in (None, context)
            own_ns = profile.cold_start_ns if context.cold else turns * profile.switch_ns
            for load_ns in (resume_ns, own_ns):
                if load_ns:
                    yield from self._spend(context, load_ns, is_load=True)
            context.cold, self._loaded = False, context
            for number in command.numbers:
                state, factor = yield from self._execute(context, number, first=not command.states)
                command.states.append(state)
                if state != COMPLETED:
                    break
            device.busy -= 1
            device.idle_since_ns = device.env.now
            self._end(command, factor * profile.completion_ns)
            if state == TIMEOUT:
                context.cold = True
                for other in list(context.pending):
                    self._end(other, profile.completion_ns)

    def _execute(self, context: Context, number: int, first: bool) -> Events:
        profile, faults = self._device.profile, self._device.profile.faults
        factor = faults.slow_factor if number in faults.slow else 1
        takes_ns = factor * (context.exec_ns + (0 if first else profile.chain_command_ns))
        state = ERROR if number in faults.error else ABORT if number in faults.abort else COMPLETED
        if number in faults.hang or 0 < profile.watchdog_ns <= takes_ns:
            takes_ns, state = profile.watchdog_ns, TIMEOUT
        yield from self._spend(context, takes_ns, is_load=False)
        return state, factor

    def _spend(self, context: Context, takes_ns: int, is_load: bool) -> Events:
        start_ns = self._device.env.now
        yield self._device.env.timeout(takes_ns)
        self._device.spans.append(
            Span(is_load, context.serial, self._index, start_ns, self._device.env.now)
        )

    def _end(self, command: Command, completion_ns: int) -> None:
        command.context.pending.remove(command)
        command.states += [ABORT] * (len(command.numbers) - len(command.states))
        command.visible_ns = self._device.env.now + completion_ns
        command.ended.succeed()


class Host:
    """Makes the calls of a program, one after another, and notes how each went."""

    def __init__(self, device: Device, columns: list[Column], kernels_ns: list[int]) -> None:
        self.log: list[Logged] = []
        self._device = device
        self._env = device.env
        self._profile = device.profile
        self._columns = columns
        self._in_use: list[Column] = []
        self._kernels_ns = kernels_ns
        self._openings = self._submitted = 0
        self._contexts: dict[int, Context] = {}
        self._commands: dict[Name, list[Command]] = {}
        """What a run or list was last submitted as."""

    def work(self, program: list[Step]) -> Events:
        calls = legal(program)
        answer = None
        while True:
            try:
                call = calls.send(answer)
            except StopIteration:
                return
            begin_ns = self._env.now
            result = yield from getattr(self, f"_{call.op}")(call.target, call.amount)
            yield from self._pass(0)
            answer = Logged(call, begin_ns, self._env.now, result)
            self.log.append(answer)

    def _pass(self, takes_ns: int) -> Events:
        yield self._env.timeout(takes_ns)
        last = simpy.Event(self._env)
        last._ok, last._value = True, None
        self._env.schedule(last, priority=HOST_LAST)
        yield last

    def _now(self, _: Name, __: int) -> Events:
        yield from self._pass(0)

    def _host(self, _: Name, takes_ns: int) -> Events:
        yield from self._pass(takes_ns)

    def _write(self, _: Name, size_bytes: int) -> Events:
        yield from self._pass(self._profile.write_fixed_ns + self._moving_ns(size_bytes))

    def _read(self, _: Name, size_bytes: int) -> Events:
        yield from self._pass(self._profile.read_fixed_ns + self._moving_ns(size_bytes))

    def _moving_ns(self, size_bytes: int) -> int:
        return (2 * size_bytes * self._profile.sync_ns_per_mib + MIB) // (2 * MIB)

    def _alloc(self, _: Name, count: int) -> Events:
        yield from self._pass(count * self._profile.alloc_ns)

    def _prepare(self, name: Name, runs: int) -> Events:
        """Bos for so many runs, an input and an output for each, and the inputs written."""
        yield from self._alloc(name, 2 * runs)
        for _ in range(runs):
            yield from self._write(name, INPUT_BYTES)

    def _open(self, name: Name, _: int) -> Events:
        number, self._openings = self._openings, self._openings + 1
        profile = self._profile
        if number in profile.faults.refuse_context or len(self._contexts) == profile.context_limit:
            return RAISED
        column = self._place()
        column.contexts += 1
        exec_ns = self._kernels_ns[name[1] % len(self._kernels_ns)]
        self._contexts[name[1]] = Context(self._openings, column, exec_ns)
        yield from self._pass(profile.context_open_ns)

    def _place(self) -> Column:
        """The first free column, or that with the fewest contexts.

        Of several it is the one in use for longest, which is the lowest unless contexts are closed.
        xdna-driver's aie2_solver.c does the same.
        """
        self._in_use = [column for column in self._in_use if column.contexts]
        for column in self._columns:
            if not column.contexts:
                self._in_use.append(column)
                return column
        return min(self._in_use, key=lambda column: column.contexts)

    def _close(self, name: Name, _: int) -> Events:
        self._contexts.pop(name[1]).column.contexts -= 1
        yield from self._pass(0)

    def _start(self, name: Name, _: int) -> Events:
        yield from self._launch(name, 1)

    def _execute(self, name: Name, members: int) -> Events:
        yield from self._launch(name, members)

    def _launch(self, name: Name, members: int) -> Events:
        context = self._contexts[name[1]]
        commands = self._commands[name] = []
        yield from self._pass(self._profile.launch_ns)
        while members:
            if len(context.pending) >= self._profile.queue_depth:
                yield context.pending[0].ended
                yield from self._pass(0)
            length = min(members, self._profile.chain_length)
            numbers = range(self._submitted, self._submitted + length)
            command = Command(context, numbers, self._env.event())
            command.is_first, context.latest = context.latest is None, command
            commands.append(command)
            context.pending.append(command)
            context.column.queue.put(command)
            self._submitted += length
            members -= length
            yield from self._pass(0)

    def _until_visible(self, name: Name, until_ns: int | None = None) -> Events:
        yield from self._pass(0)
        commands = self._commands[name]
        for command in commands[:1]:
            seen = command.ended.triggered and command.visible_ns <= self._env.now
            if name[0] == "run" and command.is_first and not seen:
                # The kernel's timeline takes number 0 for the newest command.
                commands = [*commands, command.context.latest]
        for command in commands:
            if until_ns is None:
                yield command.ended
            else:
                yield command.ended | self._env.timeout(until_ns - self._env.now)
            yield from self._pass(0)
            seen_ns = command.visible_ns if command.ended.triggered else until_ns
            if until_ns is not None:
                seen_ns = min(seen_ns, until_ns)
            yield from self._pass(max(0, seen_ns - self._env.now))

    def _state(self, name: Name, _: int) -> Events:
        yield from self._pass(0)
        (command,) = self._commands[name]
        if not command.ended.triggered or command.visible_ns > self._env.now:
            return NEW
        return command.states[0]

    def _look(self, name: Name, member: int) -> Events:
        """State of a run in a list that has not been waited for: amdxdna does not change it."""
        yield from self._pass(0)
        return NEW

    def _wait(self, name: Name, most_ms: int) -> Events:
        yield from self._until_visible(
            name, self._env.now + most_ms * NS_PER_MS if most_ms else None
        )
        state = yield from self._state(name, 0)
        if state == NEW:
            return TIMEOUT if self._profile.timed_waits else RAISED
        return state

    def _wait2(self, name: Name, _: int) -> Events:
        state = yield from self._wait(name, 0)
        return None if state == COMPLETED else RAISED

    def _states(self, name: Name) -> list[str]:
        return [state for command in self._commands[name] for state in command.states]

    def _list_wait(self, name: Name, _: int) -> Events:
        yield from self._until_visible(name)
        return None if set(self._states(name)) == {COMPLETED} else RAISED

    def _members(self, name: Name, _: int) -> Events:
        """States of a list's runs: NEW up to one that failed, ABORT after it."""
        yield from self._pass(0)
        states = self._states(name)
        failed = next(
            (index for index, state in enumerate(states) if state != COMPLETED), len(states)
        )
        later = [ABORT] * len(states[failed + 1 :])
        return [NEW] * failed + states[failed : failed + 1] + later


def simulate(program: list[Step], profile: Simulator) -> Outcome:
    """What the program sees on a machine of that profile.

    Its kernels are those of `exec_ns`, one for each context in turn.
    """
    env = simpy.Environment(profile.device_open_ns)
    spans: list[Span] = []
    device = Device(env, profile, spans)
    columns = [Column(device, index) for index in range(profile.columns)]
    mhz = profile.clock_mhz.get(profile.power_mode.value, profile.calibrated_mhz)
    # Rounded half up: twice the time, and one more, over twice the clock.
    kernels_ns = [
        (2 * exec_ns * profile.calibrated_mhz + mhz) // (2 * mhz)
        for exec_ns in profile.exec_ns.values()
    ]
    host = Host(device, columns, kernels_ns)
    env.run(env.process(host.work(program)))
    return Outcome(host.log, sorted(spans))
