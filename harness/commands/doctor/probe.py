"""Import pyxrt and open the device in another process, which may hang or crash."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace

from harness.device.host import process

TIMEOUT_S = 20
"""Opening takes milliseconds; after an idle suspend it reloads firmware, in less than a second."""
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
"""Names of pyxrt that the harness uses; strategies with batch > 1 also use runlist."""


@dataclass(frozen=True)
class Probe:
    """What another process reported about pyxrt and the device.

    path: pyxrt's file. error: why pyxrt cannot be used. missing: names that this pyxrt lacks.
    open_error: why the device cannot be opened. name: of the open device. host: XRT, as JSON.
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
    """Probe device `index` in another process; opens: False only imports pyxrt."""
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
        return Probe(error=f"no process can be started for it ({error})")
    answer, silence = _last(ended.output), f"no answer within {timeout_s:g} s"
    if ended.code is not None:
        silence = f"its process ended with code {ended.code}"
    if not answer.path and not answer.error:
        return Probe(error=silence)
    # Only the first line came: the process hung or crashed when it opened the device.
    if opens and not (answer.error or answer.open_error or answer.opened):
        return replace(answer, open_error=silence)
    return answer


def _last(output: str) -> Probe:
    """The last line of the output that is a Probe; each replaces the one before."""
    for line in reversed(output.splitlines()):
        with suppress(ValueError, TypeError, RecursionError):
            content = json.loads(line)
            if isinstance(content, dict) and set(content) == {
                field.name for field in fields(Probe)
            }:
                return Probe(**{**content, "missing": tuple(content["missing"])})
    return Probe()


def look(index: int, opens: bool) -> None:
    """In the other process: print a Probe for pyxrt, then one for the device.

    A device that hangs when it is opened leaves only the first.
    """
    try:
        import pyxrt
    # What a compiled module raises depends on how it was built.
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
    properties = {}
    for kind in ("name", "host"):
        with suppress(Exception):
            properties[kind] = str(device.get_info(getattr(pyxrt.xrt_info_device, kind)))
    _answer(
        replace(seen, opened=True, name=properties.get("name", ""), host=properties.get("host", ""))
    )


def _answer(answer: Probe) -> None:
    # XRT prints to stdout too, and may leave a line open.
    sys.stdout.write(f"\n{json.dumps(asdict(answer))}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    look(int(sys.argv[1]), sys.argv[2] == "open")
