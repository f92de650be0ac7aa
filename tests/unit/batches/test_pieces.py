"""Pieces of large batches: what is kept of rows is read back, job by job."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dshpc_server.batches import pieces, resolver
from dshpc_server.domain import lookup
from dshpc_server.domain.job import JobSpec, Resources
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.store.records import Candidate
from support import store_values

rejections = st.builds(
    Rejection,
    reason=st.sampled_from(Reason),
    message=st.text(max_size=5),
    violations=st.lists(
        st.builds(Violation, field=st.text(max_size=5), description=st.text(max_size=5)), max_size=2
    ).map(tuple),
)
candidates = st.builds(
    Candidate,
    spec=st.builds(
        JobSpec,
        job_id=st.integers(0, 5).map(store_values.sha),
        method_name=st.sampled_from(["count", "méthode"]),
        function_hash=st.just("f" * 64),
        inputs=st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2),
        parameters_json=st.text(max_size=9),
    ),
    resources=st.builds(
        Resources, cpus=st.integers(1, 3), memory_bytes=st.integers(0, 2**60), gpus=st.just(0)
    ),
    timeout_seconds=st.floats(0, 1e9),
    policy=st.builds(
        lookup.Policy,
        cache=st.sampled_from(lookup.CachePolicy),
        resubmit=st.sampled_from(lookup.ResubmitPolicy),
        max_attempts=st.integers(1, 9),
    ),
)


@st.composite
def batches(draw: st.DrawFn) -> list[resolver.Draft]:
    plans = draw(st.lists(rejections | candidates, min_size=1, max_size=12))
    return [
        resolver.Draft(
            index=index,
            config_index=draw(st.integers(0, index)),
            duplicate_of=draw(st.none() | st.integers(0, index)),
            head=draw(st.binary(max_size=9)),
            plan=plan,
            priority=draw(st.none() | st.integers(-100, 100))
            if isinstance(plan, Candidate)
            else None,
        )
        for index, plan in enumerate(plans)
    ]


def job_of(draft: resolver.Draft) -> str:
    return draft.plan.spec.job_id if isinstance(draft.plan, Candidate) else ""


@given(batches(), st.integers(1, 5), st.integers(1, 5))
def test_rows_come_back_as_they_were_job_by_job(
    drafts: list[resolver.Draft], size: int, drafted_together: int
) -> None:
    sorting = pieces.Sorting()
    for first in range(0, len(drafts), drafted_together):
        sorting.add(drafts[first : first + drafted_together])
    made = list(sorting.pieces("b", size))
    assert [each.number for each in made] == list(range(len(made)))
    assert {each.row_count for each in made[:-1]} <= {size}
    assert sum(each.row_count for each in made) == len(drafts)
    read = [draft for each in made for draft in pieces.decoded(each.rows)]
    assert read == sorted(drafts, key=lambda draft: (job_of(draft), draft.index))


def test_a_piece_of_a_later_version_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="version 2"):
        pieces.decoded(zlib.compress(json.dumps([2, [], []]).encode()))
