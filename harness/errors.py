"""The error classes of the harness, and helpers for their messages. The class sets the exit code.

HarnessError                exit code 1
├── InternalError           a fault of the harness itself
├── RequestError            exit code 2: the request is wrong, and nothing was run
└── DeviceError             the device failed
    ├── DeviceTimeoutError  a run did not end in time
    └── DeviceCallError     a call of the device's library failed
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum


class HarnessError(Exception):
    """An error whose text is one line for the user; the process ends with `exit_code`."""

    exit_code = 1


class RequestError(HarnessError):
    """The request is wrong: a configuration key, a missing file, no pyxrt. Nothing was run."""

    exit_code = 2


class InternalError(HarnessError):
    """An exception that only a fault of the harness explains."""


class DeviceError(HarnessError):
    """The device refused a request, failed, timed out or was lost."""


class DeviceTimeoutError(DeviceError):
    """A run did not end in time. It is still in flight."""


class DeviceCallError(DeviceError):
    """A call of the device's library failed. Runs in flight may or may not have ended."""


MAYBE_IN_FLIGHT = DeviceTimeoutError, DeviceCallError
"""Errors after which a run may still use its bos, so that neither may be released."""


def nearest(
    name: str, allowed: Iterable[str], cutoff: float = 0.5, before: str = "", after: str = ""
) -> str:
    """List the allowed names for a message, and suggest the one most similar to `name`.

    cutoff: least similarity of a suggestion, from 0 (nothing in common) to 1 (equal). before,
    after: texts around the suggestion.

    >>> nearest("pipelind", ["batch", "pipelined"])
    'did you mean pipelined? Allowed: batch, pipelined'
    """
    # Sets and folder listings have no fixed order; a message must not vary.
    names = sorted(allowed)
    close = get_close_matches(name, names, n=1, cutoff=cutoff)
    listing = ", ".join(names) or "none"
    if not close:
        return f"allowed: {listing}"
    return f"did you mean {before}{close[0]}{after}? Allowed: {listing}"


def nearest_key(override: str, allowed: Iterable[str]) -> str:
    """As `nearest` for the last part of a key; suggests the whole override, to be pasted.

    >>> nearest_key("+tracking.ur=x", ["kind", "uri"])
    'did you mean tracking.uri=x? Allowed: kind, uri'
    """
    key, equals, value = override.lstrip("+").partition("=")
    group, dot, name = key.rpartition(".")
    return nearest(name, allowed, before=f"{group}{dot}", after=f"{equals}{value}")


def with_extra(extra: str) -> str:
    """How to install an extra of the harness, for a message: it is on no package index.

    >>> with_extra("ray")
    "pip install '.[ray]' in the source folder, or pip install '<wheel>.whl[ray]'"
    """
    return f"pip install '.[{extra}]' in the source folder, or pip install '<wheel>.whl[{extra}]'"


def override_text(value: object) -> str:
    """Format a value as the command line takes it in an override.

    >>> override_text(["attention", "gelu"]), override_text({"gelu": None}), override_text(True)
    ('[attention,gelu]', '{gelu:null}', 'true')
    """
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list):
        return f"[{','.join(map(override_text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{override_text(each)}' for key, each in value.items())}}}"
    if value is None:
        return "null"
    # Python writes True, Hydra's grammar true.
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_range(
    key: str, value: float, least: float, most: float | None = None, remedy: str = ""
) -> None:
    """Raise RequestError unless `least <= value <= most`; `remedy` tells the user what to do."""
    # In this form NaN, which compares as false with everything, is out of range.
    if value >= least and (most is None or value <= most):
        return
    allowed = f"{least} to {most}" if most is not None else f"{least} or more"
    advice = f"; {remedy}" if remedy else ""
    raise RequestError(f"{key}={value}: out of range; allowed: {allowed}{advice}")
