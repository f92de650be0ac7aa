"""Withdrawing: what it costs the database."""

import sqlalchemy

from dshpc_server.store.sql.store import SqlStore
from support import store_values as v
from support import store_waiting as w

ROWS = 2_000
STEPS = 100


def test_to_withdraw_one_row_takes_no_look_at_all_others_of_its_batch(sql_store: SqlStore) -> None:
    waiting = [w.waiting(index, w.on_row(0)) for index in range(1, ROWS)]
    v.accept(sql_store, v.batch("b", rows=[v.row(0, "first"), *waiting]))
    told = 0

    def tell() -> int:
        nonlocal told
        told += 1
        return 0

    @sqlalchemy.event.listens_for(sql_store._writers, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(tell, STEPS)

    withdrawn = v.withdraw(sql_store, "b", 5)
    assert withdrawn is not None
    assert withdrawn.cancel_requested == 1
    assert told * STEPS < 2 * ROWS
