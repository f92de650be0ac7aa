"""Several servers on one store, driven at random; and proof that mistakes are seen, by making some.

`make properties` drives it a thousand times, in another way each time.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeAlias

import hypothesis
import pytest
import sqlalchemy
from hypothesis import stateful

from dshpc_server.store.sql.store import SqlStore
from support import store_look, store_servers
from support import store_servers_mistakes as mistakes
from support import store_values as v
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url
from support.store_servers_machine import ServersMachine
from support.store_servers_world import MovableClock

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

A_DAY = 86_400.0
_EXAMPLES = int(os.environ.get("DSHPC_TEST_EXAMPLES", "0"))
SETTINGS = hypothesis.settings(
    max_examples=_EXAMPLES or 40,
    stateful_step_count=40,
    database=None,
    derandomize=not _EXAMPLES,
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
)
ON_POSTGRESQL = hypothesis.settings(SETTINGS, max_examples=_EXAMPLES or 10)
# A mistake is to be seen, not made small.
SEEING = hypothesis.settings(
    SETTINGS, phases=[hypothesis.Phase.generate], max_examples=400, derandomize=True
)


Machine: TypeAlias = type[ServersMachine]


def _on(store: SqlStore, pass_time: Callable[[float], None]) -> Machine:
    class Machine(ServersMachine):
        def __init__(self) -> None:
            super().__init__(store, pass_time)

    return Machine


@pytest.fixture
def on_sqlite(tmp_path: pathlib.Path) -> Iterator[Machine]:
    """In a file, whose one clock goes as the machine says."""
    path, clock = tmp_path / "store.db", MovableClock(v.later(100_000))
    path.write_bytes(store_look.empty_store())
    with closing(SqlStore.open(path, clock=clock)) as store:
        store_look.be_careless(store)
        yield _on(store, clock.move)


@pytest.mark.timeout(120 + _EXAMPLES)
def test_several_servers_lose_nothing_and_run_nothing_twice(on_sqlite: Machine) -> None:
    stateful.run_state_machine_as_test(on_sqlite, settings=SETTINGS)


@pytest.mark.timeout(120 + _EXAMPLES)
def test_on_postgresql_neither(postgres_url: str) -> None:
    with closing(SqlStore.open(postgres_url, scope="looking on", lease_seconds=A_DAY)) as store:
        pass_time = functools.partial(store_servers.pass_time, store)
        stateful.run_state_machine_as_test(_on(store, pass_time), settings=ON_POSTGRESQL)


@pytest.mark.parametrize(
    "mistake",
    [
        mistakes.replace_what_is_there,
        mistakes.begin_again_without_stopping,
        mistakes.record_for_anybody,
        mistakes.record_for_another_attempt,
        mistakes.show_a_retry_beside_what_it_retries,
        mistakes.tie_rows_to_what_was_retried,
        mistakes.retry_for_ever,
        mistakes.retry_what_is_to_be_stopped,
        mistakes.claim_without_a_record,
        mistakes.claim_for_nobody,
        mistakes.take_over_from_the_living,
        mistakes.take_over_what_runs_elsewhere,
        mistakes.forget_the_cancel_at_the_take_over,
        mistakes.leave_the_dead_what_they_have,
        mistakes.accept_what_needs_content_that_goes,
        mistakes.answer_with_content_that_went,
        mistakes.hold_retries_when_the_clock_goes_back,
    ],
)
def test_the_machine_sees_a_mistake(
    monkeypatch: pytest.MonkeyPatch,
    mistake: Callable[[pytest.MonkeyPatch], None],
    on_sqlite: Machine,
) -> None:
    mistake(monkeypatch)
    # The database may see it first.
    with pytest.raises((AssertionError, sqlalchemy.exc.IntegrityError)):
        stateful.run_state_machine_as_test(on_sqlite, settings=SEEING)
