"""Keeps names and passwords out of records, logs, configurations and messages."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.errors import RequestError

USER_VARIABLE, PASSWORD_VARIABLE = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
"""Environment variables that MLflow's client reads."""
_IN_ADDRESS = re.compile(r"://[^/\s]*@|https?://\S*[@?]")
"""A user, with or without a password, before the host (RFC 3986, 3.2.1); or a query.

A slash in a password ends the host, but is a password all the same.
"""


def refuse_credentials(texts: Iterable[str]) -> None:
    """RequestError for an address with a user, a password or a query; the message has no value."""
    if any(_IN_ADDRESS.search(text) for text in texts):
        raise RequestError(
            "tracking.uri: an address with a user, a password or a query, which records would "
            f"show; leave them out, and set {USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )
