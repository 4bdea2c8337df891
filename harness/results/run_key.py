"""The key of a run: what decides its results. Runs with equal keys need not run twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from harness.config.device import ClockKind
from harness.config.stored import workload_of
from harness.device.cpu.compiler import version_of
from harness.device.host import sysfs
from harness.errors import RequestError
from harness.inputs.check import RANDOM, States, input_files, states_of
from harness.inputs.speech import SPEECH
from harness.kernel import KernelSpec, kernel_hash, kernels_root, load_kernel
from harness.kernel.folders import DECLARATIONS, conf_root
from harness.results.environment import environment
from harness.results.identity import config_hash
from harness.units import BYTES_PER_MIB

PACKAGE = Path(__file__).parent.parent
NOT_CODE = {"__pycache__", "build", "conf"}
"""Folders without code: compiled files, and presets, whose values the configuration holds."""
MOST_HASHED_BYTES = 256 * BYTES_PER_MIB
"""Most bytes of a file of tiles that are read for a key."""
FIRMWARE = "fw_version"
"""File of the driver with the version of the device's firmware."""


def run_key(config: Mapping[str, Any]) -> str:
    """sha256 of a resolved configuration, its files, the code that runs it, and its device.

    Of kernels of the user, their declarations and code too, and the compiled files that they name.
    """
    parts = [config_hash(config), code_hash(), device_fingerprint(config["device"])]
    parts += filter(None, [input_hashes(config.get("workload", {})), own_kernels(config)])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def input_hashes(workload: Mapping[str, Any]) -> dict[str, str]:
    """sha256 of the content of each file that a workload names, by its path.

    A file is read again only after its size or time of change has changed. Of a file larger than
    MOST_HASHED_BYTES, size, time of change and beginning count.
    """
    paths = list(input_files(workload.get("source", SPEECH), workload.get("constants", "")))
    if (weights := workload.get("weights", RANDOM)) != RANDOM:
        paths.append(weights)
    return {each: _content_hash(each, states_of(each)) for each in paths if Path(each).is_file()}


@cache
def _content_hash(path: str, states: States) -> str:
    with Path(path).open("rb") as file:
        if all(size <= MOST_HASHED_BYTES for _, size in states):
            return hashlib.file_digest(file, "sha256").hexdigest()
        # A run reads the first tiles only; the whole file would take minutes.
        return hashlib.sha256(repr(states).encode() + file.read(MOST_HASHED_BYTES)).hexdigest()


@cache
def code_hash() -> str:
    """sha256 of all files of the harness and of its kernels, with uncommitted changes."""
    folders = PACKAGE, kernels_root(), conf_root() / DECLARATIONS
    return _hash_of(path for folder in folders for path in _files(folder))


def kernel_hashes(config: Mapping[str, Any]) -> dict[str, str]:
    """`kernel_hash` of each kernel of a resolved configuration that can be loaded, by name."""
    hashes = dict[str, str]()
    for name in dict.fromkeys(_kernels_of(config)):
        # A file that cannot be read must not cost the record.
        with suppress(RequestError, OSError):
            hashes[name] = kernel_hash(name)
    return hashes


def kernel_of_run(name: str, hashes: Mapping[str, str]) -> KernelSpec:
    """Kernel `name` of a stored run; RequestError if it has changed since, or does not exist.

    hashes: `kernel_hashes` of the record. They are empty in records of schemas 1 to 6: of those,
    the kernel of now is returned.
    """
    spec = load_kernel(name)
    if hashes and hashes.get(name) != kernel_hash(name):
        raise RequestError(f"kernel {name}: has changed since the run; run it again")
    return spec


def are_unchanged(names: Iterable[str], hashes: Mapping[str, str]) -> bool:
    """Whether the kernels of a stored run are those of now; as `kernel_of_run`."""
    try:
        for name in names:
            kernel_of_run(name, hashes)
    except RequestError:
        return False
    return True


def own_kernels(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """What decides the results of the user's kernels: `kernel_hash`, and a hash of their files."""
    own = dict[str, list[str]]()
    for name in dict.fromkeys(_kernels_of(config)):
        with suppress(RequestError):
            if (spec := load_kernel(name)).own:
                files = [each for each in (spec.files.xclbin, spec.files.insts) if each]
                # Only an NPU runs the compiled files.
                files = files if "index" in config["device"] else []
                own[name] = [kernel_hash(name), _hash_of(files)]
    return own


def _kernels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return workload_of(config).kernels
    except (RequestError, KeyError):  # such a request does not run
        return ()


def device_fingerprint(device: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the times of a device besides its settings.

    In virtual time, only the versions of Python and numpy, which draw the random numbers. In real
    time also this machine; of an NPU, its driver, its firmware, and the content of the xclbins; of
    the processor, its model, those that this process may use, and the version of the compiler.
    """
    here = environment()
    fingerprint: dict[str, Any] = {"python": here.python, "numpy": here.packages["numpy"]}
    if device.get("clock") == ClockKind.virtual.value:
        return fingerprint
    fingerprint |= {"machine": [here.host, here.kernel, here.machine, here.cpu_count]}
    if "index" in device:
        address = sysfs.bdf(device["index"])
        firmware = sysfs.of_device(address, FIRMWARE)
        fingerprint |= {"npu": [address, sysfs.driver_version(), firmware]}
        fingerprint |= {"kernels": _hash_of(_kernel_files(device))}
    if "compiler" in device:
        model, allowed = sysfs.processor_model(), sorted(os.sched_getaffinity(0))
        fingerprint |= {"processor": [model, allowed, version_of(device["compiler"])]}
    return fingerprint


def _kernel_files(device: Mapping[str, Any]) -> list[Path]:
    """The xclbins and instructions that a device may load."""
    named = [*device["xclbin"].values(), *device["insts"].values()]
    paths = [*sorted(Path(device["kernels_dir"]).glob("*")), *map(Path, named)]
    return [path for path in paths if path.is_file()]


def _files(folder: Path) -> Iterable[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - NOT_CODE)
        yield from (Path(place, name) for name in sorted(names))


def _hash_of(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:  # a run with this file fails
            content = repr(error).encode()
        digest.update(f"{path.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()
