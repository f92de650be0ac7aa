"""However often a stream is cut, and whatever is sent again: each row is told once, to its end."""

from hypothesis import given
from hypothesis import strategies as st

from dshpc.client import retries, streams
from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2

RUNNING, LOST = types_pb2.JOB_STATUS_RUNNING, types_pb2.JOB_STATUS_NODE_FAIL
ENDS = (types_pb2.JOB_STATUS_COMPLETED, types_pb2.JOB_STATUS_FAILED)

Seen = tuple[int, int, types_pb2.JobStatus.ValueType]
"""Index, attempt, status."""


@st.composite
def histories(draw: st.DrawFn) -> list[Seen]:
    """What happens to a few rows, in the order in which it happens."""
    lives: list[list[Seen]] = []
    for index, retried in enumerate(draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))):
        steps = [(index, n, status) for n in range(1, retried + 1) for status in (RUNNING, LOST)]
        end = draw(st.sampled_from(ENDS))
        lives.append([*steps, (index, retried + 1, RUNNING), (index, retried + 1, end)])
    turns = draw(st.permutations([index for index, life in enumerate(lives) for _ in life]))
    left = [iter(life) for life in lives]
    return [next(left[index]) for index in turns]


@st.composite
def calls(draw: st.DrawFn) -> tuple[int, bool, bool]:
    """How many steps a call tells, whether all rows come first, and whether in groups."""
    return draw(st.integers(0, 5)), draw(st.booleans()), draw(st.booleans())


def sent(steps: list[Seen], *, as_group: bool) -> list[streams.Event]:
    rows = [
        types_pb2.MultiJobResult(index=index, attempt=attempt, new_status=status)
        for index, attempt, status in steps
    ]
    if as_group:
        return [streams.Event(results=job_service_pb2.MultiJobResults(results=rows))]
    return [streams.Event(result=row) for row in rows]


@given(histories(), st.lists(calls(), max_size=6))
def test_every_row_is_told_once_and_to_its_end(
    history: list[Seen], cut: list[tuple[int, bool, bool]]
) -> None:
    reading = streams.BatchReading(
        batch_service_pb2.WatchBatchRequest(batch_id="b"),
        retries.Backoff(retries.RetryPolicy()),
    )
    told: list[Seen] = []
    happened = 0
    for steps, all_come_first, as_group in [*cut, (len(history), True, True)]:
        known = {step[0]: step for step in history[:happened]} if all_come_first else {}
        fresh = history[happened : happened + steps]
        happened += steps
        for event in sent([*known.values(), *fresh], as_group=as_group):
            news = reading.take(event)
            if news is not None:
                rows = [news.result] if news.HasField("result") else news.results.results
                told += [(row.index, row.attempt, row.new_status) for row in rows]

    assert told == history
