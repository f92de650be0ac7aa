"""Two servers on one PostgreSQL, and their runner, killed at random under load.

The short form of `make torture STORE=postgres`.
"""

import pathlib

from support import fault_torture

KILLS = 20
SEED = 2


def test_twenty_kills_of_two_servers_lose_nothing_and_run_nothing_twice(
    tmp_path: pathlib.Path,
) -> None:
    with fault_torture.stores("postgres") as (store, servers):
        plan = fault_torture.Plan(seed=SEED, kills=KILLS, servers=servers, store=store)
        outcome = fault_torture.run(tmp_path, plan)
    assert outcome.problems == [], str(outcome)
    assert outcome.kills.servers == KILLS
    assert outcome.runs >= outcome.jobs > KILLS
