"""A simulated device with one kernel opened, as a short script of the pyxrt API has it."""

from __future__ import annotations

import numpy as np

from harness.config.device import Simulator
from harness.sim import pyxrt
from harness.sim.device import plug
from harness.sim.kernel_model import model_of
from harness.sim.machine import Machine
from support.small_device import ADD, COSTS

TO_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
FROM_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
STATE = pyxrt.ert_cmd_state


class Rig:
    """A device with one kernel opened, and helpers."""

    def __init__(self, **costs: object) -> None:
        self.machine = Machine(
            profile := Simulator(**{**COSTS, **costs}),
            {"add.xclbin": model_of(ADD, profile.exec_of("add"))},
        )
        plug(self.machine)
        self.device = pyxrt.device(0)
        self.uuid = self.device.register_xclbin(pyxrt.xclbin("add.xclbin"))
        self.context = pyxrt.hw_context(self.device, self.uuid)
        self.kernel = pyxrt.kernel(self.context, "add")
        self.instructions = pyxrt.bo(self.device, 16, pyxrt.bo.cacheable, self.kernel.group_id(1))

    def bo(self, size: int) -> pyxrt.bo:
        return pyxrt.bo(self.device, size, pyxrt.bo.host_only, self.kernel.group_id(3))

    def run(self, operands: pyxrt.bo, total: pyxrt.bo) -> pyxrt.run:
        run = pyxrt.run(self.kernel)
        for index, value in enumerate((3, self.instructions, 16, operands, total)):
            run.set_arg(index, value)
        return run


def fill(bo: pyxrt.bo, seed: int = 0) -> np.ndarray:
    view = np.frombuffer(bo.map(), np.int8)
    view[:] = np.random.default_rng(seed).integers(-128, 128, len(view), np.int8)
    return view
