"""A simulated device with a few kernels, as scripts of the pyxrt API find it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.config.device import Simulator
from harness.hazard import Hazard
from harness.kernel import Buffer, Direction, KernelSpec, Part
from harness.sim import pyxrt
from harness.sim.device import plug
from harness.sim.kernel_model import model_of
from harness.sim.machine import Machine
from support.small_device import ADD, COSTS

TO_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
FROM_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
STATE = pyxrt.ert_cmd_state
COMPLETED = STATE.ERT_CMD_STATE_COMPLETED
OPCODE = 3

NEG = replace(
    ADD,
    name="neg",
    arguments=(Buffer("operand", (Part("x", (8, 16)),)), *ADD.outputs),
    reference=lambda x: ~x,
)
"""128 B to 128 B: its input can be any kernel's output."""
SUB = replace(
    ADD,
    name="sub",
    arguments=(
        Buffer("left", (Part("left", (8, 16)),)),
        Buffer("right", (Part("right", (8, 16)),)),
        *ADD.outputs,
    ),
    reference=lambda left, right: left - right,
)
"""Two bos of 128 B to one."""
ODD = replace(
    ADD,
    name="odd",
    arguments=(
        Buffer("operands", (Part("left", (3, 7)), Part("right", (3, 7)))),
        Buffer("sum", (Part("sum", (3, 7)),), Direction.OUT),
    ),
)
"""42 B to 21 B: no whole cache lines."""
SPECS = {spec.name: spec for spec in (ADD, NEG, SUB, ODD)}


@dataclass
class Column:
    """One kernel opened on a context of its own, and its instructions."""

    context: pyxrt.hw_context
    kernel: pyxrt.kernel
    instructions: pyxrt.bo
    spec: KernelSpec


class Rig:
    """The device. `contexts`: how many are open, each with kernel ADD."""

    def __init__(self, contexts: int = 1, **profile: Any) -> None:
        exec_ns = {name: 100 + 10 * index for index, name in enumerate(SPECS)}
        simulator = Simulator(**{**COSTS, "exec_ns": exec_ns, **profile})
        images = {
            f"{name}.xclbin": model_of(spec, simulator.exec_of(name))
            for name, spec in SPECS.items()
        }
        self.machine = Machine(simulator, images)
        plug(self.machine)
        self.device = pyxrt.device(0)
        self.columns = [self.open("add") for _ in range(contexts)]

    def open(self, name: str) -> Column:
        context = pyxrt.hw_context(
            self.device, self.device.register_xclbin(pyxrt.xclbin(f"{name}.xclbin"))
        )
        kernel = pyxrt.kernel(context, name)
        instructions = pyxrt.bo(self.device, 16, pyxrt.bo.cacheable, kernel.group_id(1))
        instructions.write(bytes(range(16)), 0)
        instructions.sync(TO_DEVICE)
        return Column(context, kernel, instructions, SPECS[name])

    def bo(self, size: int) -> pyxrt.bo:
        return pyxrt.bo(self.device, size, pyxrt.bo.host_only, self.columns[0].kernel.group_id(3))

    def run(self, *bos: pyxrt.bo, column: int | Column = 0) -> pyxrt.run:
        column = self.columns[column] if isinstance(column, int) else column
        run = pyxrt.run(column.kernel)
        for index, value in enumerate((OPCODE, column.instructions, 16, *bos)):
            run.set_arg(index, value)
        return run

    def pair(self, seed: int = 0) -> tuple[pyxrt.bo, pyxrt.bo]:
        """A bo of operands, staged, and one for their sum."""
        return self.staged(256, seed), self.bo(128)

    def staged(self, size: int, seed: int = 0) -> pyxrt.bo:
        bo = self.bo(size)
        stage(bo, seed)
        return bo

    def end(self) -> None:
        """What the harness calls when the program is over."""
        if self.machine.sanitizer:
            self.machine.sanitizer.on_exit(list(self.machine.memories.values()))

    def take(self) -> list[Hazard]:
        return self.machine.sanitizer.take() if self.machine.sanitizer else []


def content(size: int, seed: int = 0) -> np.ndarray:
    """Bytes (size,) that differ by place and by seed, and are never zero or 0xA5."""
    return (np.arange(size) * 7 + 31 * seed) % 163 + 1


def stage(bo: pyxrt.bo, seed: int = 0) -> None:
    view_of(bo)[:] = content(bo.size(), seed)
    bo.sync(TO_DEVICE)


def view_of(bo: pyxrt.bo) -> np.ndarray:
    return np.frombuffer(bo.map(), np.uint8)


def total_of(seed: int) -> np.ndarray:
    """What ADD makes of operands staged with `seed`."""
    data = content(256, seed).astype(np.uint8)
    return data[:128] + data[128:]
