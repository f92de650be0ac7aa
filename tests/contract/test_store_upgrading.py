"""A store of 0004, which knew nothing of usage and packing, keeps what it holds."""

import dataclasses
import pathlib
from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy

from dshpc_server.domain.job import Basis, JobStatus, Packing, Usage
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.records import AttemptRecord, Ending
from dshpc_server.store.sql import migrate
from dshpc_server.store.sql.store import SqlStore
from support import store_older
from support import store_values as v
from support.postgres import Postgres
from support.postgres_fixtures import empty_postgres, postgres_server

__all__ = ["empty_postgres", "postgres_server"]


class UpgradingFrom0004:
    """`upgraded` is a store of 0004, filled by `store_older.fill_0004`, that was opened."""

    def test_it_is_of_this_version_and_its_attempts_are_as_they_were(
        self, upgraded: SqlStore
    ) -> None:
        for name, attempts in store_older.OF_0004.items():
            found = _records(upgraded, name)
            assert [str(each.attempt.status) for each in found] == [
                status for status, *_ in attempts
            ]
            for each in found:
                assert (each.engine_job_id, each.node, each.cancel_reason) == (
                    "4711",
                    "here",
                    "asked",
                )
                assert each.due_at is not None
                assert (each.attempt.revision, each.attempt.chain) == (7, 1)
                assert each.attempt.created_at == each.attempt.started_at == v.NOON
        (done,) = _records(upgraded, "done")
        assert done.ending == Ending(
            result=b"\0result",
            exit_code=1,
            signal=None,
            output_hash=v.sha("output"),
            output_size_bytes=4,
            output_is_inline=True,
            reason="why",
            stderr_tail="warning",
        )
        with upgraded._engine.connect() as connection:
            version = f"SELECT version_num FROM {migrate.VERSION_TABLE}"
            assert connection.execute(sqlalchemy.text(version)).scalar_one() == migrate.HEAD

    def test_nobody_knows_what_its_attempts_used(self, upgraded: SqlStore) -> None:
        for name in store_older.OF_0004:
            for each in _records(upgraded, name):
                assert (each.usage, each.packing) == (Usage(), None)

    def test_of_what_still_runs_it_is_kept_from_now_on(self, upgraded: SqlStore) -> None:
        (taken,) = v.take_over(upgraded)
        assert (taken.claim.spec, taken.status) == (v.spec("running"), JobStatus.RUNNING)
        usage, packing = Usage(cpu_seconds=2.5), Packing(jobs=2, basis=Basis.DECLARED)
        ended = v.report("running", Event.SUCCEEDED, ending=v.an_ending())
        v.record(upgraded, dataclasses.replace(ended, usage=usage, packing=packing))
        (running,) = _records(upgraded, "running")
        assert (running.usage, running.packing) == (usage, packing)


class TestUpgradingSqlite(UpgradingFrom0004):
    @pytest.fixture
    def upgraded(self, tmp_path: pathlib.Path) -> Iterator[SqlStore]:
        path = tmp_path / "store.db"
        store_older.make(path, "0004")
        store_older.fill_0004(path)
        with closing(SqlStore.open(path)) as store:
            yield store

    def test_what_is_read_often_lies_before_what_is_long(self, upgraded: SqlStore) -> None:
        with upgraded._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA table_info(attempts)").all()
        names = [name for _, name, *_ in found]
        assert names[-2:] == ["result", "stderr_tail"]
        assert names[names.index("node") + 1] == "cpu_milliseconds"


class TestUpgradingPostgres(UpgradingFrom0004):
    @pytest.fixture
    def upgraded(self, postgres_server: Postgres, empty_postgres: str) -> Iterator[SqlStore]:
        url = postgres_server.url(empty_postgres)
        store_older.make(url, "0004")
        store_older.fill_0004(url)
        with closing(SqlStore.open(url)) as store:
            yield store


def _records(store: SqlStore, name: str) -> list[AttemptRecord]:
    record = store.find_job(v.sha(name))
    assert record is not None
    return list(record.attempts)
