"""Turn psycopg's errors into ours, with the next step named and no secret in the text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from plumbgraph.errors import AccessDenied, PlumbError, SettingsError, StoreUnavailable

_LOGIN = (errors.InvalidPassword, errors.InvalidAuthorizationSpecification)
_LOGIN_WORDS = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")


def target_of(url: str) -> str:
    """Where a URL points (`host:port/database`), without user or password.

    Raises:
        SettingsError: The text is no PostgreSQL connection string.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise SettingsError(
            "The PostgreSQL URL does not parse.",
            hint="Write it as postgresql://user:password@host:5432/database.",
        ) from error
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{host}{port}/{parts.get('dbname') or parts.get('user') or 'postgres'}"


def translate(error: Exception, target: str) -> PlumbError | None:
    """The typed error for a psycopg error, or None where the caller should see it as it is."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, _LOGIN) or any(word in str(error) for word in _LOGIN_WORDS):
        return AccessDenied(
            f"PostgreSQL at {target!r} refused the login: {text}.",
            hint="Check user and password of the URL, and the server's pg_hba.conf.",
            target=target,
        )
    if isinstance(error, errors.InvalidCatalogName) or (
        "database" in text and "does not exist" in text
    ):
        return SettingsError(
            f"PostgreSQL at {target!r}: {text}.",
            hint="Create the database (createdb NAME), or correct the URL.",
            target=target,
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return AccessDenied(f"PostgreSQL at {target!r}: {text}.", target=target)
    if isinstance(error, errors.ReadOnlySqlTransaction):
        hint = "Point the URL at the primary."
        return StoreUnavailable(f"PostgreSQL at {target!r} is read-only.", hint=hint, target=target)
    if isinstance(error, errors.DiskFull):
        hint = "Free disk space on the database server; nothing was written."
        return StoreUnavailable(f"PostgreSQL at {target!r}: {text}.", hint=hint, target=target)
    if isinstance(error, (PoolTimeout, TooManyRequests)):
        return StoreUnavailable(
            f"No connection to PostgreSQL at {target!r}: {text}.", target=target
        )
    if isinstance(error, (psycopg.OperationalError, PoolClosed)):
        return StoreUnavailable(f"PostgreSQL at {target!r}: {text}.", target=target)
    return None


@contextmanager
def faults(target: str) -> Iterator[None]:
    """Raise our error where psycopg raised one that has a name here."""
    try:
        yield
    except psycopg.Error as error:
        ours = translate(error, target)
        if ours is None:
            raise
        raise ours from error
