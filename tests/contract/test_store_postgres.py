"""The store's behaviour over PostgreSQL, and what its texts and errors are there.

How one is opened, what several do with one database, and what a database can do to them, have files
of their own beside this one.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy

from contract import store_suite
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support.postgres import Postgres
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]


class TestPostgresStore(store_suite.StoreSuite):
    @pytest.fixture
    def open_store(self, postgres_url: str) -> store_suite.OpenStore:
        return lambda: SqlStore.open(postgres_url)


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    with closing(SqlStore.open(postgres_url)) as opened:
        yield opened


def test_it_says_what_kind_of_store_it_is(store: SqlStore) -> None:
    assert store.name == "postgresql"
    assert store.is_shared


@pytest.mark.parametrize("kind", ["postgresql", "postgresql+psycopg"])
def test_both_spellings_of_its_kind_open_it(postgres_url: str, kind: str) -> None:
    with closing(SqlStore.open(postgres_url.replace("postgresql", kind))) as store:
        assert len(v.accept(store, v.batch("b", "job"))) == 1


def test_it_is_opened_by_a_unix_socket_too(
    postgres_server: Postgres, postgres_tables: str, store: SqlStore
) -> None:
    v.accept(store, v.batch("b", "job"))
    with closing(SqlStore.open(postgres_server.socket_url(postgres_tables))) as by_socket:
        assert by_socket.has_batch("b")


def test_a_text_with_a_nul_is_kept_with_a_mark_in_its_place(store: SqlStore) -> None:
    v.write(store, lambda writer: writer.put_file(v.file_record("file", filename="a\0.csv")))
    found = store.find_file(v.sha("file"))
    assert found is not None
    assert found.filename == "a\N{REPLACEMENT CHARACTER}.csv"
    v.accept(store, v.batch("b", "job"))
    v.end(store, "job", Event.EXITED_NONZERO, ending=v.an_ending(reason='\0 "{},NULL\\ \n€'))
    record = store.find_job(v.sha("job"))
    assert record is not None
    assert record.newest.ending == v.an_ending(reason='\N{REPLACEMENT CHARACTER} "{},NULL\\ \n€')


@pytest.mark.parametrize("name", ["\0", "b\0", "'", "%s", "\\"])
def test_a_question_for_what_cannot_be_stored_finds_nothing(store: SqlStore, name: str) -> None:
    v.accept(store, v.batch("b", "job"))
    assert not store.has_batch(name)
    assert store.find_rows(name, first_index=0, limit=9) == []
    assert store.find_attempts([name]) == {}
    assert store.find_jobs(after=None, limit=9, method_name=name) == []
    assert store.find_file(name) is None


def test_an_error_of_the_database_does_not_tell_what_was_to_be_stored(store: SqlStore) -> None:
    twice = [v.row(0, "a"), v.row(0, "b")]
    (answer,) = store.write([lambda writer: writer.accept(v.batch("b", rows=twice))]).answers
    assert isinstance(answer, sqlalchemy.exc.IntegrityError)
    assert "pk_batch_rows" in str(answer)
    assert "pk_batch_rows" in str(answer.orig)
    for said in (str(answer), str(answer.orig), str(answer.__cause__)):
        assert "row_index" not in said.replace("batch_id, row_index", "")
        assert "Key" not in said
