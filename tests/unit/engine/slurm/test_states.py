"""Every state of Slurm's means something to us."""

import pytest

from dshpc_server.engine.slurm import states
from dshpc_server.engine.slurm.cluster import State
from dshpc_server.engine.slurm.states import Meaning

_GROUPS = (states.WAITING, states.RUNNING, states.ENDED)


@pytest.mark.parametrize("state", sorted(set(State) - {State.UNKNOWN}))
def test_every_known_state_is_in_one_group(state: State) -> None:
    assert sum(state in group for group in _GROUPS) == 1


def test_nothing_follows_from_a_state_that_nobody_knows() -> None:
    assert not any(State.UNKNOWN in group for group in _GROUPS)


def test_one_that_completes_may_still_write_its_record() -> None:
    assert State.COMPLETING in states.RUNNING


def test_who_is_suspended_lives() -> None:
    assert states.SUSPENDED < states.RUNNING


@pytest.mark.parametrize("state", sorted(states.ENDED))
def test_every_end_has_a_meaning(state: State) -> None:
    assert isinstance(states.meaning(state), Meaning)


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        (State.TIMEOUT, Meaning.OVER_TIME),
        (State.OUT_OF_MEMORY, Meaning.OVER_MEMORY),
        (State.CANCELLED, Meaning.CANCELLED),
        (State.PREEMPTED, Meaning.PREEMPTED),
        (State.DEADLINE, Meaning.PAST_DEADLINE),
        (State.NODE_FAIL, Meaning.LOST),
        (State.BOOT_FAIL, Meaning.NOT_STARTED),
        (State.COMPLETED, Meaning.LOST),
        (State.FAILED, Meaning.LOST),
    ],
)
def test_an_end_without_a_record_is_told_as_what_slurm_says(state: State, meaning: Meaning) -> None:
    assert states.meaning(state) is meaning
