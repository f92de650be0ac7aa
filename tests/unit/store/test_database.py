"""Which database a setting names, how it is called, and what its errors mean."""

import pathlib
import sqlite3

import psycopg
import pytest
import sqlalchemy

from dshpc_server import errors
from dshpc_server.store.sql import database, postgres, trouble
from dshpc_server.store.sql.trouble import Trouble


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (pathlib.Path("/data/store.db"), "sqlite"),
        ("sqlite:////data/store.db", "sqlite"),
        ("sqlite+pysqlite:////data/store.db", "sqlite"),
        ("postgresql://me@host/x", "postgresql"),
        ("postgresql+psycopg://me@host:5433/x?sslmode=require", "postgresql"),
    ],
)
def test_a_setting_names_a_database(url: str | pathlib.Path, kind: str) -> None:
    assert database.parse(url).get_backend_name() == kind


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.db",
        "mysql://host/x",
        "sqlite+aiosqlite:////data/store.db",
        "postgresql+asyncpg://host/x",
        "postgresql://host",
        "postgresql://host:port/x",
    ],
)
def test_a_setting_that_names_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="store"):
        database.parse(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://me:s3cret@host:5433/x", "postgresql://me:***@host:5433/x"),
        ("postgresql+psycopg://host/x?password=s3cret&user=me", "postgresql://host/x"),
        ("postgresql://me@/x?host=/run/postgresql", "postgresql://me@/run/postgresql/x"),
    ],
)
def test_a_database_is_called_without_its_password(url: str, name: str) -> None:
    assert postgres.shown(database.parse(url)) == name


def test_a_url_says_more_about_the_connection_than_the_defaults() -> None:
    usual = postgres.connection_words(database.parse("postgresql://host/x"))
    assert usual["application_name"] == "dshpc"
    assert usual["connect_timeout"] == "5"
    assert "idle_in_transaction_session_timeout=10000" in usual["options"]
    words = postgres.connection_words(
        database.parse("postgresql://host/x?application_name=lab&options=-cwork_mem%3D8MB")
    )
    assert words["application_name"] == "lab"
    assert words["options"] == f"{usual['options']} -cwork_mem=8MB"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SQLITE_ERROR", None),
        ("SQLITE_BUSY", Trouble.UNAVAILABLE),
        ("SQLITE_READONLY", Trouble.UNAVAILABLE),
        ("SQLITE_FULL", Trouble.NO_ROOM),
        ("SQLITE_IOERR", Trouble.NO_ROOM),
        ("SQLITE_IOERR_WRITE", Trouble.NO_ROOM),
    ],
)
def test_what_errors_of_sqlite_mean(name: str, expected: Trouble | None) -> None:
    cause = sqlite3.OperationalError("made up")
    cause.sqlite_errorname = name
    assert trouble.of(_wrapped(sqlalchemy.exc.OperationalError, cause)) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("40001", Trouble.CONFLICT),
        ("40P01", Trouble.CONFLICT),
        ("53100", Trouble.NO_ROOM),
        ("58030", Trouble.NO_ROOM),
        ("08006", Trouble.UNAVAILABLE),
        ("25006", Trouble.UNAVAILABLE),
        ("25P03", Trouble.UNAVAILABLE),
        ("55P03", Trouble.UNAVAILABLE),
        ("57P01", Trouble.UNAVAILABLE),
        ("57P03", Trouble.UNAVAILABLE),
        ("XX000", Trouble.UNAVAILABLE),
        # What is wrong with the statement, the values, or the rights.
        ("22021", None),
        ("23505", None),
        ("25P02", None),
        ("42601", None),
        ("42501", None),
    ],
)
def test_what_errors_of_postgresql_mean(code: str, expected: Trouble | None) -> None:
    cause = psycopg.errors.lookup(code)("made up")
    assert trouble.of(_wrapped(sqlalchemy.exc.DBAPIError, cause)) is expected


def test_an_error_of_the_driver_alone_means_that_there_is_no_connection() -> None:
    lost = psycopg.OperationalError("the connection is lost")
    assert trouble.of(_wrapped(sqlalchemy.exc.OperationalError, lost)) is Trouble.UNAVAILABLE
    unfit = psycopg.DataError("text fields cannot contain NUL")
    assert trouble.of(_wrapped(sqlalchemy.exc.DataError, unfit)) is None
    assert trouble.of(sqlalchemy.exc.TimeoutError("no connection")) is Trouble.UNAVAILABLE
    assert trouble.of(LookupError()) is None


def test_what_a_database_says_stays_in_the_log() -> None:
    full = psycopg.errors.DiskFull("could not extend file")
    with pytest.raises(errors.NoRoomError) as raised, database.operating():
        raise _wrapped(sqlalchemy.exc.OperationalError, full)
    assert "extend" not in str(raised.value)
    assert raised.value.retry_after_seconds > 0


def _wrapped(kind: type[sqlalchemy.exc.DBAPIError], cause: Exception) -> sqlalchemy.exc.DBAPIError:
    return kind("SELECT 1", None, cause)
