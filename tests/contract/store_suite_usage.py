"""What every store keeps of what an attempt used, and of how it was packed."""

import dataclasses

import pytest

from dshpc_server.domain.job import AttemptKey, Basis, Packing, Usage
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store.port import Store
from dshpc_server.store.records import AttemptRecord, Report
from support import store_values as v

PACKED = Packing(jobs=7, basis=Basis.OBSERVED)
WHOLE = Usage(cpu_seconds=1.25, peak_memory_bytes=2**40, queue_seconds=86_400.001)


class Using:
    def test_of_what_nobody_told_anything_nothing_is_known(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.end(store, "job")
        assert _told(store, "job") == (Usage(), None)

    @pytest.mark.parametrize("basis", Basis)
    def test_what_came_with_the_end_is_kept(self, store: Store, basis: Basis) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        packing = Packing(jobs=2, basis=basis)
        v.record(store, _report("job", Event.SUCCEEDED, usage=WHOLE, packing=packing))
        assert _told(store, "job") == (WHOLE, packing)
        (listed,) = store.find_jobs(after=None, limit=9)
        assert (listed.newest.usage, listed.newest.packing) == (WHOLE, packing)

    def test_nothing_used_is_not_the_same_as_not_known(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        none = Usage(cpu_seconds=0.0, peak_memory_bytes=0, queue_seconds=0.0)
        v.record(store, _report("job", Event.SUCCEEDED, usage=none))
        assert _told(store, "job") == (none, None)

    def test_times_are_kept_to_the_millisecond(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        exact = Usage(cpu_seconds=0.0126, queue_seconds=1e9 + 0.0004)
        v.record(store, _report("job", Event.SUCCEEDED, usage=exact))
        assert _told(store, "job") == (Usage(cpu_seconds=0.013, queue_seconds=1e9), None)

    @pytest.mark.parametrize("in_one_call", [3, 1])
    def test_a_later_report_adds_its_figures_and_erases_none(
        self, store: Store, in_one_call: int
    ) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        waited = Usage(queue_seconds=3.0, cpu_seconds=0.5)
        reports = [
            _report("job", Event.STARTED, usage=waited, packing=PACKED),
            v.report("job", Event.ENDED),
            _report("job", Event.SUCCEEDED, usage=Usage(cpu_seconds=9.0, peak_memory_bytes=5)),
        ]
        for first in range(0, 3, in_one_call):
            assert len(v.record(store, *reports[first : first + in_one_call])) == in_one_call
        used = Usage(queue_seconds=3.0, cpu_seconds=9.0, peak_memory_bytes=5)
        assert _told(store, "job") == (used, PACKED)

    def test_how_it_is_packed_can_be_told_anew(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        v.record(store, _report("job", Event.STARTED, packing=PACKED))
        another = Packing(jobs=3, basis=Basis.DECLARED)
        v.record(store, _report("job", Event.SUCCEEDED, packing=another))
        assert _told(store, "job") == (Usage(), another)

    def test_what_is_dropped_tells_nothing(self, store: Store) -> None:
        v.accept(store, v.batch("b", "job"))
        v.end(store, "job")
        assert v.record(store, _report("job", Event.LOST, usage=WHOLE, packing=PACKED)) == []
        assert _told(store, "job") == (Usage(), None)

    def test_of_many_each_has_its_own(self, store: Store) -> None:
        names = [f"job{number}" for number in range(600)]
        v.accept(store, v.batch("b", *names))
        v.claim_all(store)
        used = {
            name: Usage(cpu_seconds=number / 8 if number % 3 else None, peak_memory_bytes=number)
            for number, name in enumerate(names)
        }
        packed = {name: PACKED if number % 2 else None for number, name in enumerate(names)}
        reports = [
            _report(name, Event.SUCCEEDED, usage=used[name], packing=packed[name]) for name in names
        ]
        assert len(v.record(store, *reports)) == 600
        for name in names:
            assert _told(store, name) == (used[name], packed[name])

    def test_a_retry_begins_with_nothing_and_the_failure_keeps_what_it_used(
        self, store: Store
    ) -> None:
        v.accept(store, v.batch("b", "job"))
        v.claim_all(store)
        lost = _report("job", Event.LOST, usage=WHOLE, packing=PACKED)
        v.record(store, dataclasses.replace(lost, retry_after_seconds=0.0))
        failed, retry = _records(store, "job")
        assert (failed.usage, failed.packing) == (WHOLE, PACKED)
        assert (retry.usage, retry.packing) == (Usage(), None)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"usage": Usage(cpu_seconds=-1.0)},
            {"usage": Usage(peak_memory_bytes=-1)},
            {"usage": Usage(cpu_seconds=1.0, queue_seconds=-0.001)},
            {"packing": Packing(jobs=1, basis=Basis.DECLARED)},
        ],
        ids=["cpu", "memory", "queue", "packing"],
    )
    def test_what_cannot_be_is_refused_with_all_that_came_with_it(
        self, store: Store, wrong: dict[str, Usage | Packing]
    ) -> None:
        v.accept(store, v.batch("b", "job", "other"))
        v.claim_all(store)
        reports = [v.report("other", Event.STARTED), v.report("job", Event.STARTED)]
        reports[1] = dataclasses.replace(reports[1], **wrong)  # type: ignore[arg-type] # by name
        with pytest.raises(Exception, match=r"usage_from_0|packed_with_others_or_not"):
            v.record(store, *reports)
        assert _told(store, "job") == (Usage(), None)
        assert v.newest(store, "other").started_at is None


def _report(
    name: str, event: Event, *, usage: Usage | None = None, packing: Packing | None = None
) -> Report:
    return dataclasses.replace(v.report(name, event), usage=usage, packing=packing)


def _records(store: Store, name: str) -> list[AttemptRecord]:
    record = store.find_job(v.sha(name))
    assert record is not None
    assert record.newest.attempt.key == AttemptKey(job_id=v.sha(name), number=len(record.attempts))
    return list(record.attempts)


def _told(store: Store, name: str) -> tuple[Usage, Packing | None]:
    newest = _records(store, name)[-1]
    return newest.usage, newest.packing
