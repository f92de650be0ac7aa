"""Pages of jobs: every job once, in order, within the bounds that were asked for."""

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from dshpc_server.batches import listing
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import records
from support import job_records

ALL = listing.Filter()


def jobs(count: int) -> job_records.Records:
    return job_records.Records(*(job_records.record(n) for n in range(count)))


def read_all(
    store: job_records.Records, *, max_jobs: int, max_bytes: int, size: int = 10
) -> list[list[bytes]]:
    """Every page; a job is encoded as the beginning of its name, filled up to a size."""

    def encode(record: records.JobRecord) -> bytes:
        return _shown(record).ljust(size)

    pages: list[list[bytes]] = []
    last: records.ListPosition | None = None
    while True:
        page = listing.read_page(
            store.as_reader(),
            encode,
            after=last,
            max_jobs=max_jobs,
            max_bytes=max_bytes,
            wanted=ALL,
        )
        pages.append(list(page.jobs))
        last = page.last
        if last is None:
            return pages


@hypothesis.given(st.integers(0, 120), st.integers(1, 50), st.integers(1, 2000))
def test_the_pages_hold_every_job_once_the_newest_first(
    count: int, max_jobs: int, max_bytes: int
) -> None:
    store = jobs(count)
    pages = read_all(store, max_jobs=max_jobs, max_bytes=max_bytes)
    told = [each.strip() for each in itertools.chain(*pages)]
    assert told == sorted(map(_shown, store.jobs.values()), reverse=True)
    for page in pages:
        assert len(page) <= max_jobs
        assert len(page) <= 1 or sum(map(len, page)) <= max_bytes
    assert all(pages) or count == 0


def test_a_job_that_is_larger_than_a_page_is_a_page() -> None:
    pages = read_all(jobs(3), max_jobs=10, max_bytes=50, size=500)
    assert [len(page) for page in pages] == [1, 1, 1]


def test_no_more_is_read_at_once_than_may_be_needed() -> None:
    store = jobs(1000)
    assert [len(page) for page in read_all(store, max_jobs=1000, max_bytes=10**6)] == [1000]
    assert store.asked == [16, 32, 64, 128, 256, 256, 249]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (listing.Filter(statuses={JobStatus.FAILED}), {"b"}),
        (listing.Filter(statuses={JobStatus.FAILED, JobStatus.PENDING}), {"a", "b"}),
        (listing.Filter(method_name="other"), set()),
        (ALL, {"a", "b"}),
    ],
)
def test_the_filters_are_handed_on(wanted: listing.Filter, expected: set[str]) -> None:
    store = job_records.Records(job_records.record("a"), job_records.record("b", JobStatus.FAILED))
    names = {job_records.record(name).spec.job_id.encode(): name for name in ("a", "b")}
    page = listing.read_page(
        store.as_reader(),
        lambda record: record.spec.job_id.encode(),
        after=None,
        max_jobs=10,
        max_bytes=1000,
        wanted=wanted,
    )
    assert {names[each] for each in page.jobs} == expected


def _shown(record: records.JobRecord) -> bytes:
    return record.spec.job_id[:9].encode()
