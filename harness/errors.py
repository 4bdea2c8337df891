"""What can go wrong, by whose fault: the class decides the exit code."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum


class HarnessError(Exception):
    """An error with one clear line for the user; `exit_code` is what the process returns for it."""

    exit_code = 1


class RequestError(HarnessError):
    """The request was wrong (configuration, missing file, missing pyxrt); nothing was run."""

    exit_code = 2


class DeviceError(HarnessError):
    """The device refused, failed, timed out or was lost."""


class DeviceTimeoutError(DeviceError):
    """A run has not ended in time; it is still in flight."""


class DeviceCallError(DeviceError):
    """A call of the device's own library failed; whether a run in flight has ended is unknown."""


MAYBE_IN_FLIGHT = DeviceTimeoutError, DeviceCallError
"""Errors after which a run must not be dropped."""


def nearest(given: str, allowed: Iterable[str], cutoff: float = 0.5) -> str:
    """The allowed names as text, led by the one nearest to `given` if it is similar enough.

    cutoff: of the similarity, from 0 (nothing in common) to 1 (the same).

    >>> nearest("pipelind", ["batch", "pipelined"])
    'did you mean pipelined? Allowed: batch, pipelined'
    """
    names = sorted(allowed)
    close = get_close_matches(given, names, n=1, cutoff=cutoff)
    listed = f"llowed: {', '.join(names) or 'none'}"
    return f"did you mean {close[0]}? A{listed}" if close else f"a{listed}"


def as_given(value: object) -> str:
    """A value as the command line takes it.

    >>> as_given(["attention", "gelu"]), as_given({"gelu": None}), as_given(True)
    ('[attention,gelu]', '{gelu:null}', 'true')
    """
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list):
        return f"[{','.join(map(as_given, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{as_given(each)}' for key, each in value.items())}}}"
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def check_range(
    key: str, given: float, least: float, most: float | None = None, remedy: str = ""
) -> None:
    """Raise RequestError unless `least <= given <= most`; `remedy` says what to do about it."""
    if given >= least and (most is None or given <= most):
        return
    allowed = f"{least} to {most}" if most is not None else f"{least} or more"
    raise RequestError(
        f"{key}={given}: out of range; allowed: {allowed}{'; ' + remedy if remedy else ''}"
    )
