"""Compose the request, run every check, and print a line for each and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.commands.doctor import machine, probe, project, software
from harness.commands.doctor.check import Check, Status, Subject, checked
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import Presentation, show
from harness.config.compose import load
from harness.config.device import Hardware
from harness.config.schema import Config
from harness.device.host import sysfs
from harness.device.host.locks import holder
from harness.device.host.state import read_state
from harness.errors import RequestError
from harness.report.tables import Format, Part, Sheet, left

CHECKS: dict[str, Callable[[Subject], Check]] = {
    "pyxrt": software.check_pyxrt,
    "XRT": software.check_xrt,
    "xrt-smi": software.check_smi,
    "driver": machine.check_driver,
    "device node": machine.check_node,
    "device": machine.check_opens,
    "locked memory": machine.check_memlock,
    "power mode": machine.check_power,
    "CPU governor": machine.check_governor,
    "other tenants": machine.check_tenants,
    "harness's lock": machine.check_lock,
    "idle suspend": machine.check_suspend,
    "watchdog": machine.check_watchdog,
    "C++ compiler": software.check_compiler,
    "disk space": project.check_disk,
    "MLflow": project.check_tracking,
}
"""Checks by their name in the list, in its order; the checks of kernels follow."""


def _request(arguments: Sequence[str]) -> tuple[Config, Presentation]:
    """The request on hardware; RequestError where it cannot be composed."""
    parser = Parser(
        "doctor",
        description="Check whether runs on the NPU can work here, and report what is missing.",
        epilog="Exit code: 0 if they can, 1 if they cannot, 2 for a wrong request.",
        tables=True,
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        help="overrides, as a run takes them: workload=attention device.index=0 ...",
    )
    options = parser.parse_intermixed_args(arguments)
    presentation, overrides = presentation_of(options), options.overrides
    for text in overrides:
        if text.lstrip("+~").partition("=")[0] == "device" and text != "device=hardware":
            raise RequestError(f"{text}: doctor checks the hardware only; leave it out")
    config = load("device=hardware", *(each for each in overrides if each != "device=hardware"))
    assert isinstance(config.device, Hardware)  # device=hardware was composed
    # Findings name files below it, and are read without the folder in which doctor ran.
    folder = str(Path(config.device.kernels_dir).absolute())
    device = replace(config.device, kernels_dir=folder)
    return replace(config, device=device), presentation


def examine(config: Config) -> list[Check]:
    """The result of every check."""
    device = config.device
    assert isinstance(device, Hardware)  # device=hardware was composed
    # Before the probe: opening the device would disturb an experiment.
    using = holder(device.index)
    subject = Subject(
        config=config,
        device=device,
        address=sysfs.bdf(device.index),
        probe=probe.ask(device.index, opens=not using),
        state=read_state(device.index),
        holder=using,
    )
    kernels = {f"kernel {name}": name for name in project.kernel_names(config.workload.kernels)}
    asked = CHECKS | {
        title: partial(project.check_kernel, name=name) for title, name in kernels.items()
    }
    return [checked(name, check, subject) for name, check in asked.items()]


def summary(checks: Sequence[Check]) -> str:
    """One line: whether runs can work."""
    counts = Counter(check.status for check in checks)
    failed, warned = counts[Status.fail], counts[Status.warn]
    if failed:
        return (
            f"hardware runs cannot work here: {failed} of {len(checks)} checks failed; "
            "device=simulator works"
        )
    warnings = f", {warned} with a warning" if warned else ""
    return f"hardware runs can work here: none of {len(checks)} checks failed{warnings}"


def lines(checks: Sequence[Check]) -> list[str]:
    """The printed list: status, name, finding, remedy."""
    width = max(len(check.name) for check in checks)
    texts = []
    for check in checks:
        remedy = f"; {check.remedy}" if check.remedy else ""
        texts.append(f"{check.status.value:<4}  {check.name:<{width}}  {check.finding}{remedy}")
    return texts


def sheet(checks: Sequence[Check]) -> Sheet:
    """A row per check, for the forms of the list that programs read."""
    result = Sheet("checks", left("name"), left("status"), left("message"), left("remedy"))
    for check in checks:
        result.add(check.name, check.status.value, check.finding, check.remedy)
    return result


def run(arguments: Sequence[str]) -> int:
    """Print the checks; returns 1 if one failed."""
    config, presentation = _request(arguments)
    checks = examine(config)
    parts: list[Part] = [sheet(checks)]
    if presentation.form == Format.text.value:
        parts = [*lines(checks), *[summary(checks)] * presentation.for_readers]
    show(parts, "list", presentation, lines=True)
    return 1 if any(check.status is Status.fail for check in checks) else 0
