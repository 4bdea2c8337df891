"""A device with the attention kernel, simulated or real, through one and the same code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.config.device import Device, Hardware, Simulator
from harness.device.open import open_backend
from harness.device.xrt.open_kernel import kernel_of
from harness.device.xrt.session import OPCODE_TXN
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import FIRST_DATA_ARGUMENT, Bytes, load_kernel
from harness.units import NS_PER_S

SPEC = load_kernel("attention")
(INPUT,) = SPEC.inputs
OUTPUT = SPEC.output
IDLE_S = 6
"""The driver suspends a device after 5 s (amdxdna_pm.c)."""
RESUME_NS = 125_000_000


def simulator() -> Simulator:
    """Costs of the same order as the real ones: what tests see of time must hold for both."""
    return Simulator(
        launch_ns=69_000,
        completion_ns=60_000,
        exec_ns={SPEC.name: 1_910_000},
        resume_ns=RESUME_NS,
        alloc_ns=12_000,
    )


def hardware(kernels_dir: str) -> Hardware:
    return Hardware(kernels_dir=kernels_dir)


def make_tiles(count: int, seed: int = 0) -> Tiles:
    """Random tiles and, on demand, what they must give."""
    generator = np.random.default_rng(seed)
    return Tiles(
        Chain((SPEC,)),
        (generator.integers(0, 256, (count, INPUT.size_bytes), np.uint8),),
        audio_s=1.0,
        host_ns=0,
    )


@dataclass
class Opened:
    """The kernel on a context of its own, and its instructions."""

    context: Any
    kernel: Any
    instructions: Any


@dataclass
class Job:
    """A run, what must live as long (XRT does not see to that), and what its output must be."""

    opened: Opened
    run: Any
    source: Any
    target: Any
    expected: Bytes = field(init=False)
    launched: bool = False

    def start(self) -> None:
        self.run.start()
        self.launched = True


class Bench:
    """What tests do with a device, in calls of pyxrt."""

    def __init__(self, device: Device) -> None:
        self.world = open_backend(device, SPEC)
        self.simulated = isinstance(device, Simulator)
        if self.simulated:  # tests poll in loops of their own, in which no time would pass
            self.world.device._machine.looks_cost_time = True
        self.pyxrt: Any = self.world.pyxrt
        self.device: Any = self.world.device
        direction = self.pyxrt.xclBOSyncDirection
        self.to_device, self.from_device = (
            direction.XCL_BO_SYNC_BO_TO_DEVICE,
            direction.XCL_BO_SYNC_BO_FROM_DEVICE,
        )
        self.state: Any = self.pyxrt.ert_cmd_state
        path, self._instructions = self.world.find_files(SPEC)
        xclbin = self.pyxrt.xclbin(path)
        self._name = kernel_of(xclbin, path, SPEC)
        self._uuid = self.device.register_xclbin(xclbin)
        self._jobs: list[Job] = []

    def context(self) -> Any:
        return self.pyxrt.hw_context(self.device, self._uuid)

    def open(self) -> Opened:
        context = self.context()
        kernel = self.pyxrt.kernel(context, self._name)
        instructions = self.pyxrt.bo(
            self.device, self._instructions.nbytes, self.pyxrt.bo.cacheable, kernel.group_id(1)
        )
        instructions.write(self._instructions, 0)
        instructions.sync(self.to_device)
        return Opened(context, kernel, instructions)

    def bo(self, opened: Opened, size: int, argument: int = 0) -> Any:
        group = opened.kernel.group_id(FIRST_DATA_ARGUMENT + argument)
        return self.pyxrt.bo(self.device, size, self.pyxrt.bo.host_only, group)

    def bind(self, opened: Opened, source: Any, target: Any) -> Job:
        """A run on bos of the caller's."""
        run = self.pyxrt.run(opened.kernel)
        for index, value in enumerate(
            (OPCODE_TXN, opened.instructions, self._instructions.nbytes, source, target)
        ):
            run.set_arg(index, value)
        self._jobs.append(Job(opened, run, source, target))
        return self._jobs[-1]

    def job(self, opened: Opened, seed: int = 0) -> Job:
        """A staged run on bos of its own."""
        job = self.bind(
            opened, self.bo(opened, INPUT.size_bytes), self.bo(opened, OUTPUT.size_bytes, 1)
        )
        self.stage(job, seed)
        return job

    def stage(self, job: Job, seed: int) -> None:
        """A random tile to its input; the complement of the right answer to its output."""
        tiles = make_tiles(1, seed)
        job.expected = tiles.expect(0, 1)[0]
        job.source.write(np.frombuffer(tiles.batches(1)(0)[0], np.uint8), 0)
        job.target.write(~job.expected, 0)
        job.source.sync(self.to_device)
        job.target.sync(self.to_device)

    def output(self, job: Job) -> Bytes:
        """What the device wrote."""
        job.target.sync(self.from_device)
        return job.target.read(OUTPUT.size_bytes, 0).view(np.uint8)

    def check(self, *jobs: Job) -> None:
        """Every output is right."""
        for job in jobs:
            np.testing.assert_array_equal(self.output(job), job.expected)

    def execute(self, listed: Any, jobs: list[Job]) -> None:
        """Launch a runlist of those."""
        listed.execute()
        for job in jobs:
            job.launched = True

    def settle(self) -> None:
        """See every run end: a test that failed must not end the process with the run it drops."""
        for job in self._jobs:
            if job.launched:
                self.world.wait(job.run, NS_PER_S)
        self._jobs.clear()

    def idle(self) -> None:
        if self.simulated:
            self.world.clock.now_ns += IDLE_S * NS_PER_S
        else:
            time.sleep(IDLE_S)
