"""`pyxrt.kernel` and `pyxrt.run`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from harness.sim.argument import Argument, bo_argument
from harness.sim.bind import bind_arguments
from harness.sim.bo import bo
from harness.sim.clock import ProcessAborted
from harness.sim.device import device, hw_context
from harness.sim.enums import cu_access_mode, ert_cmd_state
from harness.sim.kernel_model import NO_BANK
from harness.sim.launch import NEVER_NS, Launch
from harness.sim.pybind import INT32, UINT32, PybindObject, as_text, incompatible, is_int, keywords
from harness.sim.sites import INSIDE, caller, here
from harness.sim.xclbin import uuid
from harness.units import NS_PER_MS

_NEW, _COMPLETED = ert_cmd_state.ERT_CMD_STATE_NEW, ert_cmd_state.ERT_CMD_STATE_COMPLETED
_ABORT, _TIMEOUT = ert_cmd_state.ERT_CMD_STATE_ABORT, ert_cmd_state.ERT_CMD_STATE_TIMEOUT
_KERNEL_FORMS = (
    "pyxrt.kernel(device: pyxrt.device, uuid: pyxrt.uuid, name: str, "
    "mode: pyxrt.kernel.cu_access_mode)",
    "pyxrt.kernel(device: pyxrt.device, uuid: pyxrt.uuid, name: str)",
    "pyxrt.kernel(hw_context: pyxrt.hw_context, name: str)",
)
_SET_ARG_FORMS = (
    "(self: pyxrt.run, arg0: int, arg1: xrt::bo) -> None",
    "(self: pyxrt.run, arg0: int, arg1: int) -> None",
)
_WAIT_FORMS = (
    "(self: pyxrt.run) -> pyxrt.ert_cmd_state",
    "(self: pyxrt.run, arg0: int) -> pyxrt.ert_cmd_state",
)
DURATION = "std::chrono::duration<long, std::ratio<1l, 1000l> >"


class kernel(PybindObject):
    """A kernel of a context's xclbin."""

    cu_access_mode = cu_access_mode
    exclusive, shared, none = cu_access_mode.exclusive, cu_access_mode.shared, cu_access_mode.none

    _hw_context: hw_context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        values = keywords(args, kwargs, ("hw_context", "name")) or ()
        older = keywords(args, kwargs, ("device", "uuid", "name", "mode")) or ()
        if len(older) in (3, 4) and all(
            map(isinstance, older, (device, uuid, str | bytes, cu_access_mode))
        ):
            warnings.warn(
                "kernel(device, uuid, name[, mode]) is deprecated; "
                "use kernel(hw_context, name) instead.",
                DeprecationWarning,
                stacklevel=2,
            )
            values = hw_context(*older[:2]), older[2]
        if len(values) != 2 or not isinstance(values[0], hw_context) or as_text(values[1]) is None:
            raise incompatible("__init__", _KERNEL_FORMS, args, kwargs)
        self._hw_context, name = values[0], as_text(values[1])
        self._machine = self._hw_context._machine
        models = self._hw_context._xclbin._models
        matches = [model for model in models if model.name == name or model.any_name]
        if not matches:
            raise RuntimeError(f"No such kernel '{name}'")
        self._model = matches[0]
        # It grows if the spec is unknown: `Access.mark_as_output`.
        self._outputs = {i for i, each in self._model.buffers.items() if each.is_output}

    def group_id(self, index: int, /) -> int:
        """Return the memory bank of an argument, with the context's slot in the bits from 16 on.

        65535 for a scalar, which has no bank.
        """
        if not is_int(index, INT32):
            raise incompatible(
                "group_id", ("(self: pyxrt.kernel, arg0: int) -> int",), (self, index)
            )
        banks = self._model.banks
        if not 0 <= index < len(banks):
            raise IndexError(
                f"vector::_M_range_check: __n (which is {index}) >= this->size() "
                f"(which is {len(banks)})"
            )
        bank = banks[index]
        return bank if bank == NO_BANK else bank | self._hw_context._context.slot << 16

    def __call__(self, *arguments: Any) -> run:
        """Create and start a run with these arguments.

        As in pyxrt, an argument that cannot be set is skipped without an error.
        """
        new = run(self)
        for index, value in enumerate(arguments):
            try:
                new.set_arg(index, value)
            # pyxrt ignores every exception here (pyxrt.cpp, kernel.__call__).
            except Exception:
                continue
        new.start()
        return new


class run(PybindObject):
    """One prepared execution of a kernel: set its arguments once, start it many times."""

    def __init__(self, *args: kernel) -> None:
        if not args:
            return
        if len(args) > 1 or not isinstance(args[0], kernel):
            raise incompatible("__init__", ("pyxrt.run()", "pyxrt.run(arg0: xrt::kernel)"), args)
        (self._kernel,) = args
        self._machine = self._kernel._machine
        self._arguments: list[Argument | None] = [None] * len(self._kernel._model.banks)
        self._launch = self._new_launch()

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if "_launch" not in self.__dict__ or finalizing():
            return
        machine = self._machine
        # XRT's destructor of a run that is in flight ends the process.
        if self._launch.unseen and not machine.aborted:
            if machine.sanitizer:
                machine.sanitizer.on_drop(self._launch)
            machine.abort(
                "a run was dropped before its completion was seen: "
                "XRT would abort the process (SIGABRT)"
            )
        self._launch.release()

    def set_arg(self, index: int, value: Any, /) -> None:
        """Set argument `index` to a bo, or to an integer of 32 bits."""
        is_bo = isinstance(value, bo)
        if not is_int(index, INT32) or not (is_bo or is_int(value, INT32)):
            raise incompatible("set_arg", _SET_ARG_FORMS, (self, index, value))
        machine, arguments = self._machine, self._arguments
        if not 0 <= index < len(arguments):
            # XRT does not check the index when it looks up the bank of a bo.
            if is_bo:
                machine.abort(
                    f"a bo for argument {index} of {len(arguments)}: XRT would crash (SIGSEGV)"
                )
                raise ProcessAborted(machine.aborted)
            raise RuntimeError(f"Bad argument index '{index}'")
        if self._launch.unseen and machine.sanitizer:
            machine.sanitizer.on_set_arg(self._launch, index)
        site = here(machine.clock.now_ns)
        bank = self._kernel._model.banks[index]
        if not is_bo:
            arguments[index] = Argument(None, (0, 0), None, site, int(value))
        else:
            arguments[index] = bo_argument(value._range, bank, site)
        self._launch.bound = False

    def start(self) -> None:
        """Submit the run; blocks while the queue of the context is full."""
        launch = self._launch
        if launch.in_list:
            raise RuntimeError("Run object belongs to a runlist and cannot be explicitly started")
        if launch.unseen:
            raise RuntimeError("bad command state, can't launch")
        if not launch.bound:
            launch = self._bind()
        machine = launch.machine
        clock = machine.clock
        clock.now_ns = now_ns = clock.now_ns + machine.launch_ns
        if machine.lost_ns != NEVER_NS:
            machine.ioctl("EXEC_CMD")
        if machine.sanitizer is not None:
            # Only a call through `kernel()` or a call log needs the search for the caller.
            frame = sys._getframe(1)
            if frame.f_code.co_filename in INSIDE:
                frame = caller(frame)
            machine.sanitizer.on_launch(launch, frame, now_ns)
        launch.unseen = True
        launch.context.submit((launch,))

    def state(self) -> ert_cmd_state:
        """Return the state: NEW until the end is visible, as on amdxdna, then the final state.

        A repeated call at the same instant takes time: see `Machine.looks_cost_time`.
        """
        launch = self._launch
        machine = launch.machine
        if launch.visible_ns > (now_ns := machine.clock.now_ns):
            if machine.looks_cost_time:
                if launch.polled_ns == now_ns:
                    machine.clock.now_ns += machine.profile.poll_ns
                launch.polled_ns = machine.clock.now_ns
            return _NEW
        if launch.unseen:
            launch.unseen = False
            if machine.sanitizer is not None:
                machine.sanitizer.on_end_seen(launch)
        return launch.final

    def wait(self, *timeout_ms: int) -> ert_cmd_state:
        """Wait for the end and return the final state.

        With a `timeout_ms` other than 0, return ERT_CMD_STATE_TIMEOUT after that time.
        """
        if timeout_ms and (len(timeout_ms) > 1 or not is_int(timeout_ms[0], UINT32)):
            raise incompatible("wait", _WAIT_FORMS, (self, *timeout_ms))
        until_ns = self._launch.visible_ns
        if timeout_ms and timeout_ms[0]:
            until_ns = min(until_ns, self._machine.clock.now_ns + int(timeout_ms[0]) * NS_PER_MS)
        if until_ns >= NEVER_NS:
            # A run that was never started is in state NEW, and has no end to wait for.
            if not self._launch.unseen:
                return _NEW
            self._machine.abort("a run hangs, and device.watchdog_ns=0: wait() would never return")
            raise ProcessAborted(self._machine.aborted)
        self._machine.wait_until(until_ns)
        state = self.state()
        return _TIMEOUT if state is _NEW else state

    def wait2(self, *timeout: Any) -> None:
        """Wait for the end; RuntimeError unless the run completed.

        The timeout of XRT's C++ API has no conversion from Python, so it gives a TypeError.
        """
        if timeout:
            forms = (
                "(self: pyxrt.run) -> None",
                f"(self: pyxrt.run, arg0: {DURATION}) -> std::cv_status",
            )
            raise incompatible("wait2", forms, (self, *timeout), hint=True)
        state = self.wait()
        if state is not _COMPLETED:
            raise RuntimeError(f"Command failed to complete successfully ({state._name_})")

    def add_callback(self, *args: Any) -> None:
        """Raise TypeError: the type of a callback has no conversion from Python."""
        function = "std::function<void (void const*, ert_cmd_state, void*)>"
        form = (
            f"(self: pyxrt.run, arg0: pyxrt.ert_cmd_state, arg1: {function}, "
            "arg2: types.CapsuleType) -> None"
        )
        raise incompatible("add_callback", (form,), (self, *args), hint=True)

    def get_ctrl_scratchpad_bo(self) -> bo:
        """Raise RuntimeError: only kernels of ELF files have one."""
        # A null object crashes before.
        self._machine.clock  # noqa: B018
        raise RuntimeError("Control scratchpad memory is not present")

    def _bind(self) -> Launch:
        """Create a launch with the present arguments; it also serves the following starts."""
        model, before = self._kernel._model, self._launch
        before.release()
        self._launch = launch = self._new_launch()
        launch.in_list, launch.bound = before.in_list, True
        bind_arguments(launch, model, self._arguments)
        return launch

    def _new_launch(self) -> Launch:
        kernel = self._kernel
        model, context = kernel._model, kernel._hw_context._context
        return Launch(self._machine, context, model, kernel._outputs)
