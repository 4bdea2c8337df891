"""`pyxrt.runlist`."""

from __future__ import annotations

import sys
from typing import Any

from harness.sim.device import hw_context
from harness.sim.enums import ert_cmd_state
from harness.sim.pybind import PybindObject, incompatible, single
from harness.sim.run import DURATION
from harness.sim.run import run as _run
from harness.sim.sites import caller

_COMPLETED, _ABORT = ert_cmd_state.ERT_CMD_STATE_COMPLETED, ert_cmd_state.ERT_CMD_STATE_ABORT
_NEW = ert_cmd_state.ERT_CMD_STATE_NEW


class runlist(PybindObject):
    """Runs that are submitted together and executed in order, as chains of commands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ready = bool(args or kwargs)
        if not self._ready:
            return
        context = single(args, kwargs, "hwctx")
        if not isinstance(context, hw_context):
            raise incompatible(
                "__init__",
                ("pyxrt.runlist()", "pyxrt.runlist(hwctx: pyxrt.hw_context)"),
                args,
                kwargs,
            )
        self._hw_context = context
        self._machine = self._hw_context._machine
        self._context = self._hw_context._context
        self._runs: list[_run] = []
        self._executing = False

    def __del__(self) -> None:
        for member in self.__dict__.get("_runs", ()):
            member._launch.lists -= 1

    def add(self, run: _run) -> None:
        """Append a run, which can then no longer be started on its own."""
        if not isinstance(run, _run):
            raise incompatible(
                "add", ("(self: pyxrt.runlist, run: pyxrt.run) -> None",), (self, run)
            )
        if not self._ready:
            raise RuntimeError("cannot add run object to uninitialized runlist: Invalid argument")
        if self._executing:
            raise RuntimeError(
                "runlist must be idle before adding run objects, current state: running: "
                "Invalid argument"
            )
        run._launch.lists += 1
        self._runs.append(run)

    def execute(self) -> None:
        """Submit all runs, as commands of at most `chain_length` executions each."""
        if self._executing:
            raise RuntimeError(
                "runlist must be idle before submitting for execution, current state: running: "
                "Invalid argument"
            )
        machine, runs = self._machine, self._runs
        if not runs:
            return
        # Once for the whole list, which is what makes a batch cheap.
        machine.clock.now_ns += machine.profile.launch_ns
        machine.ioctl("EXEC_CMD")
        launches = [member._launch if member._launch.bound else member._bind() for member in runs]
        if machine.sanitizer:
            for launch in launches:
                machine.sanitizer.on_launch(launch, caller(sys._getframe(1)), machine.clock.now_ns)
        for launch in launches:
            launch.unseen, launch.member_state = True, _NEW
        self._executing = True
        length = machine.profile.chain_length
        for first in range(0, len(runs), length):
            self._context.submit(launches[first : first + length])

    def wait(self, *timeout: Any) -> None:
        """Wait until every run has ended; RuntimeError if one failed.

        The state of every run is then NEW, but for the failed one and those after it, which get the
        state ABORT.
        """
        if timeout:
            forms = (
                "(self: pyxrt.runlist) -> None",
                f"(self: pyxrt.runlist, timeout: {DURATION}) -> std::cv_status",
            )
            raise incompatible("wait", forms, (self, *timeout), hint=True)
        if not self._executing:
            # A null object crashes here.
            self._runs  # noqa: B018
            return
        launches = [member._launch for member in self._runs]
        self._machine.wait_until(max(launch.visible_ns for launch in launches))
        self._executing = False
        failed = [launch.final for launch in launches if launch.final is not _COMPLETED]
        if failed:
            first = next(i for i, launch in enumerate(launches) if launch.final is not _COMPLETED)
            launches[first].member_state = failed[0]
            for launch in launches[first + 1 :]:
                # XRT reports the runs behind the failed one as aborted, whatever they did.
                launch.final = launch.member_state = _ABORT
            # The packet of the first run of the chain, which holds that of the chain's failure.
            first -= first % self._machine.profile.chain_length
            self._runs[first]._spoil_arguments()
        for member in self._runs:
            member._see_end()
        if failed:
            raise RuntimeError(f"runlist failed execution ({failed[0]._name_})")
