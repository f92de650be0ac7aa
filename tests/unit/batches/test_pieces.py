"""Pieces of large batches: what is kept of rows is read back, job by job."""

import dataclasses
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dshpc_server.batches import drafting, pieces
from dshpc_server.domain import lookup
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobSpec, Resources
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.store.records import Candidate
from dshpc_server.store.undecided import Dependency, Undecided
from support import store_values

ASKED = bytes(range(256))

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
undecided_plans = st.builds(
    lambda plan: Undecided(
        config_index=0,
        method_name=plan.spec.method_name,
        function_hash=plan.spec.function_hash,
        inputs=plan.spec.inputs,
        parameters_json=plan.spec.parameters_json,
        resources=plan.resources,
        timeout_seconds=plan.timeout_seconds,
        policy=plan.policy,
    ),
    candidates,
)
dependencies = st.builds(
    Dependency,
    upstream_index=st.integers(0, 9),
    condition=st.sampled_from(Condition),
    input_name=st.text(max_size=3),
    upstream_name=st.text(max_size=5),
) | st.builds(
    Dependency,
    upstream_chain=st.builds(
        AttemptKey, job_id=st.integers(0, 5).map(store_values.sha), number=st.integers(1, 9)
    ),
    condition=st.sampled_from(Condition),
    upstream_name=st.text(max_size=5),
)


@st.composite
def drafted(draw: st.DrawFn, index: int) -> drafting.Draft:
    plan = draw(rejections | candidates | undecided_plans)
    config_index = draw(st.integers(0, index))
    waits: tuple[Dependency, ...] = ()
    if isinstance(plan, Undecided):
        plan = dataclasses.replace(plan, config_index=config_index)
        waits = tuple(draw(st.lists(dependencies, min_size=1, max_size=3)))
    if isinstance(plan, Rejection):
        waits = tuple(draw(st.lists(dependencies, max_size=2)))
    return drafting.Draft(
        index=index,
        config_index=config_index,
        duplicate_of=draw(st.none() | st.integers(0, index)),
        head=draw(st.binary(max_size=9)),
        plan=plan,
        priority=draw(st.none() | st.integers(-100, 100)),
        dependencies=waits,
    )


@st.composite
def batches(draw: st.DrawFn) -> list[drafting.Draft]:
    return [draw(drafted(index)) for index in range(draw(st.integers(1, 12)))]


def job_of(draft: drafting.Draft) -> str:
    return draft.plan.spec.job_id if isinstance(draft.plan, Candidate) else ""


@given(batches(), st.integers(1, 5), st.integers(1, 5))
def test_rows_come_back_as_they_were_job_by_job(
    drafts: list[drafting.Draft], size: int, drafted_together: int
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


WAITS = Undecided(
    config_index=0,
    method_name="count",
    function_hash="f" * 64,
    inputs={},
    parameters_json="{}",
    resources=Resources(cpus=1, memory_bytes=1, gpus=0),
    timeout_seconds=1.0,
    policy=lookup.Policy(),
)


def named(*, inputs: dict[str, str], cache: lookup.CachePolicy) -> Candidate:
    """A job that anything can be said of but what it reads and whether it is looked up only."""
    return Candidate(
        spec=JobSpec(
            job_id=store_values.sha("job"),
            method_name="count",
            function_hash="f" * 64,
            inputs=inputs,
            parameters_json="{}",
        ),
        resources=Resources(cpus=1, memory_bytes=1, gpus=0),
        timeout_seconds=1.0,
        policy=lookup.Policy(cache=cache),
    )


@pytest.mark.parametrize(
    ("plan", "kept"),
    [
        (Rejection(reason=Reason.INVALID_CONFIG, message="no"), ASKED),
        (WAITS, ASKED),
        (named(inputs={"input": "a" * 64}, cache=lookup.CachePolicy.USE), ASKED),
        (named(inputs={}, cache=lookup.CachePolicy.ONLY), ASKED),
        (named(inputs={}, cache=lookup.CachePolicy.USE), None),
    ],
)
def test_what_a_row_asks_for_is_kept_of_rows_that_may_get_no_job_or_none_yet(
    plan: Candidate | Rejection | Undecided, kept: bytes | None
) -> None:
    sorting = pieces.Sorting()
    sorting.add(
        [
            drafting.Draft(
                index=0,
                config_index=0,
                duplicate_of=None,
                head=b"",
                plan=plan,
                config=lambda: ASKED,
            )
        ]
    )
    (piece,) = sorting.pieces("b", 1)
    (read,) = pieces.decoded(piece.rows)
    assert (read.config and read.config()) == kept


def test_a_piece_of_a_later_version_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="version 2"):
        pieces.decoded(zlib.compress(json.dumps([2, [], []]).encode()))
