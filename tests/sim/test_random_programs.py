"""Any program on the simulated pyxrt, against the SimPy model: the same times and results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simpy_programs import (
    INSTRUCTION_BYTES,
    NS_PER_MS,
    RAISED,
    Call,
    Logged,
    Outcome,
    Span,
    Step,
    legal,
    simulate,
)
from support.small_device import ADD

from harness.config.device import Faults, Hazards, PowerMode, Simulator
from harness.sim import pyxrt
from harness.sim.device import plug
from harness.sim.kernel_model import model_of
from harness.sim.machine import Machine

pytestmark = pytest.mark.slow


MOST_BYTES = 1 << 22
RUNS, LISTS = 5, 2
TO_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
FROM_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE


class Script:
    """Makes the calls of a program to the simulated pyxrt."""

    def __init__(self, profile: Simulator) -> None:
        self.machine = Machine(
            profile,
            {
                kernel: model_of(ADD, profile.exec_of(kernel), computes=False)
                for kernel in profile.exec_ns
            },
        )
        plug(self.machine)
        self.device = pyxrt.device(0)
        self.uuids = [
            self.device.register_xclbin(pyxrt.xclbin(kernel)) for kernel in profile.exec_ns
        ]
        now_ns = self.machine.clock.now_ns
        self.scratch = pyxrt.bo(self.device, MOST_BYTES, pyxrt.bo.host_only, 0)
        self.machine.clock.now_ns = now_ns
        self.contexts: dict[int, Any] = {}
        self.kernels: dict[int, Any] = {}
        self.instructions: dict[int, Any] = {}
        self.objects: dict[Any, Any] = {}
        self.lists: dict[Any, Any] = {}

    def perform(self, program: list[Step]) -> Outcome:
        clock, log, calls, answer = self.machine.clock, [], legal(program), None
        while True:
            try:
                call = calls.send(answer)
            except StopIteration:
                break
            begin_ns = clock.now_ns
            try:
                result = self.make(call)
            except RuntimeError:
                result = RAISED
            answer = Logged(call, begin_ns, clock.now_ns, result)
            log.append(answer)
        spans = sorted(Span(*row) for row in self.machine.take_trace().tolist())
        # A resume that costs nothing is in the trace, a cold start that costs nothing is not.
        return Outcome(
            log, [span for span in spans if not span.is_load or span.start_ns < span.end_ns]
        )

    def make(self, call: Call) -> Any:
        op, target, amount = call
        _, context, _ = target
        if op == "open":
            self.contexts[context] = pyxrt.hw_context(
                self.device, self.uuids[context % len(self.uuids)]
            )
            self.kernels[context] = pyxrt.kernel(self.contexts[context], ADD.name)
        elif op == "alloc":
            self.instructions[context] = pyxrt.bo(
                self.device,
                INSTRUCTION_BYTES,
                pyxrt.bo.cacheable,
                self.kernels[context].group_id(1),
            )
        elif op == "close":
            for objects in (self.objects, self.lists):
                for name in [name for name in objects if name[1] == context]:
                    del objects[name]
            del self.instructions[context], self.kernels[context], self.contexts[context]
        elif op == "prepare":
            self.objects[target] = [self.run(context) for _ in range(amount)]
            if target[0] == "list":
                runlist = self.lists[target] = pyxrt.runlist(self.contexts[context])
                for run in self.objects[target]:
                    runlist.add(run)
        elif op == "host":
            self.machine.clock.now_ns += amount
        elif op == "write":
            self.scratch.sync(TO_DEVICE, amount, 0)
        elif op == "read":
            self.scratch.sync(FROM_DEVICE, amount, 0)
        elif op == "execute":
            self.lists[target].execute()
        elif op == "list_wait":
            self.lists[target].wait()
        elif op == "members":
            return [brief(run.state()) for run in self.objects[target]]
        elif op == "look":
            return brief(self.objects[target][amount].state())
        elif op != "now":
            (run,) = self.objects[target]
            if op == "start":
                run.start()
            elif op == "wait":
                return brief(run.wait(amount) if amount else run.wait())
            elif op == "wait2":
                run.wait2()
            elif op == "state":
                return brief(run.state())
            else:
                raise AssertionError(op)
        return None

    def run(self, context: int) -> Any:
        kernel = self.kernels[context]
        bos = [
            pyxrt.bo(self.device, buffer.size_bytes, pyxrt.bo.host_only, kernel.group_id(3 + index))
            for index, buffer in enumerate((*ADD.inputs, ADD.output))
        ]
        bos[0].sync(TO_DEVICE)
        run = pyxrt.run(kernel)
        for index, value in enumerate((3, self.instructions[context], INSTRUCTION_BYTES, *bos)):
            run.set_arg(index, value)
        return run


def brief(state: Any) -> str:
    return state.name.removeprefix("ERT_CMD_STATE_")


def check(program: list[Step], profile: Simulator) -> None:
    expected = simulate(program, profile)
    actual = Script(profile).perform(program)
    for number, (seen, should) in enumerate(zip(actual.log, expected.log, strict=False)):
        assert seen == should, f"call {number}: {seen} instead of {should}"
    assert actual.log == expected.log
    assert actual.spans == expected.spans, f"{actual.spans} instead of {expected.spans}"


# Many are of similar size and some equal: what can overtake something else does so, or meets it.
round_ns = st.sampled_from([0, 1, 10, 100, 200])
round_ms = st.sampled_from([NS_PER_MS // 2, NS_PER_MS, 2 * NS_PER_MS])
small = st.integers(0, 5) | st.integers(0, 300) | round_ns
large = small | st.integers(0, 3 * NS_PER_MS) | round_ms
costs = small | large
numbers = st.lists(st.integers(0, 25), max_size=3)
faults = st.just(Faults()) | st.builds(
    Faults,
    hang=numbers,
    error=numbers,
    abort=numbers,
    slow=numbers,
    slow_factor=st.integers(1, 20),
    refuse_context=st.lists(st.integers(0, 6), max_size=2),
)
profiles = st.builds(
    Simulator,
    hazards=st.sampled_from([Hazards.off, Hazards.error]),
    power_mode=st.sampled_from(PowerMode),
    calibrated_mhz=st.sampled_from([847, 1000, 3]),
    clock_mhz=st.just({})
    | st.dictionaries(st.sampled_from([mode.value for mode in PowerMode]), st.integers(1, 2000)),
    columns=st.sampled_from([1, 1, 2, 3, 4]),
    context_limit=st.just(6) | st.integers(1, 6),
    device_open_ns=st.integers(0, 5),
    context_open_ns=costs,
    cold_start_ns=costs,
    switch_ns=costs,
    alloc_ns=small,
    write_fixed_ns=small,
    read_fixed_ns=small,
    sync_ns_per_mib=st.sampled_from([0, 1, 11_700]) | st.integers(0, 1 << 21),
    launch_ns=costs,
    completion_ns=costs,
    chain_command_ns=costs,
    exec_ns=st.lists(large, min_size=1, max_size=3).map(
        lambda each: {f"kernel{i}": ns for i, ns in enumerate(each)}
    ),
    idle_suspend_ns=st.just(5_000_000_000) | costs,
    resume_ns=costs,
    watchdog_ns=st.just(2_000_000_000)
    | st.integers(1, 1000)
    | st.integers(1, 5 * NS_PER_MS)
    | large.filter(bool),
    timed_waits=st.booleans(),
    queue_depth=st.integers(1, 5),
    chain_length=st.integers(1, 5),
    faults=faults,
)
contexts = st.sampled_from([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5])
runs, lists = st.integers(0, RUNS - 1), st.integers(0, LISTS - 1)
starts = st.builds(Step, st.just("start"), contexts, runs)
executes = st.builds(Step, st.just("execute"), contexts, lists, st.integers(1, 8))
steps = st.one_of(
    starts,
    starts,
    executes,
    st.builds(Step, st.just("wait"), contexts, runs, st.just(0) | st.integers(1, 4)),
    st.builds(Step, st.sampled_from(["wait2", "state"]), contexts, runs),
    st.builds(Step, st.sampled_from(["list_wait", "look"]), contexts, lists, st.integers(0, 7)),
    st.builds(Step, st.just("sync"), number=st.integers(0, 1), amount=st.integers(1, MOST_BYTES)),
    st.builds(Step, st.just("host"), amount=costs),
    st.builds(Step, st.sampled_from(["open", "open", "close"]), contexts),
)
# A list of hypothesis's own is short: five steps.
parts = st.lists(
    st.lists(steps, max_size=12) | st.lists(starts | executes, max_size=12), max_size=10
)
OPEN = [Step("open", context) for context in range(6)]
programs = st.builds(
    lambda opened, rest: OPEN[:opened] + [step for part in rest for step in part],
    st.sampled_from([1, 1, 2, 2, 3, 4, 5, 6]),
    parts,
)


@settings(max_examples=300)
@given(program=programs, profile=profiles)
def test_any_program_goes_as_the_model_says(program: list[Step], profile: Simulator) -> None:
    check(program, profile)


PLAIN = Simulator(
    device_open_ns=1,
    columns=1,
    launch_ns=20,
    completion_ns=7,
    exec_ns={"add": 100},
    watchdog_ns=1000,
    hazards=Hazards.off,
)
HANG = Faults(hang=[0])


@pytest.mark.parametrize(
    ("program", "changes"),
    [
        pytest.param(
            [
                Step("open"),
                Step("start"),
                Step("start", 0, 1),
                Step("wait", 0, 1),
                Step("start", 0, 1),
            ],
            {"cold_start_ns": 50, "faults": HANG},
            id="aborted_command_loads_nothing",
        ),
        pytest.param(
            [Step("open"), Step("execute", 0, 0, 2), Step("list_wait"), Step("execute")],
            {"cold_start_ns": 50, "faults": HANG, "chain_length": 1},
            id="aborted_chain_loads_nothing",
        ),
        pytest.param(
            [*OPEN[:2], Step("start"), Step("start", 1), Step("start", 0, 1), Step("wait", 0, 1)],
            {"faults": HANG},
            id="aborted_command_does_not_wait_for_the_column",
        ),
        pytest.param(
            [
                Step("open"),
                Step("start"),
                Step("close"),
                Step("open"),
                Step("host", amount=1000),
                Step("start"),
            ],
            {"idle_suspend_ns": 500, "resume_ns": 30},
            id="resume_after_the_last_context_was_closed",
        ),
        pytest.param(
            [
                *OPEN[:2],
                Step("start"),
                Step("wait"),
                Step("host", amount=1000),
                Step("start", 1),
                Step("close", 1),
                Step("start"),
            ],
            {"columns": 2, "idle_suspend_ns": 500, "resume_ns": 30},
            id="no_resume_just_after_a_context_that_was_closed",
        ),
        pytest.param(
            [Step("open"), Step("execute", 0, 0, 1), Step("look")],
            {"launch_ns": 0, "completion_ns": 0, "exec_ns": {"add": 0}},
            id="look_at_a_run_of_a_list_that_has_ended",
        ),
        pytest.param(
            [Step("open"), Step("start"), Step("wait"), Step("start")],
            {
                "device_open_ns": 0,
                "launch_ns": 0,
                "exec_ns": {"add": 0},
                "idle_suspend_ns": 0,
                "resume_ns": 30,
            },
            id="resume_after_an_execution_that_ended_at_zero",
        ),
    ],
)
def test_programs_that_once_went_otherwise(program: list[Step], changes: dict[str, Any]) -> None:
    check(program, replace(PLAIN, **changes))
