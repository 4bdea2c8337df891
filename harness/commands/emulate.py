"""The command that runs somebody's pyxrt script, unmodified, on a simulated NPU and reports hazards of its buffers.

python -m harness.commands.emulate [options] script.py [its arguments]
"""

from __future__ import annotations

import argparse
import gc
import os
import runpy
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table

from harness.config import compose as config
from harness.config.device import ClockKind, Hazards, Simulator
from harness.device.xrt.simulated import simulated_clock
from harness.errors import RequestError
from harness.kernel import load_kernel
from harness.measure.timeline import Spans
from harness.report.trace import program_trace
from harness.results.record import write_json
from harness.sim import pyxrt
from harness.sim.call_log import CallLog, log_calls, stage_of
from harness.sim.clock import ProcessAborted
from harness.sim.device import plug
from harness.sim.hazard import Hazard
from harness.sim.machine import Machine
from harness.sim.sites import call_of
from harness.units import NS_PER_S, ns_to_ms

STAGES = ("open", "alloc", "write", "launch", "wait", "read")
INTERRUPTED = 130
ABORTED = 134
"""Exit code of a process that SIGABRT ended, as the shell tells it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a script; returns the exit code: 1 for hazards, 2 for a wrong request, else the script's own."""
    options = _parser().parse_args(arguments)
    try:
        profile = _profile(options)
    except (RequestError, HydraException, OmegaConfBaseException) as error:
        print(
            f"harness: {error if isinstance(error, RequestError) else config.explain(error)}",
            file=sys.stderr,
        )
        return 2
    machine = Machine(profile, {}, simulated_clock(profile))
    plug(machine)
    with log_calls(machine) as recorder:
        code = _run(options.script, options.arguments, machine)
        trace = machine.take_trace()
        hazards = _hazards(machine)
    try:
        _report(options.script, machine, recorder, trace, hazards)
        code = _save(Path(options.trace), options.script, recorder, trace, hazards) or code
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if machine.aborted:
        code = ABORTED
    if code == INTERRUPTED:
        return code
    return 1 if hazards and profile.hazards is Hazards.error else code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.commands.emulate",
        description="Run a script that imports pyxrt, unmodified, on a simulated Phoenix NPU.",
        epilog="Exit code: 1 if hazards were found (--hazards=error), 2 for a wrong request, else the script's own.",
    )
    parser.add_argument(
        "--hazards", default="error", help="error (exit 1), report (tell only) or off"
    )
    parser.add_argument(
        "--clock", default="virtual", help="virtual (computed) or wall (waited for)"
    )
    parser.add_argument(
        *("--set", "-s"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the simulated device, as on the harness's own command line: device.columns=1",
    )
    parser.add_argument(
        "--xclbin",
        action="append",
        default=[],
        metavar="PATTERN=KERNEL",
        help="the kernel that xclbins with such a path stand for: '*mha*=attention'",
    )
    parser.add_argument(
        "--trace", default="trace.json", metavar="FILE", help="where the trace goes (trace.json)"
    )
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own")
    return parser


def _profile(options: argparse.Namespace) -> Simulator:
    if not Path(options.script).is_file():
        raise RequestError(f"{options.script}: no such file; give the script to run")
    for given in options.set:
        if "=" not in given:
            raise RequestError(f"--set {given}: no value; give KEY=VALUE, as device.columns=1")
    choices = f"device.hazards={options.hazards}", f"device.clock={options.clock}"
    device = config.load("device=simulator", "tracking=off", *choices, *options.set).device
    if not isinstance(device, Simulator):
        raise RequestError("device: only device=simulator can be emulated")
    given = dict(text.split("=", 1) for text in options.xclbin if "=" in text)
    if len(given) < len(options.xclbin):
        raise RequestError(
            f"--xclbin {' '.join(options.xclbin)}: give PATTERN=KERNEL each, as '*mha*=attention'"
        )
    for kernel in given.values():
        load_kernel(kernel)
        device.exec_of(kernel)
    return replace(device, xclbins={**given, **device.xclbins})


def _run(script: str, arguments: list[str], machine: Machine) -> int:
    """Run the script as Python would; its exit code."""
    before = sys.argv, sys.path, sys.modules.get("pyxrt")
    sys.argv, sys.path = [script, *arguments], [str(Path(script).resolve().parent), *sys.path]
    sys.modules["pyxrt"] = pyxrt
    try:
        with _script_time(machine):
            runpy.run_path(script, run_name="__main__")
    except ProcessAborted:
        return ABORTED
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException as error:
        _show(error)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    finally:
        sys.argv, sys.path, real = before
        del sys.modules["pyxrt"]
        if real:
            sys.modules["pyxrt"] = real
        gc.collect()  # what the script left behind is dropped now, as at the end of its process
    return 0


def _show(error: BaseException) -> None:
    """The script's traceback, without the frames that ran it."""
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
    """In virtual time, let the script's clocks run on by what the device takes, and its sleeps take no time.

    What they show is the time that Python took, and on top of it what the simulated calls cost.
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
        machine.sanitizer.ended(list(machine.memories.values()))
    return [
        replace(hazard, later=replace(hazard.later, file="the end of the script", line=0))
        if Path(hazard.later.file).name == Path(__file__).name
        else hazard
        for hazard in machine.sanitizer.take()
    ]


def _save(path: Path, script: str, recorder: CallLog, trace: Spans, hazards: list[Hazard]) -> int:
    calls = [
        (name, begin_ns, end_ns, call_of((code, instruction, begin_ns), name))
        for name, begin_ns, end_ns, code, instruction in recorder.spans
    ]
    try:
        write_json(path, program_trace(script, calls, trace, hazards), durable=False)
    except OSError as error:
        print(
            f"harness: {path}: the trace cannot be written ({error}); give another with --trace",
            file=sys.stderr,
        )
        return 1
    print(f"trace: {path}")
    return 0


def _report(
    script: str, machine: Machine, recorder: CallLog, trace: Spans, hazards: list[Hazard]
) -> None:
    """The summary, on stdout after what the script itself printed."""
    sys.stdout.flush()
    total_ns = max((end for _, _, end, _, _ in recorder.spans), default=0)
    calls, clock = sum(recorder.counts.values()), machine.profile.clock.value
    print(f"\n{script}: {calls} calls, {ns_to_ms(total_ns):.3f} ms of {clock} time")
    table = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, header_style="bold")
    for heading in ("call", "count", "ms", "us each", "stage"):
        table.add_column(
            heading, justify="left" if heading in ("call", "stage") else "right", no_wrap=True
        )
    for call, count in recorder.counts.items():
        spent_ns = recorder.totals_ns[call]
        table.add_row(
            call,
            str(count),
            f"{ns_to_ms(spent_ns):.3f}",
            f"{spent_ns / count / 1000:.1f}",
            stage_of(call),
        )
    if recorder.counts:
        Console(highlight=False, soft_wrap=True).print(table)
    by_stage = dict.fromkeys(STAGES, 0)
    for call, spent_ns in recorder.totals_ns.items():
        by_stage[stage_of(call)] += spent_ns
    if told := [f"{stage} {ns_to_ms(spent):.3f} ms" for stage, spent in by_stage.items() if spent]:
        print(f"host: {', '.join(told)}")
    for line in _device(trace):
        print(line)
    for line in machine.said:
        print(f"note: {line}")
    if machine.aborted:
        print(f"process ended: {machine.aborted}")
    for hazard in hazards:
        _tell(hazard)
    if machine.sanitizer is not None:
        print(
            f"hazards: {sum(hazard.count for hazard in hazards)} in {len(hazards)} places"
            if hazards
            else "hazards: none"
        )


def _device(trace: Spans) -> list[str]:
    """What each column did: executions, utilisation, and the gaps in which it had nothing to do."""
    lines = []
    for column in np.unique(trace[:, 2]):
        rows = trace[trace[:, 2] == column]
        rows = rows[np.argsort(rows[:, 3], kind="stable")]
        busy_ns = int((rows[:, 4] - rows[:, 3])[rows[:, 0] == 0].sum())
        gaps = rows[1:, 3] - rows[:-1, 4]
        span_ns = int(rows[:, 4].max() - rows[:, 3].min())
        lines.append(
            f"column {column}: {int((rows[:, 0] == 0).sum())} executions in {ns_to_ms(busy_ns):.3f} ms, "
            f"{100 * busy_ns / span_ns if span_ns else 0:.1f} % busy from first to last; "
            f"{int((gaps > 0).sum())} stalls of {ns_to_ms(int(gaps[gaps > 0].sum())):.3f} ms in all"
        )
    return lines


def _tell(hazard: Hazard) -> None:
    times = f" ({hazard.count} times)" if hazard.count > 1 else ""
    print(f"\nhazard {hazard.kind.value}{times}: {hazard.kind.explanation}")
    print(f"  {hazard.later}")
    if hazard.earlier:
        print(f"  after {hazard.earlier}")
    span = f", bytes {hazard.low} to {hazard.high}" if hazard.high else ""
    print(f"  {hazard.bo}{span}; {hazard.run}")


if __name__ == "__main__":
    sys.exit(main())
