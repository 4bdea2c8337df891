"""Search for the best setting of the knobs, and measure as few of them as possible."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from harness.commands.hydra_argv import check_config_dir, config_dir, is_key, take_presentation
from harness.commands.parser import Parser
from harness.commands.tune_invocation import TuneInvocation
from harness.errors import RequestError
from harness.study.tune import objective_of, require_optuna

HELP = "search for the best knobs of a workload, with few runs"
OBJECTIVE, TRIALS = "objective", "trials"
DEFAULTS = {OBJECTIVE: "time/tile_ms", TRIALS: "50"}
EPILOG = """\
The knobs are strategy.buffers, depth, strategy.batch, strategy.prefetch, strategy.columns and
strategy.resident; without an override, a knob has the values of its schema. depth=1,2,4 or
depth=range(1,9) gives the values to try, and depth=2 fixes the knob. strategy=pooled,pipelined
tries these presets as they are.
Example: python -m harness tune workload=gelu objective=time/tile_ms trials=20 depth=range(1,5)"""


def _help() -> Parser:
    description = "Search for the best setting of the knobs of a strategy."
    parser = Parser("tune", description, EPILOG, tables=True)
    parser.add_argument(
        "objective=METRIC", nargs="?", help=f"metric to optimise ({DEFAULTS[OBJECTIVE]})"
    )
    parser.add_argument("trials=N", nargs="?", help=f"settings to measure ({DEFAULTS[TRIALS]})")
    parser.add_argument("key=value", nargs="*", help="overrides, as a run takes them")
    return parser


def _taken(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments without those of this command, and their values."""
    own, rest = dict(DEFAULTS), list[str]()
    for text in arguments:
        key, separator, value = text.partition("=")
        if separator and key in own:
            own[key] = value
        elif separator and not is_key(key) and (close := get_close_matches(key, own, n=1)):
            raise RequestError(f"{key}={value}: unknown key; did you mean {close[0]}={value}?")
        elif text not in ("-m", "--multirun"):
            rest.append(text)
    return rest, own


def main(arguments: Sequence[str]) -> int:
    """Search, measure and print; returns the exit code."""
    if {"--help", "-h"} & set(arguments):
        _help().print_help()
        return 0
    check_config_dir(config_dir(arguments))
    rest, presentation = take_presentation(arguments)
    rest, own = _taken(rest)
    if not own[TRIALS].isdigit() or not int(own[TRIALS]):
        raise RequestError(f"trials={own[TRIALS]}: not allowed; give a whole number from 1")
    objective_of(own[OBJECTIVE])
    require_optuna()
    invocation = TuneInvocation(
        ["-m", *rest], presentation, objective_name=own[OBJECTIVE], trials=int(own[TRIALS])
    )
    return invocation.execute()
