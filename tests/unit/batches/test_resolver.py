"""Resolving over a real catalog, store and content store: each row by its own situation."""

import dataclasses
from collections.abc import Sequence

import pytest

from dshpc.v1 import types_pb2
from dshpc_server import errors
from dshpc_server.batches import request
from dshpc_server.batches.request import RefusedRow
from dshpc_server.domain import identity, lookup
from dshpc_server.domain.job import AttemptKey, JobStatus, Outcome
from dshpc_server.domain.lifecycle import Event
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.store import port, records
from dshpc_server.transport import encoder as encoder_module
from support import batches_values as values
from support import methods_site, store_values
from support.batches_assembly import Assembly, after, after_job, job
from support.batches_prepared import candidate, prepare, refusal


async def end(
    parts: Assembly,
    rows: Sequence[records.Row],
    event: Event,
    output: str = "",
    *,
    is_inline: bool = True,
) -> None:
    """Bring the jobs of these rows to their end."""
    keys = [row.attempt.key for row in rows if row.attempt is not None]
    ending = store_values.an_ending()
    if output:
        told = parts.encoder.ended(values.ended(output=values.text_output(output)))
        ending = records.Ending(
            result=told,
            exit_code=0,
            signal=None,
            output_hash=store_values.sha(output),
            output_size_bytes=len(output),
            output_is_inline=is_inline,
            reason="",
            stderr_tail="",
        )
    await parts.committer.write(lambda writer: writer.claim(store_values.take, 100))
    await parts.committer.write(
        lambda writer: writer.record(
            [
                records.Report(key=key, event=event, at=store_values.NOON, ending=ending)
                for key in keys
            ]
        )
    )


async def test_every_row_is_decided_by_its_own_situation(parts: Assembly) -> None:
    known = parts.kept.put(b"sample,value\n")
    completed, failed, waiting = job(n=1), job(n=2), job(n=3)
    await end(parts, await parts.accept(completed), Event.SUCCEEDED)
    await end(parts, await parts.accept(failed), Event.EXITED_NONZERO)
    await parts.accept(waiting)
    refused = RefusedRow(
        config_index=0,
        index=7,
        head=b"",
        rejection=Rejection(reason=Reason.INVALID_CONFIG, message="no name"),
        config=lambda: b"config",
    )
    rows = await parts.accept(
        job(0, n=1),
        job(1, n=2),
        job(2, n=3),
        job(3, n=4),
        job(4, method="absent", n=5),
        job(5, method="count", inputs={"input": "0" * 64}),
        job(6, method="count", inputs={"input": known}),
        refused,
        job(8, n=4),
        job(9, method="count"),
    )
    assert [(row.outcome, row.attempt and row.attempt.status) for row in rows] == [
        (Outcome.FOUND_COMPLETED, JobStatus.COMPLETED),
        (Outcome.RESUBMITTED, JobStatus.PENDING),
        (Outcome.FOUND_IN_PROGRESS, JobStatus.PENDING),
        (Outcome.SUBMITTED, JobStatus.PENDING),
        (Outcome.REJECTED, None),
        (Outcome.REJECTED, None),
        (Outcome.SUBMITTED, JobStatus.PENDING),
        (Outcome.REJECTED, None),
        (Outcome.FOUND_IN_PROGRESS, JobStatus.PENDING),
        (Outcome.REJECTED, None),
    ]
    assert rows[1].old_status is JobStatus.FAILED
    messages = [refusal(rows[index]).message for index in (4, 5, 7, 9)]
    assert messages[0] == "Method 'absent' not found"
    assert f"File {'0' * 64} not found" in messages[1]
    assert messages[2] == "no name"
    assert "inputs.input: needed, not given" in messages[3]
    duplicate = types_pb2.MultiJobResult.FromString(rows[8].head)
    assert duplicate.duplicate_of_index == 3


async def test_the_job_id_is_the_published_recipe(parts: Assembly) -> None:
    known = parts.kept.put(b"data")
    found = await candidate(parts, job(method="count", inputs={"input": known}, bins=10))
    version = parts.catalog.current()["count"]
    assert found.spec.job_id == identity.job_id(
        function_hash=version.function_hash,
        inputs={"input": known},
        parameters_json='{"bins":10}',
    )
    assert found.spec.function_hash == version.function_hash


async def test_a_default_that_is_spelled_out_is_the_same_job(
    parts: Assembly, site: methods_site.Site
) -> None:
    bins = {"name": "bins", "type": "integer", "required": True, "default": 10}
    label = {"name": "label", "type": "string", "required": True}
    site.install("declared", inputs=[], parameters=[bins, label])
    parts.catalog.load()
    silent = await candidate(parts, job(method="declared", label="x"))
    spelled = await candidate(parts, job(method="declared", label="x", bins=10))
    assert silent.spec == spelled.spec
    assert silent.spec.parameters_json == '{"bins":10,"label":"x"}'
    (rejected,) = await prepare(parts, job(method="declared", bins=10))
    assert refusal(rejected).error.code == encoder_module.REJECTION_CODES[Reason.INVALID_PARAMETERS]
    assert "parameters.label" in refusal(rejected).message


async def test_equal_parameters_of_two_methods_are_completed_each_by_its_own(
    parts: Assembly, site: methods_site.Site
) -> None:
    for name, default in (("one", 1), ("two", 2)):
        declared = {"name": "n", "type": "integer", "required": False, "default": default}
        site.install(name, inputs=[], parameters=[declared])
    parts.catalog.load()
    rows = await prepare(parts, job(0, method="one"), job(1, method="two"), job(2, method="one"))
    completed = [row.candidate and row.candidate.spec.parameters_json for row in rows]
    assert completed == ['{"n":1}', '{"n":2}', '{"n":1}']


async def test_inputs_that_do_not_fit_the_method_are_named(parts: Assembly) -> None:
    (rejected,) = await prepare(
        parts, job(method="count", inputs={"left": "0" * 64, "right": "1" * 64})
    )
    message = refusal(rejected).message
    for expected in ("inputs.input: needed", "inputs.left: not an", "inputs.right: not an"):
        assert expected in message


async def test_what_can_never_fit_is_rejected_at_once(parts: Assembly) -> None:
    (rejected,) = await prepare(parts, job(resources=request.RequestedResources(cpus=3)))
    assert "can never run here" in refusal(rejected).message


async def test_a_missing_file_is_touched_by_no_batch_and_a_known_one_is(parts: Assembly) -> None:
    known = parts.kept.put(b"data")
    asked = [
        job(0, method="count", inputs={"input": known}),
        job(1, method="count", inputs={"input": "0" * 64}),
        job(2, method="count", inputs={"input": known}, n=2),
    ]
    batch = await parts.prepare(asked)
    assert batch.file_hashes == [known]
    assert batch.display_name == "named"


async def test_a_file_that_is_missing_becomes_a_job_when_it_is_uploaded(parts: Assembly) -> None:
    asked = job(method="count", inputs={"input": store_values.sha("late")})
    (rejected,) = await parts.accept(asked)
    assert rejected.outcome is Outcome.REJECTED
    parts.kept.put(b"late")
    (accepted,) = await parts.accept(asked)
    assert accepted.outcome is Outcome.SUBMITTED


async def test_a_short_output_counts_as_a_stored_file(parts: Assembly) -> None:
    await end(parts, await parts.accept(job(n=1)), Event.SUCCEEDED, output="short output")
    output_hash = store_values.sha("short output")
    found = await candidate(parts, job(method="count", inputs={"input": output_hash}))
    assert found.spec.inputs == {"input": output_hash}


async def test_a_duplicate_of_a_rejected_row_is_rejected_for_itself(parts: Assembly) -> None:
    missing = {"input": "0" * 64}
    rows = await prepare(
        parts, job(0, method="count", inputs=missing), job(1, method="count", inputs=missing)
    )
    assert all(row.rejection is not None for row in rows)
    assert [row.head for row in rows] == [b"", b""]


async def test_a_job_that_has_completed_is_answered_though_its_input_is_gone(
    parts: Assembly,
) -> None:
    known = parts.kept.put(b"data")
    asked = job(method="count", inputs={"input": known})
    await end(parts, await parts.accept(asked), Event.SUCCEEDED, output="counted")
    failing = job(method="count", inputs={"input": known}, n=2)
    await end(parts, await parts.accept(failing), Event.EXITED_NONZERO)
    assert await parts.library.delete(known)
    rows = await parts.accept(
        asked,
        job(1, method="count", inputs={"input": known}, n=2),
        job(2, method="count", inputs={"input": known}, n=3),
    )
    assert [row.outcome for row in rows] == [
        Outcome.FOUND_COMPLETED,
        Outcome.REJECTED,
        Outcome.REJECTED,
    ]
    assert rows[0].rejection is None
    assert "not found; upload it" in refusal(rows[1]).message
    assert rows[2].attempt is None
    refreshed = job(
        method="count",
        inputs={"input": known},
        policy=lookup.Policy(cache=lookup.CachePolicy.REFRESH),
    )
    (row,) = await parts.accept(refreshed)
    assert row.outcome is Outcome.REJECTED


async def test_an_output_that_is_gone_from_the_content_store_is_lost(parts: Assembly) -> None:
    asked = job(n=1)
    await end(parts, await parts.accept(asked), Event.SUCCEEDED, output="gone", is_inline=False)
    assert (await parts.prepare([asked])).lost_outputs == {store_values.sha("gone")}
    (again,) = await parts.accept(asked)
    assert again.outcome is Outcome.SUBMITTED
    parts.kept.put(b"gone")
    present = await parts.prepare([asked])
    assert not present.lost_outputs
    assert [*present.file_hashes] == []  # the newest attempt is in progress: nothing is answered


async def test_an_output_that_is_there_answers_and_counts_as_used(parts: Assembly) -> None:
    asked = job(n=1)
    await end(parts, await parts.accept(asked), Event.SUCCEEDED, output="kept", is_inline=False)
    parts.kept.put(b"kept")
    assert [*(await parts.prepare([asked])).file_hashes] == [store_values.sha("kept")]
    (found,) = await parts.accept(asked)
    assert found.outcome is Outcome.FOUND_COMPLETED


async def test_a_row_that_only_looks_names_its_job_though_there_is_none(parts: Assembly) -> None:
    only = lookup.Policy(cache=lookup.CachePolicy.ONLY)
    asked = job(n=1, policy=only)
    spec = (await candidate(parts, asked)).spec
    (row,) = await parts.accept(asked)
    assert (row.outcome, row.attempt) == (Outcome.NOT_FOUND, None)
    told = types_pb2.MultiJobResult.FromString(row.head)
    assert (told.job_id, told.function_hash) == (spec.job_id, spec.function_hash)
    assert parts.store.find_job(spec.job_id) is None


async def test_no_file_of_a_request_is_deleted_before_it_is_accepted(parts: Assembly) -> None:
    known = parts.kept.put(b"data")
    asked = request.BatchRequest(
        rows=[job(method="count", inputs={"input": known})], display_name=""
    )
    async with parts.resolver.prepared(asked) as batch:
        with pytest.raises(errors.InUseError):
            await parts.library.delete(known)
        (row,) = await parts.resolver.accept(batch)
    assert row.outcome is Outcome.SUBMITTED
    with pytest.raises(errors.InUseError):  # now the unfinished job needs it
        await parts.library.delete(known)


async def test_preparing_stores_nothing(parts: Assembly) -> None:
    found = await candidate(parts, job(n=1))
    assert parts.store.find_job(found.spec.job_id) is None


@pytest.mark.parametrize("violations", [(), (Violation(field="x", description="y"),)])
async def test_a_refused_row_keeps_its_reason(
    parts: Assembly, violations: tuple[Violation, ...]
) -> None:
    given = Rejection(reason=Reason.INVALID_CONFIG, message="why", violations=violations)
    refused = RefusedRow(
        index=0, config_index=0, head=b"echo", rejection=given, config=lambda: b"asked"
    )
    (row,) = await prepare(parts, refused)
    assert row.rejection == parts.encoder.rejection(0, given)
    assert (row.head, row.config) == (b"echo", b"asked")


async def test_what_a_row_asked_for_and_comes_after_stays_with_it_if_it_waits_or_is_rejected(
    parts: Assembly,
) -> None:
    given = Rejection(reason=Reason.INVALID_CONFIG, message="why")
    known = "a" * 64
    of_run = dataclasses.replace(after_job(known), chain=3)
    first, waits, absent, refused = await prepare(
        parts,
        job(0),
        job(1, upstreams=[after(0), of_run]),
        job(2, method="absent", upstreams=[after(1)]),
        RefusedRow(
            index=3,
            config_index=3,
            head=b"",
            rejection=given,
            upstreams=[after(0)],
            config=lambda: b"config 3",
        ),
    )
    assert (first.config, first.dependencies) == (None, ())
    assert [row.config for row in (waits, absent, refused)] == [
        b"config 1",
        b"config 2",
        b"config 3",
    ]
    assert [
        [(each.upstream_index, each.upstream_chain) for each in row.dependencies]
        for row in (waits, absent, refused)
    ] == [[(0, None), (None, AttemptKey(job_id=known, number=3))], [(1, None)], [(0, None)]]
    assert [row.undecided is None for row in (waits, absent, refused)] == [False, True, True]


async def test_a_file_that_another_server_deletes_meanwhile_is_found_missing(
    parts: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.library, "_is_shared", True)
    known = parts.kept.put(b"data")
    asked = request.BatchRequest(
        rows=[job(method="count", inputs={"input": known})], display_name=""
    )
    async with parts.resolver.prepared(asked) as prepared:
        assert prepared.on_disk == [known]
        await parts.committer.write(
            lambda writer: writer.delete_file(known, parts.encoder.without_output)
        )
        with pytest.raises(port.ContentGoingError):  # it is marked
            await parts.resolver.accept(prepared)
        parts.kept.remove(known)
        await parts.committer.write(lambda writer: writer.forget_file(known))
        with pytest.raises(port.ContentGoingError):  # it was
            await parts.resolver.accept(prepared)
        assert not parts.store.has_batch(prepared.batch.batch_id)
    (row,) = await parts.accept(*asked.rows)
    assert row.outcome is Outcome.REJECTED
