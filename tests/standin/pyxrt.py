"""Stands where XRT's pyxrt would: the simulator's API over a machine in real time.

STAND_IN in the environment is a JSON object, by which a test says what it wants:

`machine`: fields of `harness.config.device.Simulator`; `faults`: fields of its faults.
`without`: the names that this pyxrt lacks.
`locks`: the folder of the locks.
`answers`: texts of device.get_info by kind; the last one stays for good.
`refuse`: the number of the start that is refused; `exhausted`: of the bo that finds no memory.
`interrupt`: whether Ctrl-C comes while a runlist is waited for; `interrupt_at`: the state in which
it comes.
`marks`: states, each of which creates a file of its name beside the report.
`report`: the file for hazards, runs left in flight and the number of starts, written at the end.

States are `start N`, from 0, and `opening`, of a context.
"""

import atexit
import gc
import itertools
import json
import os
import signal
import time
from pathlib import Path

from harness.config.device import ClockKind, Faults, Simulator
from harness.device.host import locks
from harness.sim import device as platform
from harness.sim import pyxrt as simulated
from harness.sim.clock import WallClock
from harness.sim.machine import Machine
from harness.sim.pyxrt import *  # noqa: F403

EXEC_NS = {"attention": 300_000, "layernorm": 8_000, "matmul": 27_000, "gelu": 8_000}
COSTS = {
    **{"alloc_ns": 1_000, "write_fixed_ns": 2_000, "read_fixed_ns": 1_000, "launch_ns": 5_000},
    **{"completion_ns": 5_000, "exec_ns": EXEC_NS},
    "xclbins": {f"*{kernel}.xclbin": kernel for kernel in EXEC_NS},
}
wanted = json.loads(os.environ["STAND_IN"])
locks.FOLDER = Path(wanted["locks"])
machine = Machine(
    Simulator(
        **{
            **COSTS,
            "clock": ClockKind.wall,
            "faults": Faults(**wanted["faults"]),
            **wanted["machine"],
        }
    ),
    {},
    WallClock(time.perf_counter_ns, time.sleep),
)
platform.plug(machine)


starts = itertools.count()


def reach(state):
    if state in wanted["marks"]:
        Path(wanted["report"]).with_name(state).touch()
    if state == wanted["interrupt_at"]:
        os.kill(os.getpid(), signal.SIGINT)


def started():
    """Count a start; raises where the test wants it refused."""
    number = next(starts)
    reach(f"start {number}")
    if number == wanted["refuse"]:
        raise RuntimeError("DRM_IOCTL_AMDXDNA_EXEC_CMD IOCTL failed (err=-5): Input/output error")


class hw_context(simulated.hw_context):
    """Reports that it is being opened."""

    def __init__(self, *given, **named):
        reach("opening")
        super().__init__(*given, **named)


class run(simulated.run):
    """Ends the process when it is destroyed in flight, as XRT does, at the interpreter's end too.

    A start that the driver refuses leaves it in flight to XRT, which has noted the start before.
    """

    def start(self):
        super().start()
        started()

    def __del__(self, abort=os.abort):
        if "_launch" in self.__dict__ and self._launch.unseen:
            abort()


class runlist(simulated.runlist):
    """A list that the driver refuses in its second chunk needs a wait, too (xrt_kernel.cpp)."""

    def execute(self):
        super().execute()
        started()

    def wait(self):
        if wanted["interrupt"]:
            os.kill(os.getpid(), signal.SIGINT)  # by a user; XRT's wait does not notice it
        super().wait()


class bo(simulated.bo):
    """Finds no memory when the test wants it to."""

    def __init__(self, *given):
        if next(bos) == wanted["exhausted"]:
            raise MemoryError("std::bad_alloc")
        super().__init__(*given)


bos = itertools.count()


class device(simulated.device):
    """Answers what the test wants it to."""

    def get_info(self, key, /):
        answers = wanted["answers"].get(key.name)
        if not answers:
            return super().get_info(key)
        return answers.pop(0) if len(answers) > 1 else answers[0]


for name in wanted["without"]:
    del globals()[name]


@atexit.register
def report():
    found = [str(hazard) for hazard in machine.sanitizer.take()]
    left = sum(isinstance(each, run) and each._launch.unseen for each in gc.get_objects())
    told = {"hazards": found, "aborted": machine.aborted, "in_flight": left, "starts": next(starts)}
    Path(wanted["report"]).write_text(json.dumps(told))
