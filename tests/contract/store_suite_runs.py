"""What every store does with runs: claims from the queue, reports by the lifecycle table."""

import datetime

import pytest

from dshpc_server.domain.job import JobStatus, Resources
from dshpc_server.domain.lifecycle import TRANSITIONS, Event
from dshpc_server.domain.queue import Verdict
from dshpc_server.store.port import Store
from dshpc_server.store.records import Claim, Ending, Report
from support import store_values as v


class Claiming:
    def test_attempts_of_a_batch_leave_the_queue_by_their_index(self, store: Store) -> None:
        rows = [v.row(0, "first"), v.rejected(1), v.row(2, "second"), v.row(3, "first")]
        v.accept(store, v.batch("b", rows=[*rows, v.row(4, "third")]))
        claimed = [key.job_id for key in v.claim_all(store)]
        assert claimed == [v.sha(name) for name in ("first", "second", "third")]

    def test_the_same_order_holds_for_a_queue_of_hundreds(self, store: Store) -> None:
        v.accept(store, v.batch("a", *(f"a{n}" for n in range(450)), at=v.later(1)))
        v.accept(store, v.batch("b", *(f"b{n}" for n in range(450)), at=v.later(1)))
        claimed = [key.job_id for key in v.claim_all(store)]
        assert len(set(claimed)) == len(claimed) == 900
        indexes = {v.sha(f"{batch}{n}"): n for batch in "ab" for n in range(450)}
        assert [indexes[job_id] for job_id in claimed] == sorted(indexes.values())

    def test_a_claim_tells_all_that_is_needed_to_launch(self, store: Store) -> None:
        v.accept(store, v.batch("b", rows=[v.row(0, "job", cpus=3)]))
        (claim,) = v.write(store, lambda writer: writer.claim(v.take, 5)).taken
        assert (claim.key.job_id, claim.key.number) == (v.sha("job"), 1)
        assert claim.spec == v.spec("job")
        assert claim.resources == Resources(cpus=3, memory_bytes=1024, gpus=0)
        assert (claim.timeout_seconds, claim.created_at, claim.revision) == (60.5, v.NOON, 2)
        assert v.status(store, "job") is JobStatus.CONFIGURING

    def test_nothing_is_claimed_twice(self, store: Store) -> None:
        v.accept(store, v.batch("b", "x", "y", "z"))
        first = v.write(store, lambda writer: writer.claim(v.take, 2)).taken
        assert [claim.key.job_id for claim in first] == [v.sha("x"), v.sha("y")]
        assert [key.job_id for key in v.claim_all(store)] == [v.sha("z")]
        assert v.claim_all(store) == []

    def test_the_first_that_does_not_fit_ends_the_claim(self, store: Store) -> None:
        rows = [v.row(0, "s", cpus=1), v.row(1, "l", cpus=8), v.row(2, "t", cpus=1)]
        v.accept(store, v.batch("b", rows=rows))
        asked = []

        def fits(claim: Claim) -> Verdict:
            asked.append(claim.resources.cpus)
            return Verdict.TAKE if claim.resources.cpus <= 4 else Verdict.STOP

        claims = v.write(store, lambda writer: writer.claim(fits, 10)).taken
        assert [claim.key.job_id for claim in claims] == [v.sha("s")]
        assert asked == [1, 8]
        assert v.status(store, "t") is JobStatus.PENDING

    def test_a_limit_of_zero_takes_and_asks_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        assert v.write(store, lambda writer: writer.claim(lambda _: _no(), 0)).taken == []

    def test_a_claim_whose_question_raises_takes_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("b", "x", "y"))
        granted = iter([Verdict.TAKE])
        with pytest.raises(RuntimeError):
            v.write(store, lambda writer: writer.claim(lambda _: next(granted, None) or _no(), 9))
        assert v.status(store, "x") is JobStatus.PENDING


def _no() -> Verdict:
    raise RuntimeError("out of count")


class Recording:
    def test_a_run_goes_its_way_and_its_revision_rises_by_one(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        seen = [v.newest(store, "job")]
        for event in (Event.STARTED, Event.SUSPENDED, Event.RESUMED, Event.ENDED, Event.SUCCEEDED):
            (change,) = v.record(store, v.report("job", event))
            assert change == v.newest(store, "job")
            seen.append(change)
        assert [attempt.revision for attempt in seen] == [2, 3, 4, 5, 6, 7]
        assert [attempt.status for attempt in seen[1:]] == [
            JobStatus.RUNNING,
            JobStatus.SUSPENDED,
            JobStatus.RUNNING,
            JobStatus.COMPLETING,
            JobStatus.COMPLETED,
        ]

    def test_what_a_report_brings_is_kept(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        ending = Ending(
            result=b"\x00answer",
            exit_code=None,
            signal=9,
            output_hash=v.sha("out"),
            output_size_bytes=2**40,
            output_is_inline=False,
            reason="killed",
            stderr_tail="it hurts",
        )
        key = v.report("job", Event.STARTED).key
        v.record(
            store,
            Report(key=key, event=Event.STARTED, at=v.later(1), engine_job_id="77", node="n1"),
            Report(key=key, event=Event.KILLED_BY_SIGNAL, at=v.later(3.5), ending=ending),
        )
        record = store.find_job(key.job_id)
        assert record is not None
        newest = record.newest
        assert (newest.engine_job_id, newest.node, newest.ending) == ("77", "n1", ending)
        assert newest.attempt.started_at == v.later(1)
        assert newest.attempt.ended_at == v.later(3.5)
        assert newest.attempt.result == b"\x00answer"

    @pytest.mark.parametrize(
        ("reported", "expected"), [(None, None), (v.later(2), v.later(2))], ids=["unknown", "known"]
    )
    def test_a_start_that_was_never_reported_comes_with_the_end(
        self,
        store: Store,
        reported: datetime.datetime | None,
        expected: datetime.datetime | None,
    ) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        (change,) = v.record(
            store,
            Report(
                key=v.report("job", Event.SUCCEEDED).key,
                event=Event.SUCCEEDED,
                at=v.later(3),
                started_at=reported,
                ending=v.an_ending(),
            ),
        )
        assert change.started_at == expected

    def test_a_start_that_is_known_stays(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        v.record(store, v.report("job", Event.STARTED, at=v.later(1)))
        key = v.report("job", Event.ENDED).key
        late = Report(key=key, event=Event.ENDED, at=v.later(5), started_at=v.later(4))
        (change,) = v.record(store, late)
        assert change.started_at == v.later(1)

    def test_late_and_repeated_reports_are_dropped(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.end(store, "job")
        ended = store.find_job(v.sha("job"))
        for event in Event:
            assert v.record(store, v.report("job", event, at=v.later(99))) == []
        assert store.find_job(v.sha("job")) == ended

    def test_reports_for_another_attempt_are_dropped(self, store: Store) -> None:
        v.accept(store, v.batch("first", "job"))
        v.end(store, "job", Event.LOST)
        v.accept(store, v.batch("second", "job"))
        v.claim_all(store)
        before = v.newest(store, "job")
        for number in (1, 3):
            assert v.record(store, v.report("job", Event.SUCCEEDED, number=number)) == []
        assert v.record(store, v.report("unknown", Event.STARTED)) == []
        assert v.newest(store, "job") == before
        (first,) = store.find_rows("first", first_index=0, limit=1)
        assert first.attempt is not None
        assert first.attempt.status is JobStatus.NODE_FAIL

    def test_of_many_reports_in_one_call_each_sees_those_before_it(self, store: Store) -> None:
        names = [f"job{number}" for number in range(700)]
        v.accept(store, v.batch("b", *names))
        v.claim_all(store)
        reports = [v.report(name, Event.STARTED) for name in names]
        reports += [v.report(name, Event.EXITED_NONZERO) for name in names]
        reports += [v.report(name, Event.SUCCEEDED) for name in names]
        changes = v.record(store, *reports)
        assert len(changes) == 1400
        assert [change.revision for change in changes] == [3] * 700 + [4] * 700
        found = store.find_attempts([v.sha(name) for name in names])
        assert {attempt.status for attempt in found.values()} == {JobStatus.FAILED}

    def test_a_waiting_job_can_be_cancelled_and_leaves_the_queue(self, store: Store) -> None:
        v.accept(store, v.batch("b", "x", "y"))
        v.record(store, v.report("x", Event.CANCELLED))
        assert v.status(store, "x") is JobStatus.CANCELLED
        assert [key.job_id for key in v.claim_all(store)] == [v.sha("y")]

    def test_a_claim_is_not_made_by_a_report(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        assert v.record(store, v.report("job", Event.CLAIMED)) == []
        assert v.status(store, "job") is JobStatus.PENDING

    def test_an_ending_that_is_missing_or_misplaced_is_a_mistake(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        key = v.report("job", Event.STARTED).key
        ended = Report(key=key, event=Event.ENDED, at=v.NOON, ending=v.an_ending())
        succeeded = Report(key=key, event=Event.SUCCEEDED, at=v.NOON)
        for wrong in (ended, succeeded):
            with pytest.raises(ValueError, match="ending"):
                v.record(store, v.report("job", Event.STARTED), wrong)
        assert v.status(store, "job") is JobStatus.CONFIGURING

    def test_every_line_of_the_lifecycle_table_from_a_claim_on_is_taken(self, store: Store) -> None:
        ways = {
            JobStatus.PENDING: [],
            JobStatus.CONFIGURING: [],
            JobStatus.RUNNING: [Event.STARTED],
            JobStatus.SUSPENDED: [Event.STARTED, Event.SUSPENDED],
            JobStatus.COMPLETING: [Event.ENDED],
        }
        lines = [line for line in TRANSITIONS if line.source in ways]
        lines = [line for line in lines if line.event is not Event.CLAIMED]
        assert len(lines) > 40
        for line in lines:
            name = f"{line.source} {line.event}"
            v.accept(store, v.batch(name, name))
            if line.source is not JobStatus.PENDING:
                v.claim_all(store)
            v.record(store, *(v.report(name, event) for event in ways[line.source]))
            (change,) = v.record(store, v.report(name, line.event))
            assert change.status is line.target
