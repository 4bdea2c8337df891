"""Programs on the simulated pyxrt with an inout bo, two outputs and a scalar: results, hazards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from support.rig import COMPLETED, FROM_DEVICE, OPCODE, TO_DEVICE
from support.small_device import COSTS

from harness.config.device import Faults, Simulator
from harness.hazard import Kind
from harness.kernel import Buffer, Direction, KernelSpec, Part, Scalar, Unused
from harness.sim import pyxrt
from harness.sim.device import plug
from harness.sim.kernel_model import MOST_SCALARS, model_of
from harness.sim.machine import Machine

SPEC = KernelSpec(
    "count",
    (
        Buffer("sum", (Part("sum", (64,), "uint8"),), Direction.INOUT),
        Unused(),
        Scalar("step", 1),
        Buffer("half", (Part("half", (64,), "uint8"),), Direction.OUT),
    ),
    reference=lambda total, step: ((total + np.int16(step)).astype(np.uint8), total // np.uint8(2)),
)
SUM, UNUSED, STEP, HALF = 3, 4, 5, 6


class Program:
    """A machine with two contexts of the kernel, and bos of 64 bytes."""

    def __init__(self, **profile: Any) -> None:
        simulator = Simulator(**{**COSTS, "exec_ns": {"count": 100}, **profile})
        self.machine = Machine(simulator, {"count.xclbin": model_of(SPEC, 100)})
        plug(self.machine)
        self.device = pyxrt.device(0)
        uuid = self.device.register_xclbin(pyxrt.xclbin("count.xclbin"))
        self.contexts = [pyxrt.hw_context(self.device, uuid) for _ in range(2)]
        self.kernels = [pyxrt.kernel(each, "count") for each in self.contexts]
        self.instructions = pyxrt.bo(
            self.device, 16, pyxrt.bo.cacheable, self.kernels[0].group_id(1)
        )
        self.instructions.sync(TO_DEVICE)
        self.total, self.half = self.bo(), self.bo()

    def bo(self) -> pyxrt.bo:
        group = self.kernels[0].group_id(SUM)
        return pyxrt.bo(self.device, 64, pyxrt.bo.host_only, group)

    def run(self, context: int = 0, **others: Any) -> pyxrt.run:
        """A run with all arguments set; `others` replaces them by index (`_5`), None: not set."""
        run = pyxrt.run(self.kernels[context])
        values = {0: OPCODE, 1: self.instructions, 2: 16, SUM: self.total, STEP: 1, HALF: self.half}
        for name, value in others.items():
            values[int(name[1:])] = value
        for index, value in values.items():
            if value is not None:
                run.set_arg(index, value)
        return run

    def stage(self, value: int) -> None:
        self.total.write(np.full(64, value, np.uint8), 0)
        self.total.sync(TO_DEVICE)

    def read(self, bo: pyxrt.bo) -> int:
        bo.sync(FROM_DEVICE)
        (value,) = set(np.frombuffer(bo.map(), np.uint8).tolist())
        return int(value)

    def kinds(self) -> list[Kind]:
        assert self.machine.sanitizer
        return [each.kind for each in self.machine.sanitizer.take()]


def complete(*runs: pyxrt.run) -> None:
    for run in runs:
        run.start()
    assert [run.wait() for run in runs] == [COMPLETED] * len(runs)


@pytest.fixture
def program() -> Program:
    return Program()


def test_an_inout_bo_is_read_and_written(program: Program) -> None:
    run = program.run()
    for value in (10, 10, 90):
        program.stage(value)
        complete(run)
        assert (program.read(program.total), program.read(program.half)) == (value + 1, value // 2)
    assert program.kinds() == []


def test_without_staging_a_launch_takes_its_own_output(program: Program) -> None:
    """As on hardware: an accumulator. Runs in flight on one context take over in order too."""
    run, later = program.run(), program.run()
    program.stage(10)
    for total in (11, 12):
        complete(run)
        assert (program.read(program.total), program.read(program.half)) == (
            total,
            (total - 1) // 2,
        )
    later.set_arg(HALF, other := program.bo())
    complete(run, later)
    assert (program.read(program.total), program.read(program.half)) == (14, 6)
    assert program.read(other) == 6
    assert program.kinds() == []


def test_equal_bytes_written_again_replace_the_output(program: Program) -> None:
    """A write makes the host's cache lines dirty, whatever the bytes are."""
    run = program.run(_6=None)
    run.set_arg(HALF, program.half)
    for _ in range(2):
        program.stage(10)
        complete(run)
        assert program.read(program.half) == 5
    assert program.read(program.total) == 11


def test_staging_over_an_unread_output_is_a_hazard(program: Program) -> None:
    run = program.run()
    program.stage(10)
    complete(run)
    program.read(program.half)
    program.stage(20)
    assert program.kinds() == [Kind.NEVER_READ]
    complete(run)
    assert program.read(program.total) == 21


def test_a_write_in_many_pieces_is_noted_as_one(program: Program) -> None:
    """Else every piece would make the next write and the sync longer."""
    complete(program.run())
    memory = program.total._range.memory
    assert memory.sync_copy is not None
    memory.rewritten = ()
    content = bytes(memory.size)
    for _ in range(2):
        for at in range(memory.size):
            program.total.write(content[at : at + 1], at)
    assert memory.rewritten == ((0, memory.size),)


def test_each_of_several_outputs_has_to_be_read(program: Program) -> None:
    run = program.run()
    program.stage(10)
    complete(run)
    program.read(program.total)
    program.stage(20)
    complete(run)
    assert program.kinds() == [Kind.NEVER_READ]


def test_a_write_during_the_execution_is_a_hazard(program: Program) -> None:
    run = program.run()
    program.stage(10)
    run.start()
    program.stage(20)
    run.wait()
    assert program.read(program.half) != 5
    assert program.kinds()[0] is Kind.WRITE_IN_FLIGHT


def test_contexts_do_not_take_over_from_each_other(program: Program) -> None:
    other = program.bo()
    first, second = program.run(), program.run(context=1, _6=other)
    program.stage(10)
    complete(first, second)
    assert Kind.UNORDERED in program.kinds()


def test_the_output_of_a_failed_run_is_no_input() -> None:
    program = Program(faults=Faults(error=[0]))
    run = program.run()
    program.stage(10)
    run.start()
    run.wait()
    run.start()
    run.wait()
    assert Kind.FAILED_OUTPUT in program.kinds()


@pytest.mark.parametrize(
    ("others", "kinds", "total"),
    [
        pytest.param({}, [], 11, id="declared"),
        pytest.param({"_5": 5}, [], 15, id="another number"),
        pytest.param({"_5": -1}, [], 9, id="a negative number"),
        pytest.param({"_4": 7}, [], 11, id="a number that is ignored"),
        pytest.param({"_5": None}, [Kind.UNSET_ARGUMENT], None, id="no number"),
        pytest.param({"_6": None}, [Kind.UNSET_ARGUMENT], None, id="no bo"),
        pytest.param({"_6": 3}, [Kind.UNSET_ARGUMENT], None, id="a number instead of a bo"),
    ],
)
def test_scalars_and_unset_arguments(
    program: Program, others: dict[str, Any], kinds: Sequence[Kind], total: int | None
) -> None:
    program.stage(10)
    complete(program.run(**others))
    assert program.kinds() == kinds
    if total is not None:
        assert program.read(program.total) == total


def test_values_of_a_scalar_that_changes_at_each_launch_are_not_all_stored() -> None:
    model = model_of(SPEC, 100)
    arithmetic = [model.arithmetic((step,)) for step in range(3 * MOST_SCALARS)]
    assert len(set(arithmetic)) == len(arithmetic), "each computes with its own value"
    assert len(model._arithmetic) <= MOST_SCALARS
    assert model.arithmetic((3 * MOST_SCALARS - 1,)) is arithmetic[-1]


def test_a_bo_that_the_kernel_ignores(program: Program) -> None:
    program.stage(10)
    complete(program.run(_4=(ignored := program.bo())))
    assert program.read(program.total) == 11
    assert program.kinds() == []
    del ignored


def test_a_bo_instead_of_a_number(program: Program) -> None:
    program.stage(10)
    with pytest.raises(RuntimeError, match=r"^No host side buffer in destination buffer: "):
        program.run(_5=program.half)
