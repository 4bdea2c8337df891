"""Compose the request, run the checks of a kernel, and print a line for each and a summary."""

from __future__ import annotations

from collections.abc import Sequence

from harness.commands.doctor.check import Check, Status
from harness.commands.doctor.command import lines, sheet
from harness.commands.hydra_argv import check_config_dir
from harness.commands.kernel.checks import examine
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import show
from harness.config.compose import load
from harness.config.device import Hardware
from harness.errors import RequestError
from harness.kernel.folders import looking_in
from harness.report.tables import Format, Part


def run(arguments: Sequence[str]) -> int:
    """Print the checks of a kernel; returns 1 if one failed."""
    options = _parser().parse_intermixed_args(arguments)
    presentation = presentation_of(options)
    if options.name is None:
        raise RequestError("kernel check needs a kernel: harness kernel check NAME")
    check_config_dir(options.config_dir)
    with looking_in(options.config_dir):
        checks = examine(options.name, _device(options.overrides))
    parts: list[Part] = [sheet(checks)]
    if presentation.form == Format.text.value:
        closing = summary(options.name, checks)
        parts = [*lines(checks), *[closing] * presentation.for_readers]
    show(parts, "list", presentation, lines=True)
    return 1 if any(check.status is Status.fail for check in checks) else 0


def _parser() -> Parser:
    parser = Parser(
        "kernel check",
        description="Check a kernel without a device: its declaration, its reference on a few "
        "tiles, and whether its xclbin and instructions fit both.",
        epilog="Exit code: 0 if the kernel can run, 1 if it cannot, 2 for a wrong request.",
        tables=True,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="name of the kernel")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="keys of device=hardware, as a run takes them: device.columns=8",
    )
    parser.add_config_dir()
    return parser


def _device(overrides: Sequence[str]) -> Hardware:
    """The NPU of the request; RequestError where it cannot be composed."""
    for text in overrides:
        if not text.lstrip("+~").startswith("device."):
            raise RequestError(f"{text}: kernel check takes keys of the device, device.KEY=VALUE")
    device = load("device=hardware", *overrides).device
    assert isinstance(device, Hardware)  # device=hardware was composed
    return device


def summary(name: str, checks: Sequence[Check]) -> str:
    """One line: whether the kernel can run."""
    failed = sum(check.status is Status.fail for check in checks)
    if failed:
        return f"kernel {name} cannot run: {failed} of {len(checks)} checks failed"
    warned = sum(check.status is Status.warn for check in checks)
    warnings = f", {warned} with a warning" if warned else ""
    return f"kernel {name} can run: none of {len(checks)} checks failed{warnings}"
