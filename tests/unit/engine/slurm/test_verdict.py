"""What has become of an attempt without an exit record."""

import pytest

from dshpc_server.engine.slurm import cluster, states, verdict
from dshpc_server.engine.slurm.cluster import State
from dshpc_server.engine.slurm.verdict import Kind

PATIENCE = verdict.Patience(grace_seconds=10, doubt_seconds=120, settle_seconds=5, alive_seconds=90)


def seen(
    state: State | None = None,
    *,
    gone_seconds: float = 0,
    may_be_forgotten: bool = False,
    alive_seconds_ago: float | None = None,
) -> Kind:
    task = cluster.Task(
        name="dshpc-a-b", index=0, job_id="1_0", state=state or State.UNKNOWN, node="", reason=""
    )
    return verdict.kind(
        verdict.Seen(
            task=task if state is not None else None,
            gone_seconds=gone_seconds,
            may_be_forgotten=may_be_forgotten,
            alive_seconds_ago=alive_seconds_ago,
        ),
        PATIENCE,
    )


@pytest.mark.parametrize("state", State)
def test_every_state_is_told_as_what_it_means(state: State) -> None:
    expected = Kind.ENDED if state in states.ENDED else Kind.THERE
    assert seen(state, gone_seconds=1000, may_be_forgotten=True) is expected


def test_every_state_but_the_unknown_one_has_one_meaning() -> None:
    groups = [states.WAITING, states.RUNNING, states.ENDED]
    for state in set(State) - {State.UNKNOWN}:
        assert sum(state in group for group in groups) == 1, state
    assert states.SUSPENDED <= states.RUNNING
    assert {states.meaning(state) for state in states.ENDED} == set(states.Meaning)


def test_what_a_restarted_controller_does_not_know_is_gone_after_the_grace() -> None:
    assert seen(gone_seconds=9.9, may_be_forgotten=True) is Kind.THERE
    assert seen(gone_seconds=10, may_be_forgotten=True) is Kind.GONE


def test_what_a_controller_that_went_on_running_does_not_tell_is_doubted_for_longer() -> None:
    assert seen(gone_seconds=119) is Kind.THERE
    assert seen(gone_seconds=120) is Kind.GONE


@pytest.mark.parametrize("may_be_forgotten", [True, False])
def test_nothing_is_gone_while_its_wrapper_shows_itself(may_be_forgotten: bool) -> None:  # noqa: FBT001 - a parameter of the test
    def after(seconds: float) -> Kind:
        return seen(gone_seconds=1000, may_be_forgotten=may_be_forgotten, alive_seconds_ago=seconds)

    assert after(89) is Kind.THERE
    assert after(90) is Kind.GONE
