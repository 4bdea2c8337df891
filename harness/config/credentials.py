"""Keeps names and passwords out of records, logs, configurations and messages."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.errors import RequestError

USER_VARIABLE, PASSWORD_VARIABLE = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
"""Environment variables that MLflow's client reads."""
_IN_ADDRESS = re.compile(r"://[^/\s]*@|https?://\S*[@?]", re.IGNORECASE)
"""A user, with or without a password, before the host (RFC 3986, 3.2.1); or a query.

A slash in a password ends the host, but is a password all the same.
"""
URI_KEY = "tracking.uri"
_FILE = "sqlite:///"


def refuse_credentials(texts: Iterable[str]) -> None:
    """RequestError for an override that has an address with a user, a password or a query.

    The message does not repeat the value.
    """
    if any(map(_shows_credentials, texts)):
        raise RequestError(
            "tracking.uri: an address with a user, a password or a query, which records would "
            f"show; leave them out, and set {USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )


def _shows_credentials(text: str) -> bool:
    """Whether an override may have credentials; in tracking.uri, any @ or ? may separate them."""
    key, _, value = text.partition("=")
    if key.lstrip("+") == URI_KEY and not value.strip("\"'").startswith(_FILE):
        return "@" in value or "?" in value
    return bool(_IN_ADDRESS.search(text))
