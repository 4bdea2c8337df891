"""Errors of Hydra and OmegaConf in one line: another version of either may change their wording."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from harness.config.compose import load
from harness.config.explain import EXPLANATIONS
from harness.errors import RequestError

INSTALLED = ", ".join(f"{name} {version(name)}" for name in ("hydra-core", "omegaconf"))
REQUESTS = {
    "strategy=pipelind": "strategy=pipelind: no such option; did you mean pipelined?",
    "devise=hardware": "devise=hardware: unknown key; did you mean device?",
    "device.indx=1": "device.indx=1: unknown key; device=hardware has index; ",
    "strategy.depht=2": "strategy.depht=2: unknown key; did you mean depth?",
    "device.exec_ns.toy=1": "device.exec_ns.toy=1: no such key; +device.exec_ns.toy=1 adds it",
    "verify=al": "verify=al: not allowed; did you mean all?",
    "depth=deep": "depth=deep: not allowed; give a value of type Integer",
    "strategy.batch=???": "strategy.batch: missing; it needs a value",
    "strategy.batch=${none}": "strategy.batch: refers to none, which does not exist",
    "phase.name=null": "phase.name=null: not allowed; it needs a value",
    "device.exec_ns=3": "device.exec_ns=3: takes a value for each name",
    "depth=1,2": "depth=1,2: several values; give one",
    "depth": "depth: no value; give depth=<value>",
}


def refusal(request: str) -> RequestError:
    with pytest.raises(RequestError) as raised:
        load(request)
    return raised.value


@pytest.mark.parametrize("request_text", REQUESTS)
def test_a_wrong_request_is_explained(request_text: str) -> None:
    said = str(refusal(request_text))
    assert said.startswith(REQUESTS[request_text]), f"the wording changed with {INSTALLED}: {said}"
    assert "\n" not in said


def test_every_pattern_is_of_the_installed_wording() -> None:
    texts = []
    for request in REQUESTS:
        error: BaseException | None = refusal(request)
        chain = []
        while error is not None:
            chain.append(str(error))
            error = error.__cause__
        texts.append("\n".join(chain[1:]))  # the first is the explanation
    unmatched = [
        pattern for pattern in EXPLANATIONS if not any(re.search(pattern, text) for text in texts)
    ]
    assert unmatched == [], f"the wording of {INSTALLED} fits none of these"
