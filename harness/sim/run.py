"""`pyxrt.kernel` and `pyxrt.run`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from harness.hazard import Kind
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
_TIMEOUT = ert_cmd_state.ERT_CMD_STATE_TIMEOUT
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
            raise RuntimeError(f"No such kernel '{name}': Invalid argument")
        self._model = matches[0]
        # It grows if the spec is unknown: `Access.mark_as_output`.
        self._outputs = {i for i, each in self._model.buffers.items() if each.is_output}

    def group_id(self, index: int, /) -> int:
        """Return the memory bank of an argument, with the context's slot in the bits from 16 on.

        Of a scalar, and beyond the arguments, the bank is 65535.
        """
        if not is_int(index, INT32):
            raise incompatible(
                "group_id", ("(self: pyxrt.kernel, arg0: int) -> int",), (self, index)
            )
        return self._bank(index) | self._hw_context._context.handle << 16

    def _bank(self, index: int) -> int:
        """Return the memory bank of an argument; NO_BANK of a scalar and beyond the arguments."""
        banks = self._model.banks
        return banks[index] if 0 <= index < len(banks) else NO_BANK

    def __call__(self, *arguments: Any) -> run:
        """Create and start a run with these arguments.

        As in pyxrt, an argument that cannot be set is skipped without an error: the kernel gets
        address 0 for it.
        """
        new = run(self)
        for index, value in enumerate(arguments):
            try:
                new.set_arg(index, value)
            # pyxrt ignores every exception here (pyxrt.cpp, kernel.__call__).
            except Exception:
                if isinstance(value, bo) and 0 <= index < len(new._arguments):
                    site = here(self._machine.clock.now_ns)
                    new._arguments[index] = Argument(None, (0, 0), Kind.WRONG_BANK, site)
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
        # XRT's destructor of a run that is in flight ends the process; of a member of a runlist it
        # does not know.
        launch = self._launch
        if launch.unseen and launch.member_state is None and not machine.aborted:
            if machine.sanitizer:
                machine.sanitizer.on_drop(self._launch)
            machine.abort(
                "a run was dropped before its completion was seen: "
                "XRT would abort the process (SIGABRT)"
            )
        self._launch.release()

    def set_arg(self, index: int, value: Any, /) -> None:
        """Set argument `index` to a bo, or to an integer of 32 bits.

        RuntimeError for a bo in another memory bank, IndexError beyond the arguments: XRT's texts.
        """
        is_bo = isinstance(value, bo)
        if not is_int(index, INT32) or not (is_bo or is_int(value, INT32)):
            raise incompatible("set_arg", _SET_ARG_FORMS, (self, index, value))
        machine, arguments = self._machine, self._arguments
        if is_bo and value._range.memory.bank != self._kernel._bank(index):
            raise RuntimeError("No host side buffer in destination buffer: Invalid argument")
        if not 0 <= index < len(arguments):
            raise IndexError(
                f"vector::_M_range_check: __n (which is {index % 2**64}) >= this->size() "
                f"(which is {len(arguments)})"
            )
        if self._launch.unseen and machine.sanitizer:
            machine.sanitizer.on_set_arg(self._launch, index)
        site = here(machine.clock.now_ns)
        if not is_bo:
            arguments[index] = Argument(None, (0, 0), None, site, int(value))
        else:
            arguments[index] = bo_argument(value._range, site)
        launch = self._launch
        launch.bound = False
        launch.spoilt_arguments -= {index}

    def start(self) -> None:
        """Submit the run; blocks while the queue of the context is full."""
        launch = self._launch
        if launch.lists:
            raise RuntimeError(
                "Run object belongs to a runlist and cannot be explicitly started: Invalid argument"
            )
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
        launch.unseen, launch.member_state = True, None
        launch.context.submit((launch,))

    def state(self) -> ert_cmd_state:
        """Return the state: NEW until the end is visible, as on amdxdna, then the final state.

        A run that a runlist submitted stays NEW, unless the list fails. A repeated call at the same
        instant takes time: see `Machine.looks_cost_time`.
        """
        launch = self._launch
        machine = launch.machine
        now_ns = machine.clock.now_ns
        if launch.visible_ns > now_ns:
            if machine.looks_cost_time:
                if launch.polled_ns == now_ns:
                    machine.clock.now_ns += machine.profile.poll_ns
                launch.polled_ns = machine.clock.now_ns
            return _NEW
        if launch.member_state is _NEW:
            return _NEW
        if launch.unseen:
            if launch.final is not _COMPLETED:
                self._spoil_arguments()
            self._see_end()
        return launch.member_state or launch.final

    def _see_end(self) -> None:
        """The program sees the end of the run, if it has not seen it before."""
        launch = self._launch
        if launch.unseen:
            launch.unseen = False
            if launch.machine.sanitizer is not None:
                launch.machine.sanitizer.on_end_seen(launch)

    def _spoil_arguments(self) -> None:
        """Lose all arguments: the driver fills the packet of a failed command with 0xff."""
        if self._machine.profile.spoils_failed:
            launch = self._launch
            launch.spoilt_arguments = frozenset(range(len(self._arguments)))
            launch.bound = False

    def wait(self, *timeout_ms: int) -> ert_cmd_state:
        """Wait for the end and return the final state.

        With a `timeout_ms` other than 0, raise RuntimeError after that time, as XRT does since May
        2025; with `device.timed_waits` return ERT_CMD_STATE_TIMEOUT, as before.
        """
        if timeout_ms and (len(timeout_ms) > 1 or not is_int(timeout_ms[0], UINT32)):
            raise incompatible("wait", _WAIT_FORMS, (self, *timeout_ms))
        machine, launch = self._machine, self._launch
        until_ns = launch.wait_ends_ns()
        if timeout_ms and timeout_ms[0]:
            until_ns = min(until_ns, machine.clock.now_ns + int(timeout_ms[0]) * NS_PER_MS)
        if until_ns >= NEVER_NS:
            machine.abort(f"{launch.why_endless}: wait() would never return")
            raise ProcessAborted(machine.aborted)
        machine.wait_until(until_ns)
        state = self.state()
        if state is not _NEW:
            return state
        if machine.profile.timed_waits:
            return _TIMEOUT
        raise RuntimeError("qds_device::wait() unexpected command state")

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
        launch.lists, launch.bound = before.lists, True
        launch.member_state, launch.spoilt_arguments = before.member_state, before.spoilt_arguments
        bind_arguments(launch, model, self._arguments)
        return launch

    def _new_launch(self) -> Launch:
        kernel = self._kernel
        model, context = kernel._model, kernel._hw_context._context
        return Launch(self._machine, context, model, kernel._outputs)
