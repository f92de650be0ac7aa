"""A server that dies between the end of a job and what goes on from it: that runs, and once.

Nobody asks again: what was acknowledged is done by the next server, by itself.
"""

import pathlib

import grpc
import pytest

from support import calls, fault_scenario, fault_verdict, live_server
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

FLAGS: dict[str, object] = {
    "inline_output_bytes": fault_scenario.INLINE_OUTPUT_BYTES,
    "min_free_bytes": 0,
}
POINTS = [
    "end.recorded:1",
    "rows.settled:2",  # the first pass is that of the acceptance, when nothing has ended yet
    "rows.released:1",
]
ONE_SERVER = fault_verdict.Kills(servers=1, runners=0, attempts_at_once=2)


@pytest.mark.parametrize("point", POINTS)
def test_what_goes_on_from_a_job_that_ended_just_before_a_crash_runs_once(
    tmp_path: pathlib.Path, point: str
) -> None:
    dies_and_is_followed(tmp_path, FLAGS, point)


@pytest.mark.parametrize("point", POINTS)
def test_on_a_store_for_many_it_runs_once_as_well(
    tmp_path: pathlib.Path, point: str, postgres_url: str
) -> None:
    dies_and_is_followed(tmp_path, {**FLAGS, "store": postgres_url}, point)


def dies_and_is_followed(folder: pathlib.Path, flags: dict[str, object], point: str) -> None:
    """Have a server die after it has acknowledged a chain, and see what the next one does."""
    scenario = fault_scenario.Scenario(folder)
    armed = {**flags, "crash_at": point}
    server = live_server.ServerProcess(folder, scenario.methods_dir, None, **armed)
    try:
        with grpc.insecure_channel(server.address) as channel:
            scenario.chain(calls.Service(channel))
        assert server.process.wait(live_server.STOP_SECONDS) < 0
    finally:
        server.stop()
    with (
        live_server.as_process(folder, scenario.methods_dir, **flags) as following,
        grpc.insecure_channel(following.address) as channel,
    ):
        service = calls.Service(channel)
        scenario.wait_for_chains(service)
        assert scenario.problems(service, ONE_SERVER) == []
        runs = scenario.tally.counts().starts
        assert len(runs) == 2
        assert set(runs.values()) == {1}
