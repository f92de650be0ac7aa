"""The attempts that have not ended: what they use, and which are to be stopped."""

import dataclasses

from dshpc_server.batches import active
from dshpc_server.domain.job import Resources
from support import store_values


def test_the_first_reason_to_stop_an_attempt_counts_until_it_has_ended() -> None:
    attempts, one = active.ActiveAttempts(), store_values.claim(cpus=2)
    attempts.add(one)
    assert attempts.cancel_reason(one.key) is None
    attempts.cancel(one.key, "first")
    attempts.cancel(one.key, "second")
    assert attempts.cancel_reason(one.key) == "first"
    attempts.release(one.key)
    assert attempts.cancel_reason(one.key) == "first"
    attempts.remove(one.key)
    assert attempts.cancel_reason(one.key) is None


def test_what_all_of_them_use_is_counted_once_each_until_they_have_ended() -> None:
    attempts, one, other = (
        active.ActiveAttempts(),
        store_values.claim("one", cpus=2),
        store_values.claim("other", cpus=2),
    )
    other = dataclasses.replace(other, resources=Resources(cpus=1, memory_bytes=7, gpus=1))
    for each in (one, other, one):
        attempts.add(each)
    assert (attempts.using, attempts.in_use) == (2, Resources(cpus=3, memory_bytes=7, gpus=1))
    attempts.add(dataclasses.replace(one, resources=Resources(cpus=4)))
    assert attempts.in_use.cpus == 5
    attempts.release(other.key)
    attempts.release(other.key)
    attempts.remove(other.key)
    assert (attempts.using, attempts.in_use) == (1, Resources(cpus=4))
    attempts.remove(one.key)
    assert (attempts.using, attempts.in_use) == (0, Resources(cpus=0))


def test_an_empty_reason_is_a_reason() -> None:
    attempts, one = active.ActiveAttempts(), store_values.claim(cpus=2)
    attempts.add(one)
    attempts.cancel(one.key, "")
    assert attempts.cancel_reason(one.key) == ""


def test_what_has_ended_already_is_not_remembered() -> None:
    attempts, one = active.ActiveAttempts(), store_values.claim(cpus=2)
    attempts.cancel(one.key, "late")
    attempts.add(one)
    assert attempts.cancel_reason(one.key) is None


def test_what_the_store_calls_ours_is_to_be_stopped_before_it_is_here() -> None:
    attempts, one = active.ActiveAttempts(), store_values.claim(cpus=2)
    attempts.cancel_own(one.key, "at another server")
    attempts.cancel_own(one.key, "again")
    attempts.add(one)
    assert attempts.cancel_reason(one.key) == "at another server"
    attempts.remove(one.key)
    assert attempts.cancel_reason(one.key) is None
