"""One field of a schema: its default, meaning, unit and limits, stated once in its declaration.

Range checks and the configuration reference read them from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, cast

from harness.errors import check_range

_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """meaning: a phrase for the reference. least, most: inclusive limits, None for no limit.

    remedy: what to do about a value out of range.
    """

    meaning: str
    least: float | None = None
    most: float | None = None
    unit: str = ""
    remedy: str = ""

    def check(self, key: str, value: Any) -> None:
        """Raise RequestError for a value out of range, or one inside a list or a mapping."""
        if self.least is None:
            return
        pairs = [(key, value)]
        if isinstance(value, dict):
            pairs = [(f"{key}.{name}", each) for name, each in value.items()]
        elif isinstance(value, list):
            pairs = [(key, each) for each in value]
        for name, each in pairs:
            check_range(name, each, self.least, self.most, self.remedy)


def setting(
    default: Any,
    meaning: str,
    *,
    least: float | None = None,
    most: float | None = None,
    unit: str = "",
    remedy: str = "",
) -> Any:
    """A dataclass field with a `Setting`.

    default: MISSING for a required one, a callable for a factory.
    """
    metadata = {_KEY: Setting(meaning, least, most, unit, remedy)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def setting_of(item: Field[Any]) -> Setting:
    """The setting of a field that `setting` declared; KeyError for any other field."""
    return cast(Setting, item.metadata[_KEY])


def copied(item: Field[Any], **changes: Any) -> Any:
    """A field of the same default and metadata, for another dataclass.

    changes: of what `field` takes.
    """
    names = ("default", "default_factory")
    given = {name: getattr(item, name) for name in names if getattr(item, name) is not MISSING}
    return field(**{**(changes or given), "metadata": item.metadata})


class Schema:
    """Base of the schemas: checks the limits of its fields.

    `group` leads their keys: `strategy.`, `device.noise.`.
    """

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, allowed in _limits(cls):
            allowed.check(f"{self.group}{name}", getattr(self, name))


@cache
def _limits(cls: Any) -> tuple[tuple[str, Setting], ...]:
    """Name and setting of every field that has limits.

    Looked up once, as every job of a sweep is checked.
    """
    return tuple(_ranged(cls))


def _ranged(cls: Any) -> Iterator[tuple[str, Setting]]:
    for item in fields(cls):
        found = item.metadata.get(_KEY)
        if found and found.least is not None:
            yield item.name, found


__all__ = ["MISSING", "Schema", "Setting", "setting", "setting_of"]
