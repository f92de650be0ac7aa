"""The store's behaviour over SQLite, and what is SQLite's own: its file, its lock, a full disk."""

import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import sqlalchemy

from contract import store_suite
from dshpc_server import errors
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port
from dshpc_server.store.sql.store import SqlStore
from support import store_look
from support import store_values as v


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "store.db"


class TestSqliteStore(store_suite.StoreSuite):
    @pytest.fixture
    def open_store(self, path: pathlib.Path) -> store_suite.OpenStore:
        path.write_bytes(store_look.empty_store())
        return lambda: SqlStore.open(path)


def test_it_says_what_kind_of_store_it_is(path: pathlib.Path) -> None:
    with closing(SqlStore.open(f"sqlite:///{path}")) as store:
        assert store.name == "sqlite"
    assert path.exists()


def test_an_error_of_the_database_does_not_tell_what_was_to_be_stored(path: pathlib.Path) -> None:
    twice = [v.row(0, "a"), v.row(0, "b")]
    with closing(SqlStore.open(path)) as store:
        (answer,) = store.write([lambda writer: writer.accept(v.batch("b", rows=twice))]).answers
    assert isinstance(answer, sqlalchemy.exc.IntegrityError)
    assert "UNIQUE" in str(answer)
    assert "head 0" not in str(answer)


def test_a_second_server_is_refused_until_the_first_is_gone(path: pathlib.Path) -> None:
    first = SqlStore.open(path)
    with closing(first), pytest.raises(port.StoreInUseError, match="in use by another server"):
        SqlStore.open(path)
    SqlStore.open(path).close()


def test_a_store_in_use_can_be_looked_at_and_not_changed(path: pathlib.Path) -> None:
    with closing(SqlStore.open(path)) as store:
        v.accept(store, v.batch("b", "job"))
        with closing(SqlStore.open(path, read_only=True)) as looking:
            assert looking.has_batch("b")
            with pytest.raises(errors.UnavailableError):
                v.accept(looking, v.batch("c", "job"))
        assert not store.has_batch("c")


def test_looking_makes_no_store(path: pathlib.Path) -> None:
    with pytest.raises(port.StoreUnusableError):
        SqlStore.open(path, read_only=True)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.mark.parametrize(
    "url", ["", "store.db", "mysql://host/x", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x"]
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="store"):
        SqlStore.open(url)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: pathlib.Path) -> None:
    content = b"sample,value\n" * 1000
    path.write_bytes(content)
    with pytest.raises(port.StoreUnusableError, match="not a database"):
        SqlStore.open(path)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused_and_left_as_it_was(path: pathlib.Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (a, b)")
    content = path.read_bytes()
    with pytest.raises(port.StoreUnusableError, match="something else"):
        SqlStore.open(path)
    assert path.read_bytes() == content


def test_a_newer_versions_store_is_refused(path: pathlib.Path) -> None:
    SqlStore.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE dshpc_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(port.StoreUnusableError, match="9999"):
        SqlStore.open(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(port.StoreUnusableError, match="No such file"):
        SqlStore.open(tmp_path / "absent" / "store.db")


def test_an_open_that_failed_leaves_the_store_free(path: pathlib.Path) -> None:
    path.write_bytes(b"sample,value\n" * 1000)
    with pytest.raises(port.StoreUnusableError):
        SqlStore.open(path)
    path.unlink()
    SqlStore.open(path).close()


def test_on_a_full_disk_nothing_is_stored_and_the_same_works_later(path: pathlib.Path) -> None:
    large = v.batch("large", *range(2000))
    with closing(SqlStore.open(path)) as store:
        v.accept(store, v.batch("before", "job"))
        pragma(store, "max_page_count = 60")
        with pytest.raises(errors.UnavailableError, match="cannot answer now"):
            store.write(
                [
                    lambda writer: writer.accept(v.batch("small", "other")),
                    lambda writer: writer.accept(large),
                ]
            )
        assert store.has_batch("before")
        assert not store.has_batch("small")
        assert not store.has_batch("large")
        assert v.claim_all(store) == [v.report("job", Event.CLAIMED).key]
        pragma(store, "max_page_count = 1000000")
        assert len(v.accept(store, large)) == 2000


def test_a_work_that_hides_a_full_disk_is_not_taken_for_done(path: pathlib.Path) -> None:
    def hiding(writer: port.Writer) -> None:
        with pytest.raises(sqlalchemy.exc.OperationalError):
            writer.accept(v.batch("large", *range(2000)))

    with closing(SqlStore.open(path)) as store:
        pragma(store, "max_page_count = 60")
        with pytest.raises(sqlalchemy.exc.OperationalError):
            store.write([lambda writer: writer.accept(v.batch("small", "other")), hiding])
        assert not store.has_batch("small")
        pragma(store, "max_page_count = 1000000")
        assert len(v.accept(store, v.batch("small", "other"))) == 1


def test_a_database_that_another_program_holds_is_unavailable_for_the_time(
    path: pathlib.Path,
) -> None:
    with closing(SqlStore.open(path)) as store:
        pragma(store, "busy_timeout = 0")
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(errors.UnavailableError, match="cannot answer now"):
                v.accept(store, v.batch("b", "job"))
        assert len(v.accept(store, v.batch("b", "job"))) == 1


def test_what_a_killed_server_wrote_is_there_and_its_lock_is_gone(path: pathlib.Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from support import store_values as v\n"
        "from dshpc_server.store.sql.store import SqlStore\n"
        "store = SqlStore.open(pathlib.Path(sys.argv[1]))\n"
        "v.accept(store, v.batch('b', 'job'))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", program, path], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    with closing(SqlStore.open(path)) as store:
        assert v.status(store, "job") is JobStatus.PENDING


def pragma(store: SqlStore, setting: str) -> None:
    """Change a setting of the one connection that a test of one thread uses."""
    with store._engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA {setting}")
