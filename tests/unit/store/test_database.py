"""Which database a setting names, how it is called, and what its errors mean."""

import pathlib
import sqlite3
import types

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


@pytest.mark.parametrize("name", ["SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB"])
def test_a_damaged_file_cannot_answer_and_is_no_bug_of_ours(name: str) -> None:
    cause = sqlite3.DatabaseError("made up")
    cause.sqlite_errorname = name
    assert trouble.of(_wrapped(sqlalchemy.exc.DatabaseError, cause)) is Trouble.UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("40000", Trouble.CONFLICT),
        ("40001", Trouble.CONFLICT),
        ("40P01", Trouble.CONFLICT),
        ("53100", Trouble.NO_ROOM),
        ("58030", Trouble.NO_ROOM),
        ("08000", Trouble.UNAVAILABLE),
        ("08006", Trouble.UNAVAILABLE),
        ("08P01", Trouble.UNAVAILABLE),
        ("25006", Trouble.UNAVAILABLE),
        ("25P03", Trouble.UNAVAILABLE),
        ("28000", Trouble.UNAVAILABLE),
        ("28P01", Trouble.UNAVAILABLE),
        ("3D000", Trouble.UNAVAILABLE),
        ("40003", Trouble.UNAVAILABLE),
        ("53200", Trouble.UNAVAILABLE),
        ("53300", Trouble.UNAVAILABLE),
        ("53400", Trouble.UNAVAILABLE),
        ("55006", Trouble.UNAVAILABLE),
        ("55P03", Trouble.UNAVAILABLE),
        ("57014", Trouble.UNAVAILABLE),
        ("57P01", Trouble.UNAVAILABLE),
        ("57P03", Trouble.UNAVAILABLE),
        ("57P04", Trouble.UNAVAILABLE),
        ("58000", Trouble.UNAVAILABLE),
        ("58P01", Trouble.UNAVAILABLE),
        ("72000", Trouble.UNAVAILABLE),
        ("XX000", Trouble.UNAVAILABLE),
        ("XX001", Trouble.UNAVAILABLE),
        ("XX002", Trouble.UNAVAILABLE),
        # What is wrong with the statement, the values, or the rights; with our use of transactions.
        ("0A000", None),
        ("22021", None),
        ("23505", None),
        ("25001", None),
        ("25P02", None),
        ("26000", None),
        ("3B001", None),
        ("3F000", None),
        ("40002", None),
        ("42601", None),
        ("42501", None),
        ("42P01", None),
        # What was asked is too much for it, and would be the next time.
        ("54000", None),
        ("54001", None),
        ("54011", None),
        ("54023", None),
    ],
)
def test_what_errors_of_postgresql_mean(code: str, expected: Trouble | None) -> None:
    cause = psycopg.errors.lookup(code)("made up")
    assert trouble.of(_wrapped(sqlalchemy.exc.DBAPIError, cause)) is expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("GetNewTransactionId", Trouble.UNAVAILABLE),
        ("GetNewMultiXactId", Trouble.UNAVAILABLE),
        ("index_form_tuple", None),
    ],
)
def test_a_database_that_gives_out_no_more_transactions_is_away_and_nothing_was_wrong(
    function: str, expected: Trouble | None
) -> None:
    class Said(psycopg.errors.ProgramLimitExceeded):
        diag = types.SimpleNamespace(source_function=function)  # type: ignore[assignment]  # made up

    assert trouble.of(_wrapped(sqlalchemy.exc.OperationalError, Said("made up"))) is expected


@pytest.mark.parametrize("code", ["42601", "23505", ""])
def test_a_connection_that_is_lost_is_away_whatever_is_said_of_it(code: str) -> None:
    cause = psycopg.errors.lookup(code)("made up") if code else psycopg.DataError("made up")
    error = _wrapped(sqlalchemy.exc.DBAPIError, cause)
    assert trouble.of(error) is None
    error.connection_invalidated = True
    assert trouble.of(error) is Trouble.UNAVAILABLE


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
