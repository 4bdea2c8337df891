"""Explains why a file is not a record."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_VALUE_CHARACTERS = 60
"""Longest text of a wrong value in an error message."""
VERSION_FIELD = "schema_version"


def reason(error: ValidationError) -> str:
    """Why a file is not a record, in one line.

    Broken JSON, the fields that are missing, or the first field with a wrong value.
    """
    errors = error.errors(include_url=False)
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"])
    expected = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "json_invalid":
        fault = str(first["ctx"]["error"])
        cut = "it ends too early" if fault.startswith("EOF") else "it is not JSON"
        return f"damaged: {cut} ({fault}); run the experiment again, or leave this file out"
    missing = [".".join(map(str, each["loc"])) for each in errors if each["type"] == "missing"]
    if missing:
        names = shorten(", ".join(missing), MOST_VALUE_CHARACTERS, placeholder=" ...")
        fields = "field is" if len(missing) == 1 else "fields are"
        return f"not a complete record: {len(missing)} {fields} missing: {names}"
    value = shorten(repr(first["input"]), MOST_VALUE_CHARACTERS)
    if place == VERSION_FIELD:
        known = expected.removeprefix("input should be ")
        return (
            f"{place}: {value}, and this version of the harness reads {known}; read it with the "
            "version that wrote it, or leave this file out"
        )
    return f"{place}: {expected}, not {value}" if place else f"not a record: {expected}"
