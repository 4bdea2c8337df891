"""The result of a check, and the data that every check reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from harness.commands.doctor.probe import Probe
from harness.config.device import Hardware
from harness.config.schema import Config
from harness.device.host.state import MachineState


class Status(Enum):
    """ok; warn: runs work, but their times may be distorted; fail: runs cannot work."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Check:
    """One line of the list; `remedy` is empty where nothing has to be done."""

    status: Status
    name: str
    finding: str
    remedy: str = ""


@dataclass(frozen=True)
class Subject:
    """The request, and the state of the machine, which is read once for all checks.

    address: of the NPU on the PCI bus. holder: the process that runs an experiment on the device,
    None if there is none.
    """

    config: Config
    device: Hardware
    address: str | None
    probe: Probe
    state: MachineState
    holder: str | None


def ok(name: str, finding: str) -> Check:
    """A check that passed."""
    return Check(Status.ok, name, finding)


def warn(name: str, finding: str, remedy: str) -> Check:
    """A check with a warning: runs work, their times may be distorted."""
    return Check(Status.warn, name, finding, remedy)


def fail(name: str, finding: str, remedy: str) -> Check:
    """A check that failed: runs cannot work."""
    return Check(Status.fail, name, finding, remedy)


def checked(name: str, check: Callable[[Subject], Check], subject: Subject) -> Check:
    """The result of a check, each text in one line; a warning if the check itself raises."""
    try:
        result = check(subject)
    # A check reads files and tools of any machine; one that fails must not end the list.
    except Exception as error:
        result = warn(
            name, f"could not be checked ({type(error).__name__}: {error})", "check it by hand"
        )
    return replace(
        result, finding=" ".join(result.finding.split()), remedy=" ".join(result.remedy.split())
    )
