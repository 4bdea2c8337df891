"""Runs the jobs of a sweep one after another in this process.

`hydra.core.utils.run_job` copies a configuration four times and dumps all of `hydra.yaml` for each
job, which takes longer than a small experiment. `SerialJobs` does the same for a job without the
copies; tests/commands/test_serial_jobs.py compares what both leave behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, env_override, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

TaskFunction = Callable[[DictConfig], Any]


class SerialJobs:
    """The jobs of one sweep, whose configuration is `master`.

    `task` gets a job's configuration with the node `hydra`, which Hydra's own launcher takes out.
    """

    def __init__(self, context: HydraContext, task: TaskFunction, master: DictConfig) -> None:
        self._context, self._task, self._master = context, task, master
        self._texts: dict[tuple[str, ...], tuple[str, str]] = {}

    def run(self, overrides: Sequence[str], number: int) -> None:
        """Run one job; raises what the job raises."""
        setup_globals()
        config = self._context.config_loader.load_sweep_config(self._master, list(overrides))
        with read_write(config), open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        state: Any = HydraConfig.instance()
        current, outer = Path.cwd(), state.cfg
        # Where the resolver ${hydra:...} and the job look it up.
        state.cfg = config
        try:
            self._run_in(Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir)), config)
        finally:
            state.cfg = outer
            os.chdir(current)
            configure_log(self._master.hydra.hydra_logging, self._master.hydra.verbose)

    def _run_in(self, folder: Path, config: DictConfig) -> None:
        hydra = config.hydra
        with read_write(hydra.runtime), open_dict(hydra.runtime):
            hydra.runtime.output_dir = os.path.abspath(folder)  # noqa: PTH100 - `absolute` keeps ".."
        folder.mkdir(parents=True, exist_ok=True)
        if hydra.output_subdir is not None:
            self._save(config, folder / hydra.output_subdir)
        if hydra.job.chdir:
            os.chdir(folder)
        configure_log(hydra.job_logging, hydra.verbose)
        with env_override(hydra.job.env_set):
            self._call(config)

    def _call(self, config: DictConfig) -> None:
        """Call the task between the callbacks of the configuration; raises what the task raises."""
        callbacks = self._context.callbacks
        overrides = list(config.hydra.overrides.task)
        result = JobReturn(overrides=overrides, cfg=config, hydra_cfg=config)
        callbacks.on_job_start(config=config, task_function=self._task)
        try:
            result.return_value = self._task(config)
            result.status = JobStatus.COMPLETED
        except Exception as error:
            result.return_value = error
            result.status = JobStatus.FAILED
            raise
        finally:
            if result.status is not JobStatus.UNKNOWN:
                callbacks.on_job_end(config=config, job_return=result)

    def _save(self, config: DictConfig, folder: Path) -> None:
        """Write the three files of a job that Hydra writes."""
        plain = cast(dict[str, Any], OmegaConf.to_container(config, enum_to_str=True))
        hydra = plain.pop("hydra")
        job = [self._yaml(value, key) for key, value in plain.items()]
        parts = [self._yaml(value, "hydra", key) for key, value in hydra.items()]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text("".join(job), "utf-8")
        (folder / "hydra.yaml").write_text("".join(["hydra:\n", *parts]), "utf-8")
        tasks = OmegaConf.to_yaml(hydra["overrides"]["task"])
        (folder / "overrides.yaml").write_text(tasks, "utf-8")

    def _yaml(self, value: Any, *path: str) -> str:
        """The lines of one key of a file; most of them are those of the job before."""
        # True == 1, but not as text.
        text = repr(value)
        before, lines = self._texts.get(path, ("", ""))
        if text != before:
            for key in reversed(path):
                value = {key: value}
            lines = OmegaConf.to_yaml(value).removeprefix("hydra:\n")
            self._texts[path] = text, lines
        return lines
