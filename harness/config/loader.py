"""Hydra's config loader, with one composition for all requests that choose the same presets.

A composition takes 0.15 s, a copy of one 0.02 s. Hydra composes a run twice, at first only to
read its mode, and each job of a sweep anew. The only module of this package that uses private
names of Hydra; tests/config/test_loader.py compares it with Hydra's own loader.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra._internal.hydra as application
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from harness.kernel.folders import own_preset_folders

MODE = "hydra.mode"
"""Hydra adds an override of this key between its two compositions of a run."""
SCHEMA = "schema"
"""Provider of Hydra's ConfigStore in the search path."""
Compositions = dict[tuple[str | None, tuple[str, ...], str], DictConfig]
"""By name of the configuration, overrides that choose presets, and Hydra's name of the job."""


class CachingLoader(ConfigLoaderImpl):
    """Composes once for each choice of presets; then copies, and sets the other keys.

    It finds the presets of the user's folders too. A preset is read once: changes of its file
    during a sweep have no effect.
    """

    compositions: Compositions

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        known = {each.path for each in config_search_path.get_path()}
        # Hydra itself takes one folder beside the harness's, that of --config-dir.
        for folder in own_preset_folders():
            if (path := f"file://{folder}") not in known:
                # The ConfigStore has to stay the last source.
                config_search_path.prepend("own", path, SCHEMA)
        super().__init__(config_search_path)

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """The configuration that Hydra's own loader composes.

        Without `validate_sweep_overrides`, for reading `hydra.mode` alone: other keys may differ.
        """
        parsed = OverridesParser.create().parse_overrides(overrides)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        fixed = [each for each in parsed if not each.is_sweep_override()]
        values = [each for each in fixed if self._sets_a_value(each)]
        choices = [each for each in fixed if not self._sets_a_value(each)]
        try:
            base = self._composed(config_name, choices)
        except (HydraException, OmegaConfBaseException):
            if run_mode is RunMode.RUN:
                raise
            base = None
        # `repository` lacks the groups of a search path. A sweep may choose a preset that the
        # defaults list leaves open, which Hydra allows with the run mode of a sweep only.
        if base is None or base.hydra.searchpath:
            return super().load_configuration(
                config_name, overrides, run_mode, from_shell, validate_sweep_overrides
            )
        # Hydra's `get_mode`, the only caller without these checks, drops all else.
        if not validate_sweep_overrides and MODE not in {each.key_or_group for each in values}:
            return base
        config = copy.deepcopy(base)
        config.hydra.runtime.cwd = str(Path.cwd())
        try:
            self._apply_overrides_to_config(values, config)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException from error
        _list_overrides(config, parsed)
        return config

    def _sets_a_value(self, override: Override) -> bool:
        """Whether an override only sets a key of the composed configuration."""
        if override.is_hydra_override():
            return override.key_or_group == MODE
        is_group = self.repository.group_exists(override.key_or_group)
        return override.package is None and (not is_group or isinstance(override.value(), dict))

    def _composed(self, config_name: str | None, choices: Sequence[Override]) -> DictConfig:
        texts = tuple(str(each.input_line) for each in choices)
        key = config_name, texts, str(JobRuntime.instance().get("name"))
        if key not in self.compositions:
            self.compositions[key] = super().load_configuration(
                config_name, list(texts), RunMode.RUN
            )
        return self.compositions[key]


def _list_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Store the overrides in the node `hydra`, as Hydra's loader does."""
    lists: dict[bool, list[str]] = {False: [], True: []}
    for each in overrides:
        lists[each.is_hydra_override()].append(str(each.input_line))
    with open_dict(config.hydra):
        config.hydra.overrides.task, config.hydra.overrides.hydra = lists[False], lists[True]
        options = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=[each for each in overrides if not each.is_hydra_override()],
            kv_sep=options.kv_sep,
            item_sep=options.item_sep,
            exclude_keys=options.exclude_keys,
        )


_compositions: Compositions = {}
"""Compositions of a process that runs jobs for another one."""


def loader_in_worker(path: ConfigSearchPath) -> CachingLoader:
    """The loader of a process that runs jobs for another one; `register` must have been called."""
    loader = CachingLoader(path)
    loader.compositions = _compositions
    return loader


@contextmanager
def caching_loader(compositions: Compositions | None = None) -> Iterator[None]:
    """Let Hydra use a CachingLoader in this context.

    compositions: of calls before, all with the same folders of presets.
    """
    known = {} if compositions is None else compositions
    own = vars(application)["ConfigLoaderImpl"]
    bound: type = type("CachingLoader", (CachingLoader,), {"compositions": known})
    setattr(application, "ConfigLoaderImpl", bound)  # noqa: B010 - mypy refuses to assign
    try:
        yield
    finally:
        setattr(application, "ConfigLoaderImpl", own)  # noqa: B010
