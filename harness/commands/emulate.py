"""Run an unmodified pyxrt script on a simulated NPU and report hazards of its buffers."""

from __future__ import annotations

import argparse
import gc
import runpy
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import SupportsIndex

from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import output, say, show
from harness.config.compose import load
from harness.config.device import ClockKind, Hazards, Simulator
from harness.config.execution_time import exec_ns_of
from harness.device.interrupt import exit_code
from harness.device.xrt.simulated import simulated_clock
from harness.errors import RequestError
from harness.hazard import Hazard
from harness.kernel import load_kernel
from harness.report.emulation import HAZARD, Emulation, parts
from harness.report.program_trace import program_trace
from harness.report.tables import Sheet
from harness.results.find import TRACE_NAME
from harness.results.whole_file import write_json
from harness.sim import pyxrt
from harness.sim.call_log import log_calls
from harness.sim.clock import ProcessAborted
from harness.sim.device import plug
from harness.sim.machine import Machine
from harness.sim.sites import call_of
from harness.units import NS_PER_S

HELP = "run a pyxrt script on the simulator and report buffer hazards"
ABORTED = 134
"""Exit code that a shell reports for a process that SIGABRT ended."""


def main(arguments: Sequence[str]) -> int:
    """Run a script; returns 1 for hazards, else the script's own exit code."""
    options = _parser().parse_args(arguments)
    presentation = presentation_of(options)
    profile = _profile(options)
    machine = Machine(profile, {}, simulated_clock(profile))
    plug(machine)
    with log_calls(machine) as log:
        code = _run(options.script, options.arguments, machine)
        emulation = Emulation(options.script, machine, log, machine.take_trace(), _hazards(machine))
    lines = parts(emulation)
    try:
        lines.append(f"trace: {_save(options.trace or _trace_path(), emulation)}")
    except OSError as error:
        where = f"{options.trace}: " if options.trace else ""
        say(f"{where}the trace cannot be written ({error}); give another file with --trace")
        code = 1
    if presentation.form in ("text", "markdown"):
        with output("report"):
            print(flush=True)  # the script's own output comes first
    if presentation.quiet:
        lines = [part for part in lines if isinstance(part, Sheet) or part.startswith(HAZARD)]
    show(lines, "report", presentation, lines=True)
    if machine.aborted:
        code = ABORTED
    if code == exit_code():
        return code
    return 1 if emulation.hazards and profile.hazards is Hazards.error else code


def _parser() -> Parser:
    parser = Parser(
        "emulate",
        description="Run a script that imports pyxrt, unmodified, on a simulated Phoenix NPU.",
        epilog="Exit code: 1 if hazards were found (--hazards=error), 2 for a wrong request, "
        "else the script's own.",
        tables=True,
    )
    parser.add_argument(
        "--hazards", default="error", help="error (exit 1), report (print only) or off"
    )
    parser.add_argument(
        "--clock", default="virtual", help="virtual (computed time) or wall (real time)"
    )
    parser.add_argument(
        *("--set", "-s"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the simulated device, as a run takes it: device.columns=1",
    )
    parser.add_argument(
        "--xclbin",
        action="append",
        default=[],
        metavar="PATTERN=KERNEL",
        help="simulate KERNEL for an xclbin whose name matches PATTERN: '*mha*=attention'",
    )
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="file of the trace (outputs/<date>/<time>/trace.json)",
    )
    parser.usage = "python -m harness emulate [OPTIONS] SCRIPT [ARGUMENTS]"
    # Optional for argparse, whose message for a missing one would ask for the arguments too.
    parser.add_argument("script", nargs="?", metavar="SCRIPT", help="path of the script")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="passed to the script"
    )
    return parser


def _profile(options: argparse.Namespace) -> Simulator:
    if options.script is None:
        raise RequestError("emulate needs a script: harness emulate SCRIPT [ARGUMENTS]")
    if not Path(options.script).is_file():
        raise RequestError(f"{options.script}: no such file; give the script to run")
    for text in options.set:
        if "=" not in text:
            raise RequestError(f"--set {text}: no value; give KEY=VALUE, such as device.columns=1")
    choices = f"device.hazards={options.hazards}", f"device.clock={options.clock}"
    device = load("device=simulator", "tracking=off", *choices, *options.set).device
    if not isinstance(device, Simulator):
        raise RequestError("device: only device=simulator can be emulated")
    patterns = dict(text.split("=", 1) for text in options.xclbin if "=" in text)
    if len(patterns) < len(options.xclbin):
        raise RequestError(
            f"--xclbin {' '.join(options.xclbin)}: give PATTERN=KERNEL each, "
            "such as '*mha*=attention'"
        )
    for kernel in patterns.values():
        exec_ns_of(device, load_kernel(kernel))
    return replace(device, xclbins={**patterns, **device.xclbins})


def _run(script: str, arguments: list[str], machine: Machine) -> int:
    """Run the script as Python would; returns its exit code."""
    before = sys.argv, sys.path, sys.modules.get("pyxrt")
    sys.argv, sys.path = [script, *arguments], [str(Path(script).resolve().parent), *sys.path]
    # Found before any file, so the script never gets an installed XRT.
    sys.modules["pyxrt"] = pyxrt
    try:
        # Around the script only: the harness's own clocks must stay real.
        with _script_time(machine):
            runpy.run_path(script, run_name="__main__")
    except ProcessAborted:
        return ABORTED
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    # Ctrl-C too: what the script did until then is still reported.
    except BaseException as error:
        _show(error)
        return exit_code() if isinstance(error, KeyboardInterrupt) else 1
    finally:
        sys.argv, sys.path, real = before
        del sys.modules["pyxrt"]
        if real:
            sys.modules["pyxrt"] = real
        gc.collect()  # destroys the script's objects now, as the end of its process would
    return 0


def _show(error: BaseException) -> None:
    """Print the script's traceback without the harness's own frames."""
    frames = error.__traceback__
    inside = (runpy.__file__, __file__)
    while frames and (
        frames.tb_frame.f_code.co_filename in inside
        or "frozen" in frames.tb_frame.f_code.co_filename
    ):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


@contextmanager
def _script_time(machine: Machine) -> Iterator[None]:
    """In virtual time, add the device's time and the script's sleeps to the script's clocks.

    The clocks show the time that Python took plus the cost of the simulated calls.
    """
    if machine.profile.clock is not ClockKind.virtual:
        yield
        return
    names = ("time", "perf_counter", "monotonic")
    real = {
        name: getattr(time, name) for name in ("sleep", *names, *(f"{name}_ns" for name in names))
    }

    def sleep(seconds: float | SupportsIndex) -> None:
        if float(seconds) < 0:
            raise ValueError("sleep length must be non-negative")
        machine.clock.now_ns += round(float(seconds) * NS_PER_S)

    for name in names:
        # Default arguments, because the loop's variable changes.
        setattr(time, name, lambda now=real[name]: now() + machine.clock.now_ns / NS_PER_S)
        setattr(time, f"{name}_ns", lambda now=real[f"{name}_ns"]: now() + machine.clock.now_ns)
    time.sleep = sleep
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(time, name, function)


def _hazards(machine: Machine) -> list[Hazard]:
    if machine.sanitizer is None:
        return []
    with suppress(ProcessAborted):
        machine.sanitizer.on_exit(list(machine.memories.values()))
    return [
        # Objects that `_run` collects after the script have this file as their caller.
        replace(hazard, later=replace(hazard.later, file="the end of the script", line=0))
        if Path(hazard.later.file).name == Path(__file__).name
        else hazard
        for hazard in machine.sanitizer.take()
    ]


def _trace_path() -> Path:
    """A path in a new folder, named as those of runs; OSError where it cannot be made."""
    folder = Path(f"{datetime.now():outputs/%Y-%m-%d/%H-%M-%S-%f}")
    folder.mkdir(parents=True)
    return folder / TRACE_NAME


def _save(path: Path, emulation: Emulation) -> Path:
    """Write the trace; OSError where that fails."""
    calls = [
        (name, begin_ns, end_ns, call_of((code, instruction, begin_ns), name))
        for name, begin_ns, end_ns, code, instruction in emulation.log.spans
    ]
    content = program_trace(emulation.script, calls, emulation.trace, emulation.hazards)
    return write_json(path, content, durable=False, readable=False)
