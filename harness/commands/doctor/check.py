"""What a check answers, and what all of them look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from harness.commands.doctor.probe import Probe
from harness.config.device import Hardware
from harness.config.schema import Config
from harness.device.host.state import MachineState


class Status(Enum):
    """ok; warn: runs work, but their times may not be what they seem; fail: runs can't work."""

    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True)
class Check:
    """One line of the list; `remedy` is empty where there is nothing to do."""

    status: Status
    name: str
    finding: str
    remedy: str = ""


@dataclass(frozen=True)
class Subject:
    """The request, and what was read of the machine once for all checks; `address` is the NPU's on the PCI bus.

    holder: who runs an experiment on the device, None if nobody does.
    """

    config: Config
    device: Hardware
    address: str | None
    probe: Probe
    state: MachineState
    holder: str | None


def ok(name: str, finding: str) -> Check:
    """Nothing to do."""
    return Check(Status.ok, name, finding)


def warn(name: str, finding: str, remedy: str) -> Check:
    """Runs work, with a reservation."""
    return Check(Status.warn, name, finding, remedy)


def fail(name: str, finding: str, remedy: str) -> Check:
    """Runs can't work."""
    return Check(Status.fail, name, finding, remedy)


def checked(name: str, check: Callable[[Subject], Check], subject: Subject) -> Check:
    """The check's answer, each text in one line; a warning if it raises: that says nothing of the machine."""
    try:
        found = check(subject)
    except Exception as error:
        found = warn(
            name, f"could not be checked ({type(error).__name__}: {error})", "look at it by hand"
        )
    return replace(
        found, finding=" ".join(found.finding.split()), remedy=" ".join(found.remedy.split())
    )
