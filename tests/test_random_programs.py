"""Any program on the simulated pyxrt against the SimPy model of the machine: the same times and results."""

from __future__ import annotations

import gc
from typing import Any

from conftest import ADD
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy_programs import (
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

from harness.device import Faults, Hazards, PowerMode, Simulator
from harness.sim import pyxrt
from harness.sim.images import image_of
from harness.sim.machine import Machine
from harness.sim.platform import plug

MOST_BYTES = 1 << 22
CONTEXTS, RUNS, LISTS = 6, 3, 2
TO_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
FROM_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE


class Script:
    """Makes the calls of a program to the simulated pyxrt."""

    def __init__(self, profile: Simulator) -> None:
        self.machine = Machine(
            profile, {kernel: image_of(ADD, profile.exec_of(kernel), computes=False) for kernel in profile.exec_ns}
        )
        plug(self.machine)
        self.device = pyxrt.device(0)
        self.uuids = [self.device.register_xclbin(pyxrt.xclbin(kernel)) for kernel in profile.exec_ns]
        alloc_ns = self.machine.clock.now_ns
        self.scratch = pyxrt.bo(self.device, MOST_BYTES, pyxrt.bo.host_only, 0)
        self.machine.clock.now_ns = alloc_ns
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
        return Outcome(log, sorted(Span(*row) for row in self.machine.take_trace().tolist() if row[4] > row[3] or not row[0]))

    def make(self, call: Call) -> Any:
        op, target, amount = call
        _, context, _ = target
        if op == "open":
            self.contexts[context] = pyxrt.hw_context(self.device, self.uuids[context % len(self.uuids)])
            self.kernels[context] = pyxrt.kernel(self.contexts[context], ADD.name)
        elif op == "alloc":
            self.instructions[context] = pyxrt.bo(
                self.device, INSTRUCTION_BYTES, pyxrt.bo.cacheable, self.kernels[context].group_id(1)
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
    assert actual.spans == expected.spans


# Costs of the same size, so that whatever can overtake something else does.
small = st.integers(0, 5) | st.integers(0, 300) | st.sampled_from([0, 1, 10, 100, 200])
large = small | st.integers(0, 3 * NS_PER_MS) | st.sampled_from([NS_PER_MS // 2, NS_PER_MS, 2 * NS_PER_MS])
costs = small | large
numbers = st.lists(st.integers(0, 25), max_size=3)
faults = st.just(Faults()) | st.builds(
    Faults, hang=numbers, error=numbers, abort=numbers, slow=numbers, slow_factor=st.integers(1, 20),
    refuse_context=st.lists(st.integers(0, 6), max_size=2),
)
profiles = st.builds(
    Simulator,
    hazards=st.sampled_from([Hazards.off, Hazards.error]),
    power_mode=st.sampled_from(PowerMode),
    calibrated_mhz=st.sampled_from([847, 1000, 3]),
    clock_mhz=st.dictionaries(st.sampled_from([mode.value for mode in PowerMode]), st.integers(1, 2000)),
    columns=st.integers(1, 4),
    context_open_ns=costs,
    cold_start_ns=costs,
    alloc_ns=small,
    write_fixed_ns=small,
    read_fixed_ns=small,
    sync_ns_per_mib=st.sampled_from([0, 1, 11_700]) | st.integers(0, 1 << 21),
    launch_ns=costs,
    completion_ns=costs,
    chain_command_ns=costs,
    exec_ns=st.lists(costs, min_size=1, max_size=3).map(lambda each: {f"kernel{i}": ns for i, ns in enumerate(each)}),
    idle_suspend_ns=st.just(5_000_000_000) | costs,
    resume_ns=costs,
    watchdog_ns=st.just(2_000_000_000) | st.integers(1, 1000) | st.integers(1, 5 * NS_PER_MS),
    queue_depth=st.integers(1, 5),
    chain_length=st.integers(1, 5),
    faults=faults,
)
contexts, runs, lists = (st.integers(0, most - 1) for most in (CONTEXTS, RUNS, LISTS))
steps = st.one_of(
    st.builds(Step, st.just("start"), contexts, runs),
    st.builds(Step, st.just("execute"), contexts, lists, st.integers(1, 8)),
    st.builds(Step, st.just("wait"), contexts, runs, st.just(0) | st.integers(1, 4)),
    st.builds(Step, st.sampled_from(["wait2", "state"]), contexts, runs),
    st.builds(Step, st.just("list_wait"), contexts, lists),
    st.builds(Step, st.just("sync"), number=st.integers(0, 1), amount=st.integers(1, MOST_BYTES)),
    st.builds(Step, st.just("host"), amount=costs),
    st.builds(Step, st.sampled_from(["open", "open", "close"]), contexts),
)
programs = st.builds(
    lambda opened, rest: [Step("open", context) for context in range(opened)] + rest,
    st.integers(1, CONTEXTS),
    st.lists(steps, max_size=40),
)


@settings(max_examples=300, deadline=None)
@given(program=programs, profile=profiles)
def test_any_program_goes_as_the_model_says(program: list[Step], profile: Simulator) -> None:
    check(program, profile)
