"""Errors of MLflow and its libraries as messages of the harness."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

from harness.config.credentials import PASSWORD_VARIABLE, USER_VARIABLE
from harness.tracking.store import TrackingError

MOST_ERROR_CHARACTERS = 160
"""Longest text of an MLflow error in a message."""
HTTP_REFUSED = re.compile(r"error code (401|403)\b")
"""In MLflow's messages about answers of a server with authentication."""
HTTP_SILENT = re.compile(
    "(read|connection) (timed out|refused|reset|aborted)|connect timeout|name or service not known",
    re.IGNORECASE,
)
"""In MLflow's messages about a server that does not answer; behind a long list of calls."""
SQLITE = re.compile(r"\(sqlite3\.(\w+)\) (.+)")
"""In the messages of SQLAlchemy and MLflow about an error of sqlite, often behind others."""


@contextmanager
def translated_errors(uri: str) -> Iterator[None]:
    """Raise every exception as TrackingError: MLflow also raises those of other libraries."""
    # It also logs the traceback of what it raises.
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        if refused := HTTP_REFUSED.search(str(error)):
            raise TrackingError(
                f"tracking.uri={uri}: the server refuses the user or the password (HTTP "
                f"{refused[1]}); set {USER_VARIABLE} and {PASSWORD_VARIABLE}"
            ) from None
        if silent := HTTP_SILENT.search(str(error)):
            raise TrackingError(
                f"tracking.uri={uri}: the server does not answer ({silent[0].lower()})"
            ) from error
        if of_sqlite := SQLITE.search(str(error)):
            raise TrackingError(
                f"tracking.uri={uri}: {of_sqlite[2]} (sqlite3.{of_sqlite[1]})"
            ) from error
        text = next(iter(str(error).strip().splitlines()), "")
        raise TrackingError(
            f"tracking.uri={uri}: {type(error).__name__}: {shorten(text, MOST_ERROR_CHARACTERS)}"
        ) from error
    finally:
        logger.setLevel(level)
