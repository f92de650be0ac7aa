"""What every store does with several servers: records, leases, who owns what, taking over."""

import dataclasses

import pytest

from contract.store_suite_opening import OpenServer, OpenStore
from dshpc_server.domain.job import JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import FencedError, Store
from dshpc_server.store.records import ServerRecord
from support import store_servers
from support import store_values as v


class Joining:
    def test_who_opens_a_store_has_a_record_of_its_own(
        self, store: Store, open_server: OpenServer
    ) -> None:
        here, there = open_server("here"), open_server("there")
        assert len({store.server_id, here.server_id, there.server_id}) == 3
        record = _record(store, there)
        assert record is not None
        assert (record.scope, record.is_expired) == ("there", False)
        assert _record(store, store) is not None
        joined = [each.joined_at for each in store.find_servers()]
        assert joined == sorted(joined)

    def test_a_lease_that_was_not_renewed_has_ended_and_a_renewal_makes_it_good(
        self, open_server: OpenServer
    ) -> None:
        first, second = open_server(), open_server()
        store_servers.expire(first, first.server_id)
        assert _is_expired(second, first)
        assert not _is_expired(second, second)
        first.renew()
        assert not _is_expired(second, first)

    def test_who_leaves_with_nothing_has_no_record_any_more(self, open_server: OpenServer) -> None:
        leaving, staying = open_server(), open_server()
        v.accept(leaving, v.batch("b", "done"))
        v.end(leaving, "done")
        leaving.leave()
        assert _record(staying, leaving) is None
        leaving.leave()

    def test_who_leaves_with_attempts_leaves_them_to_the_next(
        self, open_server: OpenServer
    ) -> None:
        leaving, staying = open_server(), open_server()
        v.accept(leaving, v.batch("b", "job"))
        (key,) = v.claim_all(leaving)
        leaving.leave()
        assert _is_expired(staying, leaving)
        assert [each.claim.key for each in v.take_over(staying)] == [key]
        assert _record(staying, leaving) is None

    def test_who_joins_anew_is_another_server_that_owns_nothing(
        self, store: Store, open_server: OpenServer
    ) -> None:
        server, other = open_server(), open_server()
        v.accept(server, v.batch("b", "job", "more"))
        v.write(server, lambda writer: writer.claim(v.take, 1))
        v.take_over(other, server.server_id)
        before = server.server_id
        with pytest.raises(FencedError):
            server.renew()
        server.rejoin()
        assert server.server_id != before
        assert not _is_expired(store, server)
        assert server.find_active() == []
        assert [key.job_id for key in v.claim_all(server)] == [v.sha("more")]


class Owning:
    def test_servers_claim_nothing_twice_and_each_has_its_own(
        self, open_server: OpenServer
    ) -> None:
        first, second = open_server(), open_server()
        v.accept(first, v.batch("b", "x", "y", "z"))
        v.write(second, lambda writer: writer.claim(v.take, 2))
        assert [key.job_id for key in v.claim_all(first)] == [v.sha("z")]
        assert _owned(second) == [v.sha("x"), v.sha("y")]
        assert _owned(first) == [v.sha("z")]

    def test_only_the_owner_records_what_becomes_of_an_attempt(
        self, open_server: OpenServer
    ) -> None:
        owner, other = open_server(), open_server()
        v.accept(owner, v.batch("b", "job"))
        v.claim_all(owner)
        before = v.newest(owner, "job")
        for event in (Event.STARTED, Event.SUCCEEDED, Event.CANCELLED):
            assert v.record(other, v.report("job", event)) == []
        assert v.newest(other, "job") == before
        assert v.record(owner, v.report("job", Event.STARTED))
        assert v.record(other, v.report("job", Event.SUCCEEDED)) == []
        assert v.status(other, "job") is JobStatus.RUNNING

    def test_in_one_call_what_is_its_own_is_recorded_all_the_same(
        self, open_server: OpenServer
    ) -> None:
        first, second = open_server(), open_server()
        v.accept(first, v.batch("b", "x", "y"))
        v.write(first, lambda writer: writer.claim(v.take, 1))
        v.claim_all(second)
        changes = v.record(second, v.report("x", Event.STARTED), v.report("y", Event.STARTED))
        assert [change.key.job_id for change in changes] == [v.sha("y")]

    def test_two_servers_that_accept_one_new_job_store_one_attempt(
        self, open_server: OpenServer
    ) -> None:
        first, second = open_server(), open_server()
        (submitted,) = v.accept(first, v.batch("a", "job"))
        (found,) = v.accept(second, v.batch("b", "job"))
        assert [submitted.outcome, found.outcome] == [Outcome.SUBMITTED, Outcome.FOUND_IN_PROGRESS]
        assert found.attempt == submitted.attempt

    def test_any_server_ends_what_waits_and_marks_what_another_one_runs(
        self, open_server: OpenServer
    ) -> None:
        owner, other = open_server(), open_server()
        v.accept(owner, v.batch("b", "runs", "waits"))
        v.write(owner, lambda writer: writer.claim(v.take, 1))
        runs, waits = v.cancel(other, "runs", "waits", reason="enough")
        assert (runs.status, waits.status) == (JobStatus.CONFIGURING, JobStatus.CANCELLED)
        (active,) = owner.find_active()
        assert active.cancel_reason == "enough"


class TakingOver:
    @pytest.mark.parametrize("is_named", [True, False])
    def test_the_attempts_of_the_dead_are_its_own_from_then_on(
        self, open_server: OpenServer, *, is_named: bool
    ) -> None:
        dead, next_one = open_server(), open_server()
        v.accept(dead, v.batch("b", "ended", "running", "claimed"))
        v.claim_all(dead)
        v.record(dead, v.report("ended", Event.LOST), v.report("running", Event.STARTED))
        v.cancel(dead, "claimed", reason="enough")
        found = list(dead.find_active())
        if not is_named:
            store_servers.expire(dead, dead.server_id)
        v.accept(dead, v.batch("own", "own", "waiting", at=v.later(1)))
        v.write(next_one, lambda writer: writer.claim(v.take, 1))
        taken = v.take_over(next_one, *([dead.server_id] if is_named else []))
        whose = dead.server_id
        assert taken == [dataclasses.replace(each, taken_from=whose) for each in found]
        assert {each.taken_from for each in next_one.find_active()} == {""}
        assert [each.cancel_reason for each in taken] == [None, "enough"]
        assert _owned(next_one) == [v.sha(name) for name in ("running", "claimed", "own")]
        assert dead.find_active() == []
        assert _record(next_one, dead) is None
        assert v.take_over(next_one, dead.server_id) == []

    def test_what_the_one_thought_dead_reports_later_changes_nothing(
        self, open_server: OpenServer
    ) -> None:
        silent, next_one = open_server(), open_server()
        v.accept(silent, v.batch("b", "job"))
        v.claim_all(silent)
        v.take_over(next_one, silent.server_id)
        before = v.newest(next_one, "job")
        for event in (Event.STARTED, Event.LOST, Event.SUCCEEDED):
            assert v.record(silent, v.report("job", event)) == []
        assert v.newest(next_one, "job") == before
        (change,) = v.record(next_one, v.report("job", Event.SUCCEEDED))
        assert change.status is JobStatus.COMPLETED

    def test_who_was_taken_for_dead_neither_claims_nor_takes_over_nor_renews(
        self, open_server: OpenServer
    ) -> None:
        silent, next_one = open_server(), open_server()
        v.accept(silent, v.batch("b", "job"))
        v.take_over(next_one, silent.server_id)
        with pytest.raises(FencedError, match=silent.server_id) as refused:
            v.claim_all(silent)
        assert refused.value.server_id == silent.server_id
        with pytest.raises(FencedError):
            v.take_over(silent, next_one.server_id)
        with pytest.raises(FencedError):
            silent.renew()
        assert _record(next_one, next_one) is not None
        assert v.status(next_one, "job") is JobStatus.PENDING
        assert v.accept(silent, v.batch("c", "job"))

    def test_those_who_live_or_are_of_another_scope_keep_what_they_have(
        self, open_server: OpenServer
    ) -> None:
        others = [open_server("here"), open_server("there"), open_server("there")]
        taking = open_server("here")
        v.accept(taking, v.batch("b", *range(3)))
        for other in others:
            v.write(other, lambda writer: writer.claim(v.take, 1))
        owned = [_owned(other) for other in others]
        _, expired, named = others
        store_servers.expire(taking, expired.server_id)
        assert v.take_over(taking, named.server_id) == []
        assert [_owned(other) for other in others] == owned
        assert all(_record(taking, other) for other in others)
        expired.renew()

    def test_what_nobody_there_is_a_record_of_has_goes_to_the_first_who_asks(
        self, open_server: OpenServer
    ) -> None:
        forgotten, taking = open_server("there"), open_server("here")
        v.accept(taking, v.batch("b", "job"))
        v.claim_all(forgotten)
        store_servers.forget(taking, forgotten.server_id)
        assert [each.claim.spec for each in v.take_over(taking)] == [v.spec("job")]
        assert _owned(taking) == [v.sha("job")]

    def test_it_is_itself_never_among_the_dead(self, open_server: OpenServer) -> None:
        server = open_server()
        v.accept(server, v.batch("b", "job"))
        v.claim_all(server)
        store_servers.expire(server, server.server_id)
        assert v.take_over(server, server.server_id) == []
        assert _owned(server) == [v.sha("job")]
        server.renew()

    def test_what_waits_in_the_queue_is_nobodys_and_stays_there(
        self, open_server: OpenServer
    ) -> None:
        dead, next_one = open_server(), open_server()
        v.accept(dead, v.batch("b", "job", "retried"))
        v.claim_all(dead)
        v.fail(dead, "retried")
        v.record(dead, v.report("job", Event.SUCCEEDED))
        assert v.take_over(next_one, dead.server_id) == []
        assert [key.job_id for key in v.claim_all(next_one)] == [v.sha("retried")]

    def test_after_a_crash_the_next_opening_can_take_over_what_was_claimed(
        self, open_store: OpenStore
    ) -> None:
        first = open_store()
        v.accept(first, v.batch("b", "job"))
        v.claim_all(first)
        first.close()
        second = open_store()
        assert second.find_active() == []
        assert [each.claim.spec for each in v.take_over(second, first.server_id)] == [v.spec("job")]
        assert _owned(second) == [v.sha("job")]
        second.close()


def _record(store: Store, server: Store) -> ServerRecord | None:
    by_id = {record.server_id: record for record in store.find_servers()}
    return by_id.get(server.server_id)


def _is_expired(store: Store, server: Store) -> bool:
    record = _record(store, server)
    assert record is not None
    return record.is_expired


def _owned(server: Store) -> list[str]:
    return [each.claim.key.job_id for each in server.find_active()]
