"""Rows that wait for others, for tests of the store: made, settled and released."""

from collections.abc import Collection

from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, Resources
from dshpc_server.store.port import Store
from dshpc_server.store.records import Candidate, NewBatch, NewRow, Row
from dshpc_server.store.undecided import Dependency, Ready, Settled, Skip, Undecided, Upstreams
from support import store_values as v


def on_row(
    index: int, condition: Condition = Condition.SUCCEEDED, *, input_name: str = ""
) -> Dependency:
    return Dependency(
        upstream_index=index,
        condition=condition,
        input_name=input_name,
        upstream_name=f"row {index}",
    )


def on_job(
    name: object, number: int = 1, condition: Condition = Condition.SUCCEEDED, input_name: str = ""
) -> Dependency:
    return Dependency(
        upstream_chain=AttemptKey(job_id=v.sha(name), number=number),
        condition=condition,
        input_name=input_name,
        upstream_name=f"job {name}",
    )


def waiting(index: int, *dependencies: Dependency) -> NewRow:
    plan = Undecided(
        config_index=index,
        method_name="count",
        function_hash=v.sha("function"),
        inputs={"known": v.sha("known")},
        parameters_json='{"n":1}',
        resources=Resources(cpus=2, memory_bytes=1024),
        timeout_seconds=60.5,
        policy=v.USUAL,
    )
    return NewRow(
        index=index,
        head=b"head %d" % index,
        candidate=None,
        rejection=None,
        undecided=plan,
        dependencies=dependencies,
    )


def after(*pairs: tuple[int, int]) -> list[NewRow]:
    """Rows that each need another's success: (upstream, row) for every one but row 0."""
    return [v.row(0, "first"), *(waiting(row, on_row(upstream)) for upstream, row in pairs)]


def why(skip: Skip) -> bytes:
    as_what = skip.end.status or skip.end.outcome
    return f"{skip.condition} of {skip.upstream_name}, which is {as_what}".encode()


def settle(store: Store, upstreams: Upstreams | None) -> Settled:
    return v.write(store, lambda writer: writer.settle(upstreams, why))


def settle_jobs(store: Store, *names: object) -> Settled:
    return settle(store, Upstreams(job_ids=[v.sha(name) for name in names]))


def settle_batches(store: Store, *batch_ids: str) -> Settled:
    return settle(store, Upstreams(batch_ids=batch_ids))


def ready_rows(settled: Settled) -> list[tuple[str, int]]:
    return [(each.batch_id, each.index) for each in settled.ready]


def release(store: Store, batch_id: str, *rows: NewRow) -> list[Row]:
    return list(write_release(store, v.batch(batch_id, at=v.later(60), rows=rows)))


def write_release(store: Store, batch: NewBatch) -> Collection[Row]:
    return v.write(store, lambda writer: writer.release(batch))


def found_ready(ready: Ready, name: object) -> NewRow:
    """What is made of a ready row: its job is called like this."""
    candidate = Candidate(
        spec=v.spec(name),
        resources=ready.plan.resources,
        timeout_seconds=ready.plan.timeout_seconds,
        policy=ready.plan.policy,
    )
    head = ready.head + b" and more"
    return NewRow(index=ready.index, head=head, candidate=candidate, rejection=None)


def release_all(store: Store, settled: Settled) -> list[Row]:
    """Release what is ready; each row's job is called after its batch and index."""
    return [
        row
        for each in settled.ready
        for row in release(store, each.batch_id, found_ready(each, f"{each.batch_id}.{each.index}"))
    ]
