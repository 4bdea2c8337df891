"""Copies configurations in fewer steps than OmegaConf: Hydra copies six times for each command.

tests/config/test_config_copies.py compares the copies with OmegaConf's.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

from omegaconf import DictConfig, ListConfig
from omegaconf.base import Metadata, Node
from omegaconf.nodes import AnyNode, BooleanNode, EnumNode, FloatNode, IntegerNode, StringNode

Memo = dict[int, Any]
VALUES = (AnyNode, BooleanNode, EnumNode, FloatNode, IntegerNode, StringNode)
CONTAINERS = (DictConfig, ListConfig)
ORIGINAL = {cls: vars(cls)["__deepcopy__"] for cls in (*VALUES, *CONTAINERS)}
"""OmegaConf's own; its Metadata has none."""


def install() -> None:
    """Let `copy.deepcopy` of a configuration call no constructors, and share its types."""
    Metadata.__deepcopy__ = _metadata
    for value in VALUES:
        value.__deepcopy__ = _node
    for container in CONTAINERS:
        container.__deepcopy__ = _container


def _twin(node: Any) -> Any:
    """A shallow copy."""
    twin = object.__new__(type(node))
    twin.__dict__.update(node.__dict__)
    return twin


def _metadata(self: Metadata, memo: Memo) -> Metadata:
    twin: Metadata = _twin(self)
    twin.flags = copy.deepcopy(self.flags, memo)
    if self.resolver_cache:
        twin.resolver_cache = copy.deepcopy(self.resolver_cache, memo)
    else:
        twin.resolver_cache = defaultdict(dict)
    return twin


def _node(self: Node, memo: Memo) -> Node:
    twin: Node = _twin(self)
    twin.__dict__.update(_metadata=copy.deepcopy(self._metadata, memo), _flags_cache=None)
    return twin


def _container(self: DictConfig | ListConfig, memo: Memo) -> Any:
    twin = _twin(self)
    own, content = twin.__dict__, self.__dict__["_content"]
    own["_metadata"] = copy.deepcopy(self._metadata, memo)
    own["_flags_cache"] = copy.deepcopy(own["_flags_cache"], memo)
    if isinstance(content, dict):
        own["_content"] = {key: _child(node, twin, memo) for key, node in content.items()}
    elif isinstance(content, list):
        own["_content"] = [_child(node, twin, memo) for node in content]
    return twin


def _child(node: Node, parent: Any, memo: Memo) -> Node:
    twin = copy.deepcopy(node, memo)
    twin.__dict__["_parent"] = parent
    return twin
