"""Errors of Hydra and OmegaConf in one line: another version of either may change their wording."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.config.compose import load
from harness.config.explain import EXPLANATIONS
from harness.config.unknown_key import all_unknown_keys
from harness.errors import RequestError

INSTALLED = ", ".join(f"{name} {version(name)}" for name in ("hydra-core", "omegaconf"))
REQUESTS = {
    "strategy=pipelind": "strategy=pipelind: no such option; did you mean pipelined?",
    "devise=hardware": "devise=hardware: unknown key; did you mean device=hardware?",
    "device.indx=1": "device.indx=1: unknown key; device=hardware has device.index; ",
    "strategy.depht=2": "strategy.depht=2: unknown key; did you mean strategy.depth=2?",
    "devise=1": "devise=1: unknown key; did you mean device=1? Allowed: depth, device, experiment",
    "uri=x": "uri=x: unknown key; did you mean tracking.uri=x?",
    "+batc=4": "+batc=4: unknown key; did you mean strategy.batch=4?",
    "++columns=4": "++columns=4: unknown key; did you mean strategy.columns=4?",
    "strategy={dept:1}": "strategy={dept:1}: unknown key; did you mean depth? Allowed: batch, ",
    "experiment.x=1": "experiment.x=1: experiment has no keys; give the name of a preset, ",
    "device.exec_ns.gleu=1": (
        "device.exec_ns.gleu=1: no such kernel; did you mean device.exec_ns.gelu=1? Allowed: "
    ),
    "+device.exec_ns.gleu=1": (
        "+device.exec_ns.gleu=1: no such kernel; did you mean device.exec_ns.gelu=1?"
    ),
    "device.insts.gleu=a": "device.insts.gleu=a: no such kernel; did you mean device.insts.gelu=a",
    "device.exec_ns.matmul_32=1": (
        "device.exec_ns.matmul_32=1: no such kernel; did you mean device.exec_ns.matmul"
    ),
    "workload.links.gleu=pad": (
        "workload.links.gleu=pad: no such kernel; did you mean workload.links.gelu=pad?"
    ),
    "workload.links.gelu=pad": (
        "workload.links.gelu=pad: no such key; +workload.links.gelu=pad adds it"
    ),
    "device.clock_mhz.trubo=1": (
        "device.clock_mhz.trubo=1: not a power mode; did you mean device.clock_mhz.turbo=1?"
    ),
    "device.noise=true": "device.noise=true: has keys of its own; give device.noise.<key>=<value>",
    "device.faults=[3]": "device.faults=[3]: has keys of its own; give device.faults.<key>=<value>",
    "verify=al": "verify=al: not allowed; did you mean all?",
    "depth=deep": "depth=deep: not allowed; give a whole number",
    "depth=1e3": "depth=1e3: not allowed; give a whole number, such as 1000",
    "device.noise.tight_pct=few": "device.noise.tight_pct=few: not allowed; give a number",
    "workload.fused=maybe": "workload.fused=maybe: not allowed; give true or false",
    "device.noise.enabled=7": "device.noise.enabled=7: not allowed; give true or false",
    "+strategy.resident=-1": "+strategy.resident=-1: not allowed; give true or false",
    "strategy.buffers=[1]": "strategy.buffers=[1]: not allowed; allowed: per_tile, pooled",
    "device.faults.hang=[a]": "device.faults.hang=[a]: not allowed; give a whole number",
    "device.faults.hang=1": "device.faults.hang=1: not a list; give device.faults.hang=[1]",
    "workload.kernel=[gelu]": "workload.kernel=[gelu]: not allowed; give one value, no brackets",
    "+foo=1": "+foo=1: unknown key; allowed: depth, device, ",
    "++strategy.foo=1": "++strategy.foo=1: unknown key; allowed: batch, buffers, ",
    "~foo": "~foo: no such key; --cfg job shows the keys",
    "strategy=": "strategy=: no such option; allowed: baseline, batch, ",
    "strategy=[a,b]": "strategy=[a,b]: a list; give one option of strategy, without brackets",
    "strategy=[pooled]": "strategy=[pooled]: a list; give one option of strategy, without brackets",
    "+seed=3": "+seed=3: seed has a value already; leave out the +",
    "+strategy=pooled": "+strategy=pooled: strategy has a value already; leave out the +",
    "tracking=true": "tracking=true: not the name of an option; allowed: local, off, server",
    "device=null": (
        "device=null: not the name of an option; "
        "allowed: cpu, hardware, phoenix_2026, phoenix_guide, simulator, strix"
    ),
    "depth=1,,2": "depth=1,,2: an empty value in a list; write one comma between values",
    "depth=1,": "depth=1,: an empty value in a list; write one comma between values",
    "workload.source=a=b": (
        "workload.source=a=b: special characters in the value; put it in quotes, and all of it in "
        "quotes of the shell: 'workload.source=\"a=b\"'"
    ),
    "workload.source='a": "workload.source='a: quotes do not match; ",
    "depth=choice(1,2)": "depth=choice(1,2): several values; give one",
    "strategy.batch=???": "strategy.batch: missing; it needs a value",
    "strategy.batch=${none}": "strategy.batch: refers to none, which does not exist",
    "phase.name=null": "phase.name=null: not allowed; it needs a value",
    "device.exec_ns=3": "device.exec_ns=3: takes a value for each name",
    "device.exec_ns=[3]": "device.exec_ns=[3]: takes a value for each name",
    "depth=1,2": "depth=1,2: several values; give one",
    "depth": "depth: no value; give depth=<value>",
}
FILES = {
    "- 1\n": "not a mapping; give a line KEY: VALUE for each key",
    "device:\n  noise: true\n": "device.noise: not a mapping; give a line KEY: VALUE for each key",
    "depth: null\n": "depth=null: not allowed; it needs a value",
    "dept: 1\n": "dept: unknown key; did you mean depth?",
    "depth: deep\n": "depth=deep: not allowed; give a whole number",
    "workload:\n  chain: gelu\n": "workload.chain: not a list; in YAML, give a list in brackets",
    "defaults:\n- override /stratgy: batch\n": (
        "override /stratgy: no such group; did you mean strategy?"
    ),
}
"""Content of an experiment -> the message after the file's name."""


def refusal(request: str) -> RequestError:
    with pytest.raises(RequestError) as raised:
        load(request)
    return raised.value


@pytest.mark.parametrize("request_text", REQUESTS)
def test_a_wrong_request_is_explained(request_text: str) -> None:
    said = str(refusal(request_text))
    assert said.startswith(REQUESTS[request_text]), f"the wording changed with {INSTALLED}: {said}"
    assert "\n" not in said


def test_an_unknown_key_with_several_values_is_named_once() -> None:
    message = all_unknown_keys(
        "strategi=a: unknown key; did you mean strategy=a?",
        ["strategi=a,b", "dpth=2"],
        "strategi=a",
    )
    assert message.count("strategi") == 1
    assert "dpth=2: unknown key; did you mean depth=2?" in message


def test_all_unknown_keys_are_reported_at_once() -> None:
    wrong = ("strategy.depht=2", "workload.tils=3", "device.noise.enabld=true", "seeed=1")
    right = ("device.index=0", "device.launch_ns=1", "depth=2", "experiment=guide_pooled")
    with pytest.raises(RequestError) as raised:
        load(*wrong, *right)
    assert str(raised.value) == (
        "strategy.depht=2: unknown key; did you mean strategy.depth=2?; "
        "workload.tils=3: unknown key; did you mean workload.tiles=3?; "
        "device.noise.enabld=true: unknown key; did you mean device.noise.enabled=true?; "
        "seeed=1: unknown key; did you mean seed=1?"
    )


def refusal_of_file(folder: Path, content: str) -> RequestError:
    path = folder / "experiment" / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# @package _global_\n{content}")
    with pytest.raises(RequestError) as raised:
        load(f"hydra.searchpath=[file://{folder}]", "experiment=mine")
    return raised.value


@pytest.mark.parametrize("content", FILES)
def test_a_wrong_file_is_explained(tmp_path: Path, content: str) -> None:
    assert str(refusal_of_file(tmp_path, content)).startswith(FILES[content])


def test_every_pattern_is_of_the_installed_wording(tmp_path: Path) -> None:
    texts = []
    refusals = [refusal(request) for request in REQUESTS]
    for each in [*refusals, *(refusal_of_file(tmp_path, content) for content in FILES)]:
        error: BaseException | None = each
        chain = []
        while error is not None:
            chain.append(str(error))
            error = error.__cause__
        texts.append("\n".join(chain[1:]))  # the first is the explanation
    unmatched = [
        pattern for pattern in EXPLANATIONS if not any(re.search(pattern, text) for text in texts)
    ]
    assert unmatched == [], f"the wording of {INSTALLED} fits none of these"
