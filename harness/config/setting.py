"""`setting` declares a field of a schema with its default, meaning, unit and limits.

Range checks and the configuration reference read them from the field.

    depth: int = setting(1, "submissions in flight", least=1, most=1024, remedy="1 is serial")
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, ClassVar, cast, get_type_hints

from harness.errors import RequestError, check_range, override_text

_KEY = "setting"


@dataclass(frozen=True)
class Setting:
    """The metadata of one field.

    meaning: a phrase for the configuration reference. least, most: limits, both included; None for
    no limit. remedy: what to do if a value is out of range.
    """

    meaning: str
    least: float | None = None
    most: float | None = None
    unit: str = ""
    remedy: str = ""

    def check(self, key: str, value: Any) -> None:
        """Raise RequestError if a value, or a member of a list or mapping, is out of range."""
        # None: only a field whose type allows null has it here.
        if self.least is None or value is None:
            return
        pairs = [(key, value)]
        if isinstance(value, dict):
            pairs = [(f"{key}.{name}", each) for name, each in value.items()]
        elif isinstance(value, list):
            pairs = [(key, each) for each in value]
        for name, each in pairs:
            # The types of OmegaConf do not reach into a list in a list, as in `hang=[[1]]`.
            if not isinstance(each, int | float):
                raise RequestError(f"{name}={override_text(each)}: not a number; give a number")
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
    """Declare a dataclass field with a `Setting`.

    default: a value, a callable that creates it, or MISSING for a required field.
    """
    metadata = {_KEY: Setting(meaning, least, most, unit, remedy)}
    # A mutable default has to be created for each object: dataclasses refuse a shared one.
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def setting_of(item: Field[Any]) -> Setting:
    """Return the `Setting` of a field; KeyError if `setting` did not declare the field."""
    return cast(Setting, item.metadata[_KEY])


hints_of = cache(get_type_hints)
"""Types of a dataclass's fields. Cached, because every job of a sweep needs them."""


def copied(item: Field[Any], **changes: Any) -> Any:
    """Return a copy of a field for another dataclass, with its metadata.

    changes: arguments of `dataclasses.field` that take the place of the default.
    """
    names = ("default", "default_factory")
    default = {name: getattr(item, name) for name in names if getattr(item, name) is not MISSING}
    return field(**{**(changes or default), "metadata": item.metadata})


class Schema:
    """Base of the schemas: checks the limits of its fields when an object is created.

    group: prefix of the keys in messages, as `strategy.` or `device.noise.`.
    """

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        cls: Any = type(self)
        for name, allowed in _limits(cls):
            allowed.check(f"{self.group}{name}", getattr(self, name))


@cache
def _limits(cls: Any) -> tuple[tuple[str, Setting], ...]:
    """Return name and setting of every field with limits.

    Cached, because every job of a sweep creates and checks its schemas.
    """
    settings = ((item.name, item.metadata.get(_KEY)) for item in fields(cls))
    return tuple((name, each) for name, each in settings if each and each.least is not None)
