"""Servers and runners killed at random under load: nothing is lost, nothing runs twice.

The short form of `make torture`, on SQLite.
"""

import pathlib

from support import fault_torture

KILLS = 20
SEED = 1


def test_twenty_kills_lose_nothing_and_run_nothing_twice(tmp_path: pathlib.Path) -> None:
    with fault_torture.stores("sqlite") as (store, servers):
        plan = fault_torture.Plan(seed=SEED, kills=KILLS, servers=servers, store=store)
        outcome = fault_torture.run(tmp_path, plan)
    assert outcome.problems == [], str(outcome)
    assert outcome.kills.servers == KILLS
    assert outcome.runs >= outcome.jobs > KILLS
