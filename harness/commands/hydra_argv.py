"""The arguments of a run before Hydra parses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path

from harness.commands.terminal import FORMATS, PRESENTATION_FLAGS, QUIET, VERBOSE, Presentation
from harness.config.compose import conf_dir
from harness.config.explain import explain
from harness.config.schema import Config
from harness.config.sources import Sources, shown
from harness.errors import RequestError
from harness.kernel.folders import own_preset_folders
from harness.study.roadmap import PHASES

BOTH_ACCOUNTINGS = "workload.accounting=guide,full"
OF_ONE_ACCOUNTING = (
    "accounting",
    "model",
    "kernel",
    "chain",
    "links",
    "matmul",
    "attention",
    "layer",
    "weights",
)
"""Keys of a workload that choose an accounting, or exist in one only."""
KEYS = {*(item.name for item in fields(Config)), "experiment"}


LOG_LEVEL = "hydra.job_logging.handlers.terminal.level=DEBUG"
"""The override that sends all log messages of the harness to stderr."""


def take_presentation(arguments: Sequence[str]) -> tuple[list[str], Presentation]:
    """The arguments without PRESENTATION_FLAGS, and what these flags ask for.

    RequestError for two forms of the table at once.
    """
    forms = list(dict.fromkeys(text for text in arguments if text in FORMATS))
    if len(forms) > 1:
        raise RequestError(f"{' '.join(forms)}: several forms of one table; give one")
    presentation = Presentation(
        form=FORMATS[forms[0]] if forms else "text",
        quiet=any(text in QUIET for text in arguments),
        verbose=any(text in VERBOSE for text in arguments),
    )
    # Hydra's parser would refuse the flags; --quiet and --verbose mean nothing to it.
    rest = [text for text in arguments if text not in PRESENTATION_FLAGS]
    return rest + [LOG_LEVEL] * presentation.verbose, presentation


def config_dir(arguments: Sequence[str]) -> Path | None:
    """The value of `--config-dir`; None without one."""
    for text, value in zip_longest(arguments, arguments[1:], fillvalue=""):
        # Read before Hydra parses: its own error for a missing folder names no remedy.
        if text in ("--config-dir", "-cd") and value:
            return Path(value)
        if text.startswith("--config-dir="):
            return Path(text.partition("=")[2])
    return None


def check_config_dir(folder: Path | None) -> None:
    """RequestError unless the folder of `--config-dir` exists; None is allowed."""
    if folder and not folder.is_dir():
        wrong = "not a folder" if folder.exists() else "no such folder"
        raise RequestError(
            f"--config-dir={folder}: {wrong}; give the folder of your own presets, which has a "
            "folder for each group, as in FOLDER/strategy/mine.yaml"
        )


def check_readable(error: OSError, *folders: Path | None) -> None:
    """RequestError if an error of Hydra is about a preset, which is in one of `folders`."""
    path = Path(error.filename or "").absolute()
    if any(path.is_relative_to(each.absolute()) for each in folders if each) and path.is_file():
        raise RequestError(
            f"{shown(path)}: cannot be read ({error.strerror}); change its permissions"
        ) from error


def overrides_last(arguments: Sequence[str]) -> list[str]:
    """Flags before overrides, because Hydra's parser takes overrides in one piece only."""
    is_override = {text: "=" in text and not text.startswith("-") for text in arguments}
    # sorted() is stable: of two overrides of one key, the last one must stay the last.
    return sorted(arguments, key=lambda text: is_override[text])


def both_accountings(arguments: Sequence[str]) -> str:
    """The override that a sweep over phases adds: the roadmap takes both accountings.

    Empty where the arguments choose an accounting, or a workload that has only one.
    """
    keys = {text.partition("=")[0] for text in arguments}
    swept = [text.partition("=")[2].split(",") for text in arguments if text.startswith("phase=")]
    phases = len(swept) == 1 and len(swept[0]) > 1 and set(swept[0]) <= set(PHASES)
    chosen = keys & {"workload", "experiment", *(f"workload.{key}" for key in OF_ONE_ACCOUNTING)}
    return BOTH_ACCOUNTINGS if phases and not chosen and keys & {"-m", "--multirun"} else ""


def is_word(text: str) -> bool:
    """Whether an argument is neither a flag nor an override: key=value, or ~key."""
    return "=" not in text and not text.startswith(("-", "~"))


def is_key(word: str) -> bool:
    """Whether the first part of a word is a key of the configuration."""
    return word.lstrip("+").partition(".")[0] in KEYS


def refuse_words(words: Sequence[str], command: Callable[[str], object]) -> None:
    """RequestError for a positional argument that is not an override.

    command: the command with a name, or None. To import all of them takes 0.2 s.
    """
    for word, value in zip_longest(words, words[1:], fillvalue=""):
        if not is_word(word):
            continue
        if command(word):
            raise RequestError(f"{word}: a command is the first argument; write harness {word} ...")
        if not is_key(word):
            raise RequestError(f"{word}: not an override; write key=value")
        if value and is_word(value):
            raise RequestError(f"{word} {value}: write {word}={value}")
        raise RequestError(f"{word}: no value; write {word}=<value>")


def explained(error: Exception, arguments: Sequence[str]) -> str:
    """The message about a wrong request, with overrides as typed."""
    overrides = [text for text in arguments if "=" in text and not text.startswith("-")]
    return explain(error, Sources(tuple(overrides), conf_dir(), own_preset_folders()))
