"""Launchers that run the jobs of a sweep in other processes: joblib, Ray, Slurm."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from harness.commands.terminal import Presentation
from harness.config.device import ClockKind
from harness.config.explain import LAUNCHER_EXTRAS
from harness.config.schema import Config
from harness.errors import RequestError, with_extra
from harness.kernel.folders import VARIABLE
from harness.tracking.store import PARENT_VARIABLE, SWEPT_VARIABLE

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
OF_SWEEP = (PARENT_VARIABLE, SWEPT_VARIABLE, VARIABLE)
"""Variables that each process of a sweep needs: its runs of MLflow, and the user's folders."""
NPU = "npu"
"""Resource of Ray, and generic resource of Slurm, that gives a job a device of its own."""


class Worker(Protocol):
    """What runs jobs: an `Invocation`."""

    presentation: Presentation
    here: Path

    def job(self, cfg: DictConfig) -> None:
        """Run one job."""


class Task:
    """The function that Hydra calls for each job; a copy in another process has its own worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __call__(self, cfg: DictConfig) -> None:
        """Run one job."""
        self._worker.job(cfg)

    def __reduce__(self) -> tuple[Any, ...]:
        module = type(self._worker).__module__
        known = {name: os.environ[name] for name in OF_SWEEP if name in os.environ}
        return _remote_task, (module, self._worker.presentation, self._worker.here, *known.items())


def _remote_task(
    module: str, presentation: Presentation, here: Path, *variables: tuple[str, str]
) -> Task:
    """The function in another process: its relative paths start at the folder of the sweep."""
    os.environ.update(variables)  # each time: sweeps of one program share processes
    return _task(module, presentation, here, *variables)


@cache  # the jobs of one process share the worker, and so its open store of MLflow
def _task(module: str, presentation: Presentation, here: Path, *_: tuple[str, str]) -> Task:
    return Task(import_module(module).Invocation([], presentation, here))


def check_launcher(launcher: DictConfig) -> None:
    """RequestError if a package that a launcher needs is not installed."""
    plugins, _, rest = str(launcher.get("_target_")).partition(".")
    module = rest.partition(".")[0]
    package = module.removeprefix("hydra_").removesuffix("_launcher")
    if plugins != "hydra_plugins" or package not in LAUNCHER_EXTRAS:
        return
    try:
        import_module(f"{plugins}.{module}")
        import_module(package)
    except ImportError as error:
        remedy = with_extra(LAUNCHER_EXTRAS[package])
        raise RequestError(f"hydra/launcher: {error.name} is not installed; {remedy}") from error


def measures_real_time(config: Config) -> bool:
    """Whether a job's times would change with other work on this machine."""
    return getattr(config.device, "clock", ClockKind.wall) is not ClockKind.virtual


def check_alone(config: Config, launcher: DictConfig) -> None:
    """RequestError if jobs that measure real time would run side by side on one device."""
    alone = launcher.get("_target_") == BASIC or _gives_npu(launcher)
    if alone or not measures_real_time(config):
        return
    clock = getattr(config.device, "clock", None)
    what = f"device={config.device.kind}" + (f" device.clock={clock.value}" if clock else "")
    raise RequestError(
        f"{what} hydra/launcher: this launcher runs jobs side by side, which would disturb each "
        "other's times; use hydra/launcher=basic, or a launcher whose jobs ask for a device: "
        "ray_npu, slurm_npu"
    )


def _gives_npu(launcher: DictConfig) -> bool:
    """Whether each job asks its cluster for a device."""
    count = OmegaConf.select(launcher, f"ray.remote.resources.{NPU}")
    return bool(count and count >= 1) or NPU in str(launcher.get("gres") or "").split(":")
