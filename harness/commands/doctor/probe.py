"""Looks at pyxrt and opens the device in a process of its own: one that hangs or crashes takes nobody along."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace

from harness.device.host import process

TIMEOUT_S = 20
"""Opening takes milliseconds, and after an idle suspend, when firmware is loaded anew, a fraction of a second."""
NEEDED = (
    "device",
    "xclbin",
    "hw_context",
    "kernel",
    "bo",
    "run",
    "ert_cmd_state",
    "xclBOSyncDirection",
)
"""What the harness uses of pyxrt; runlists too, where a strategy submits several tiles at once."""


@dataclass(frozen=True)
class Probe:
    """What was found; `error` says why pyxrt can't be used, `open_error` why the device can't be opened.

    path: pyxrt's file. missing: names that this pyxrt does not have. name, host: what the open device says of itself,
    and of XRT, as JSON.
    """

    path: str = ""
    error: str = ""
    missing: tuple[str, ...] = ()
    runlists: bool = False
    opened: bool = False
    open_error: str = ""
    name: str = ""
    host: str = ""


def ask(index: int, *, opens: bool = True, timeout_s: float = TIMEOUT_S) -> Probe:
    """Probe device `index` in another process; `opens`: whether the device is opened, or pyxrt only imported."""
    command = [
        sys.executable,
        "-m",
        "harness.commands.doctor.probe",
        str(index),
        "open" if opens else "import",
    ]
    try:
        ended = process.run(command, timeout_s)
    except OSError as error:
        return Probe(error=f"no process can be started to look ({error})")
    found, silence = _last(ended.output), f"no answer within {timeout_s:g} s"
    if ended.code is not None:
        silence = f"its process ended with code {ended.code}"
    if not found.path and not found.error:
        return Probe(error=silence)
    if opens and not (found.error or found.open_error or found.opened):
        return replace(found, open_error=silence)
    return found


def _last(said: str) -> Probe:
    """The last line that is an answer, whatever else was printed; each replaces the one before."""
    for line in reversed(said.splitlines()):
        with suppress(ValueError, TypeError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict) and set(found) == {field.name for field in fields(Probe)}:
                return Probe(**{**found, "missing": tuple(found["missing"])})
    return Probe()


def look(index: int, opens: bool) -> None:
    """In the other process: answer on stdout, first of pyxrt, then of the device: one that hangs is known by that."""
    try:
        import pyxrt
    except Exception as error:
        _answer(Probe(error=f"{type(error).__name__}: {error}"))
        return
    missing = tuple(name for name in NEEDED if not hasattr(pyxrt, name))
    seen = Probe(
        path=str(getattr(pyxrt, "__file__", "?")),
        missing=missing,
        runlists=hasattr(pyxrt, "runlist"),
    )
    _answer(seen)
    if not opens:
        return
    try:
        device = pyxrt.device(index)
    except Exception as error:
        _answer(replace(seen, open_error=str(error).strip() or type(error).__name__))
        return
    told = {}
    for kind in ("name", "host"):
        with suppress(Exception):
            told[kind] = str(device.get_info(getattr(pyxrt.xrt_info_device, kind)))
    _answer(replace(seen, opened=True, name=told.get("name", ""), host=told.get("host", "")))


def _answer(found: Probe) -> None:
    sys.stdout.write(f"\n{json.dumps(asdict(found))}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    look(int(sys.argv[1]), sys.argv[2] == "open")
