"""Gathers what pyxrt says of itself, in the terms of tests/data/pyxrt_2_25.json.

The "about" of that file explains them. `PYTHONPATH=.:tests python -m contract.gather` prints the
file, made anew for the probes it holds, where pyxrt is installed and there is no NPU.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from support.surface import DATA, SURFACE, XCLBIN, normal, observe

Found = dict[str, Any]
_LISTED = re.compile(r"(?s)(?P<name>\w+)\(\): incompatible .*?supported:\n.*?(?=\n\n)")
DEFINED = "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0"
"""For GLIBC_TUNABLES: fills new memory.

An object that `__new__` makes without `__init__` holds what its memory held before. With that, a
call of a kernel was once an error in 25 runs instead of a crash, and sometimes never returned.
"""
_SELF = re.compile(r" 1\. (?:\(self: )?pyxrt\.(?P<owner>[\w.]+)")


def gathered(pyxrt: ModuleType) -> Found:
    """All of it."""
    found = {**SURFACE, "names": {}, "enums": {}, "signatures": {}, "probes": {}}
    found["names"] = {path: sorted(public(owner, found)) for path, owner in owners(pyxrt)}
    found["enums"] = {path: enumeration(pyxrt, path) for path in SURFACE["enums"]}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copy(DATA / XCLBIN, folder)
        for code in SURFACE["probes"]:
            found["probes"][code] = shortened(
                in_a_process_of_its_own(code, pyxrt), found["signatures"]
            )
    return found


def owners(pyxrt: ModuleType) -> Iterator[tuple[str, Any]]:
    """The module and its classes, by their paths."""
    yield "", pyxrt
    for path in SURFACE["names"]:
        if path:
            yield path, resolved(pyxrt, path)


def resolved(pyxrt: ModuleType, path: str) -> Any:
    owner: Any = pyxrt
    for part in path.split("."):
        owner = getattr(owner, part)
    return owner


def public(owner: Any, found: Found) -> list[str]:
    return [
        name for name in dir(owner) if not name.startswith("_") and name not in found["left out"]
    ]


def enumeration(pyxrt: ModuleType, path: str) -> Found:
    kind = resolved(pyxrt, path)
    holder = resolved(pyxrt, path.rpartition(".")[0]) if "." in path else pyxrt
    members = kind.__members__
    first = next(iter(members.values()))
    return {
        "members": {name: int(member) for name, member in members.items()},
        "str": [str(member) for member in members.values()],
        "repr": [repr(member) for member in members.values()],
        "equals its number": first == int(first),
        "hash is its number": hash(first) == int(first),
        "true": all(map(bool, members.values())),
        "exported": sorted(
            name
            for name in members
            if name in vars(holder) and isinstance(vars(holder)[name], kind)
        ),
    }


def in_a_process_of_its_own(code: str, pyxrt: ModuleType) -> Found:
    """What a probe does, or the signal that it ends the process with."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(observe(code, {"pyxrt": pyxrt, "X": XCLBIN})).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return {"ends": signal.Signals(status).name} if os.WIFSIGNALED(status) else json.loads(told)


def shortened(found: Found, signatures: dict[str, list[str]]) -> Found:
    """The same with its list of signatures kept among `signatures`."""
    if "text" in found:
        found["text"] = plain(found["text"])
        if listed := _LISTED.match(found["text"]):
            owner = _SELF.search(listed[0])
            path = f"{owner['owner']}.{listed['name']}" if owner else listed["name"]
            signatures[path] = listed[0].split("\n")
            found = {**found, "text": found["text"][listed.end() :].strip(), "signatures": path}
    return found


def plain(text: str) -> str:
    return normal(text.replace("typing.SupportsInt | typing.SupportsIndex", "int"))


def shown(found: Found) -> str:
    """As the file is laid out: a line for each thing, so that differences can be read."""

    def lines(value: Any) -> str:
        if not isinstance(value, dict):
            return json.dumps(value)
        return (
            "{\n"
            + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value[key])}" for key in value)
            + "\n }"
        )

    return (
        "{\n"
        + ",\n".join(f" {json.dumps(key)}: {lines(value)}" for key, value in found.items())
        + "\n}"
    )


if __name__ == "__main__":
    # glibc reads it when a process starts.
    if os.environ.get("GLIBC_TUNABLES") != DEFINED:
        command = [sys.executable, "-m", "contract.gather"]
        os.execve(command[0], command, {**os.environ, "GLIBC_TUNABLES": DEFINED})

    import pyxrt

    print(shown(gathered(pyxrt)))
