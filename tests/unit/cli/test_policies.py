"""What may be answered from before and what runs again: from the command line and the file."""

import json
import pathlib

import pytest

from dshpc.cli import batch_file
from dshpc.cli.batch import Batch
from dshpc.cli.fields import BatchFileError
from dshpc.v1 import types_pb2
from support import fake_rows
from support.dshpc_command import Command
from support.fake_service import FakeService

HASH = "0123456789abcdef" * 4


def parse(text: str) -> Batch:
    return batch_file.parse(text, folder=pathlib.Path())


def test_a_batch_and_its_jobs_may_say_their_policies() -> None:
    batch = parse(
        f"""
        cache: refresh
        resubmit: never
        max_inline_output_bytes: 1KiB
        jobs:
          - {{method: m, cache: only, function_hash: {HASH}}}
          - {{method: m}}
        matrix:
          - {{method: m, cache: bypass, parameters: [{{}}]}}
        """
    )

    assert batch.options() == types_pb2.BatchOptions(
        cache_policy=types_pb2.CACHE_POLICY_REFRESH,
        resubmit_policy=types_pb2.RESUBMIT_POLICY_NEVER,
        max_inline_output_bytes=1024,
    )
    configs = [row.config({}) for row in batch.rows]
    assert [config.cache_policy for config in configs] == [
        types_pb2.CACHE_POLICY_ONLY,
        types_pb2.CACHE_POLICY_UNSPECIFIED,
        types_pb2.CACHE_POLICY_BYPASS,
    ]
    assert [config.function_hash for config in configs] == [HASH, "", ""]


def test_the_wire_form_of_policies_is_read_too() -> None:
    options = {
        "cachePolicy": "CACHE_POLICY_USE",
        "resubmit_policy": "RESUBMIT_POLICY_RETRIABLE",
        "maxInlineOutputBytes": 0,
    }
    job = {"methodName": "m", "cachePolicy": "CACHE_POLICY_REFRESH", "functionHash": HASH}
    batch = parse(json.dumps({"options": options, "jobs": [job]}))

    sent = batch.options()
    assert sent.cache_policy == types_pb2.CACHE_POLICY_USE
    assert sent.resubmit_policy == types_pb2.RESUBMIT_POLICY_RETRIABLE
    assert sent.HasField("max_inline_output_bytes")
    assert batch.rows[0].config({}).cache_policy == types_pb2.CACHE_POLICY_REFRESH


def test_what_is_not_said_is_not_sent() -> None:
    assert parse("jobs: [{method: m}]").options() == types_pb2.BatchOptions()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cache: fresh\njobs: [{method: m}]", "cache: must be one of use, refresh, bypass, only"),
        ("resubmit: true\njobs: [{method: m}]", "resubmit: must be text, not true or false"),
        ("jobs: [{method: m, resubmit: never}]", "jobs[0].resubmit: unknown key"),
        ("jobs: [{method: m, cache: ''}]", "jobs[0].cache: must not be empty"),
        ("jobs: [{method: m, function_hash: abc}]", "jobs[0].function_hash: must be a SHA-256"),
        ("max_inline_output_bytes: 2MiB\njobs: [{method: m}]", "must be at most 1 MiB"),
        ("cache: use\noptions: {cachePolicy: use}\njobs: [{method: m}]", "options.cache: 'cache'"),
    ],
)
def test_a_policy_that_is_none_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(BatchFileError) as caught:
        parse(text)

    assert problem in str(caught.value)


@pytest.mark.parametrize("waits", ["--wait", "--no-wait"])
def test_an_option_wins_over_the_batch_and_a_job_over_both(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path, waits: str
) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text("{cache: use, resubmit: never, jobs: [{method: m, cache: only}, {method: m}]}")

    assert dshpc("run", path, waits, "--cache", "bypass", "--resubmit", "retriable") == 0
    assert dshpc("run", path, waits) == 0

    given, own = service.batches
    assert given.options.cache_policy == types_pb2.CACHE_POLICY_BYPASS
    assert given.options.resubmit_policy == types_pb2.RESUBMIT_POLICY_RETRIABLE
    assert given.jobs[0].cache_policy == types_pb2.CACHE_POLICY_ONLY
    assert own.options.cache_policy == types_pb2.CACHE_POLICY_USE
    assert own.options.resubmit_policy == types_pb2.RESUBMIT_POLICY_NEVER
    assert dshpc("run", path, "--cache", "fresh") == 2


def test_kept_failures_and_unknown_jobs_are_told_apart(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    answers = {1: fake_rows.kept, 2: fake_rows.unknown}
    service.answer = lambda index, config: answers.get(index, fake_rows.completed)(index, config)

    assert dshpc("run", batch, "--cache", "only") == 1

    rows = [" ".join(line.split()) for line in dshpc.out.splitlines()[1:4]]
    assert rows[0].startswith("1 column_stats/a/1 FAILED failure kept exit code 3: no such column")
    assert rows[1] == "2 column_stats/b/1 NOT FOUND No such job"
    assert rows[2].startswith("0 first COMPLETED")
    assert f"dshpc --server {service.target} job log {'b' * 64}" in dshpc.out
    assert "1 completed, 1 failed, 1 not found (1 found completed, 1 failure kept)" in dshpc.out


def test_a_failure_that_was_kept_is_told_with_the_reason_and_what_runs_it_anew(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.answer = fake_rows.kept

    assert dshpc("run", batch) == 1

    lines = dshpc.out.splitlines()
    why = lines.index("what was not run again ('--cache refresh' runs it anew):")
    assert lines[why + 1] == "Failed before; not run again"  # once, for three rows
    assert lines[why + 2] == ""
    assert dshpc("run", batch, "--quiet") == 1
    assert "refresh" not in dshpc.out
