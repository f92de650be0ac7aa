"""RetryBatch over the wire: rows that waited for others and never ran wait for them again."""

import pathlib

from dshpc.v1 import types_pb2
from dshpc_server.batches import staging
from support import batch_calls, calls, site

BLOCKED = types_pb2.JOB_STATUS_BLOCKED
CANCELLED = types_pb2.JOB_STATUS_CANCELLED
COMPLETED = types_pb2.JOB_STATUS_COMPLETED
FAILED = types_pb2.JOB_STATUS_FAILED
SKIPPED = types_pb2.JOB_STATUS_SKIPPED
FINISHED = types_pb2.CONDITION_FINISHED
RESUBMITTED = types_pb2.OUTCOME_RESUBMITTED
REJECTED = types_pb2.OUTCOME_REJECTED
SUBMITTED = types_pb2.OUTCOME_SUBMITTED
NO_JOB = 0
"""The status of a row that is rejected."""
MANY = staging.LARGE_ROWS + 200


class Source:
    """A job that puts out what a file holds, and fails as long as there is none."""

    def __init__(self, service: calls.Service, path: pathlib.Path) -> None:
        self._path = path
        self.config = calls.config("hold", service.upload(bytes(path)), config_id=path.name)

    def mend(self, output: str) -> None:
        self._path.write_text(output)


def made_of(
    config_id: str, method: str = "echo", *after: types_pb2.Dependency, **inputs: str
) -> types_pb2.JobConfig:
    """A job that takes the outputs of others by the name of each input."""
    config = types_pb2.JobConfig(method_name=method, config_id=config_id, depends_on=after)
    for name, upstream in inputs.items():
        config.inputs[name].job_output.config_id = upstream
    return config


def after(
    config_id: str, condition: types_pb2.Condition.ValueType = types_pb2.CONDITION_SUCCEEDED
) -> types_pb2.Dependency:
    return types_pb2.Dependency(config_id=config_id, condition=condition)


def retried(service: calls.Service, batch_id: str, *wanted: int) -> list[types_pb2.MultiJobResult]:
    """Retry a batch, and wait until the rows of the new one stand so; those."""
    batch = batch_calls.retry(service, batch_id)
    batch_calls.wait_for_statuses(service, batch.batch_id, wanted)
    return batch_calls.rows(service, batch.batch_id)


def test_a_chain_whose_first_job_failed_is_retried_to_its_end(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    a = Source(service, tmp_path / "a")
    c = made_of("c", "two_inputs", after("b"), left="a", right="b")
    c.priority = 7
    answer = service.simulate(c, made_of("b", input="a"), a.config, finished=True)
    assert [row.new_status for row in answer.results] == [SKIPPED, SKIPPED, FAILED]
    a.mend("text\n")
    rows = retried(service, answer.batch_id, COMPLETED, COMPLETED, COMPLETED)
    assert [row.config_id for row in rows] == ["c", "b", "a"]
    assert [row.config_index for row in rows] == [0, 1, 2]
    assert [row.outcome for row in rows] == [SUBMITTED, SUBMITTED, RESUBMITTED]
    assert [row.output for row in rows] == ["text\ntext\n", "text\n", "text\n"]
    # The old batch stays as it was.
    assert batch_calls.statuses(service, answer.batch_id) == [SKIPPED, SKIPPED, FAILED]


def test_what_completed_is_not_asked_for_again_and_its_result_counts(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    a, b = Source(service, tmp_path / "a"), Source(service, tmp_path / "b")
    a.mend("left ")
    b.config.depends_on.append(after("a"))
    c = made_of("c", "two_inputs", left="a", right="b")
    answer = service.simulate(a.config, b.config, c, finished=True)
    assert [row.new_status for row in answer.results] == [COMPLETED, FAILED, SKIPPED]
    b.mend("right")
    rows = retried(service, answer.batch_id, COMPLETED, COMPLETED)
    assert [row.config_id for row in rows] == ["b", "c"]
    assert rows[1].output == "left right"
    assert service.job(answer.results[0].job_id).attempt == 1


def test_a_row_that_was_cancelled_while_it_was_blocked_goes_on_from_what_completed(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content), config_id="held")
    answer = service.simulate(held, made_of("c", input="held"))
    assert answer.results[1].new_status == BLOCKED
    assert batch_calls.counts(batch_calls.cancel(service, answer.batch_id, 1)) == (1, 0, 0)
    # While that runs it is waited for, and once it has completed there is nothing to wait for.
    early = batch_calls.retry(service, answer.batch_id)
    assert batch_calls.statuses(service, early.batch_id) == [BLOCKED]
    gate.open(b"held\n")
    batch_calls.wait_for_statuses(service, early.batch_id, [COMPLETED])
    batch_calls.wait_for_statuses(service, answer.batch_id, [COMPLETED, CANCELLED])
    late = batch_calls.retry(service, answer.batch_id)
    (row,) = batch_calls.rows(service, late.batch_id)
    assert (row.config_id, row.new_status, row.output) == ("c", COMPLETED, "held\n")
    assert row.outcome == types_pb2.OUTCOME_FOUND_COMPLETED


def test_a_batch_that_was_cancelled_as_a_whole_is_retried_as_a_whole(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content), config_id="held")
    answer = service.simulate(held, made_of("b", input="held"), made_of("c", input="b"))
    batch_calls.cancel(service, answer.batch_id)
    batch_calls.wait_for_statuses(service, answer.batch_id, [CANCELLED] * 3)
    again = batch_calls.retry(service, answer.batch_id)
    gate.open(b"all\n")
    batch_calls.wait_for_statuses(service, again.batch_id, [COMPLETED] * 3)
    assert [row.output for row in batch_calls.rows(service, again.batch_id)] == ["all\n"] * 3


def test_a_retry_that_did_not_complete_is_retried_as_well(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    done, a = Source(service, tmp_path / "done"), Source(service, tmp_path / "a")
    done.mend("done ")
    answer = service.simulate(
        made_of("c", "two_inputs", left="done", right="b"),
        done.config,
        made_of("b", input="a"),
        a.config,
        finished=True,
    )
    batch_id, stayed = answer.batch_id, [SKIPPED, SKIPPED, FAILED]
    for _ in range(2):
        batch_id = batch_calls.retry(service, batch_id).batch_id
        batch_calls.wait_for_statuses(service, batch_id, stayed)
        messages = [row.message for row in batch_calls.rows(service, batch_id)]
        assert messages[0].endswith("config 'b' did not succeed: it is SKIPPED")
        assert messages[1].endswith("config 'a' did not succeed: it is FAILED")
    # What has a result keeps it, whatever became of a later run that nobody else was to see.
    (tmp_path / "done").unlink()
    service.run(done.config, cache_policy=types_pb2.CACHE_POLICY_BYPASS)
    assert service.job(answer.results[1].job_id).status == FAILED
    a.mend("at last")
    rows = retried(service, batch_id, COMPLETED, COMPLETED, COMPLETED)
    assert [row.output for row in rows] == ["done at last", "at last", "at last"]


def test_what_a_row_needs_and_that_is_blocked_still_comes_along(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    a = Source(service, tmp_path / "a")
    answer = service.simulate(
        calls.config("hold", service.upload(gate.content), config_id="held"),
        made_of("b", input="held"),
        made_of("apart", "parameters", input="held"),
        a.config,
        made_of("c", "two_inputs", left="a", right="b"),
    )
    before = [types_pb2.JOB_STATUS_RUNNING, BLOCKED, BLOCKED, FAILED, SKIPPED]
    batch_calls.wait_for_statuses(service, answer.batch_id, before)
    a.mend("mended ")
    batch = batch_calls.retry(service, answer.batch_id)
    batch_calls.wait_for_statuses(service, batch.batch_id, [BLOCKED, COMPLETED, BLOCKED])
    gate.open(b"held")
    batch_calls.wait_for_statuses(service, batch.batch_id, [COMPLETED] * 3)
    b, _, c = batch_calls.rows(service, batch.batch_id)
    assert c.output == "mended held"
    batch_calls.wait_for_statuses(
        service, answer.batch_id, [COMPLETED, COMPLETED, COMPLETED, FAILED, SKIPPED]
    )
    of_old = batch_calls.rows(service, answer.batch_id)[1]
    assert (of_old.job_id, service.job(b.job_id).attempt) == (b.job_id, 1)


def test_a_known_job_is_waited_for_in_its_newest_run(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    source = Source(service, tmp_path / "source")
    failed = service.run(source.config)
    assert failed.new_status == FAILED
    needs = types_pb2.JobConfig(method_name="echo")
    needs.inputs["input"].job_output.job_id = failed.job_id
    (skipped,) = (answer := service.simulate(needs)).results
    assert skipped.new_status == SKIPPED
    source.mend("new\n")
    assert service.run(source.config).attempt == 2
    (row,) = retried(service, answer.batch_id, COMPLETED)
    assert row.output == "new\n"


def test_what_can_never_run_fails_alone_and_takes_those_along_that_need_it(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    a = Source(service, tmp_path / "a")
    nobody = made_of("nobody", "nobody", input="a")
    answer = service.simulate(
        a.config,
        nobody,
        made_of("needs it", "parameters", input="nobody"),
        made_of("needs it not", "echo", after("nobody", FINISHED), input="a"),
        finished=True,
    )
    assert [row.new_status for row in answer.results] == [FAILED, NO_JOB, SKIPPED, SKIPPED]
    a.mend("text\n")
    rows = retried(service, answer.batch_id, COMPLETED, NO_JOB, SKIPPED, COMPLETED)
    assert rows[1].outcome == REJECTED
    assert rows[1].message == answer.results[1].message
    assert rows[2].message.endswith("config 'nobody' did not succeed: it is REJECTED")


def test_a_row_that_lacked_a_file_when_its_turn_came_is_retried_with_it(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    a = Source(service, tmp_path / "a")
    a.mend("text\n")
    # A file that is named beside an output is looked for only when the output is there.
    late = b"late for %s\n" % bytes(tmp_path)
    waits = made_of("waits", "two_inputs", left="a")
    waits.inputs["right"].file_hash = site.hash_of(late)
    answer = service.simulate(a.config, waits, finished=True)
    assert [row.new_status for row in answer.results] == [COMPLETED, NO_JOB]
    service.upload(late)
    (row,) = retried(service, answer.batch_id, COMPLETED)
    assert row.output == "text\n" + late.decode()


def test_rows_of_sweeps_wait_for_those_of_their_own_place_again(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    paths = [tmp_path / str(place) for place in range(3)]
    sources = types_pb2.JobConfig(method_name="hold", config_id="sources")
    axis = sources.sweep.axes.add(parameter="file_hash")
    for path in paths:
        axis.values.add(string_value=service.upload(bytes(path)))
    takes = made_of("takes", input="sources")
    takes.inputs["input"].job_output.per_sweep_index = True
    takes.sweep.axes.add(parameter="n").range.CopyFrom(
        types_pb2.SweepRange(start=10, stop=30, count=3)
    )
    paths[1].write_text("1")
    answer = service.simulate(takes, sources, finished=True)
    assert [row.new_status for row in answer.results] == [
        *(SKIPPED, COMPLETED, SKIPPED),
        *(FAILED, COMPLETED, FAILED),
    ]
    paths[0].write_text("0")
    paths[2].write_text("2")
    rows = retried(service, answer.batch_id, *[COMPLETED] * 4)
    assert [row.output for row in rows] == ["0", "2", "0", "2"]
    assert [(row.config_id, row.sweep_index) for row in rows] == [
        *(("takes", 0), ("takes", 2)),
        *(("sources", 0), ("sources", 2)),
    ]
    assert [row.parameters["n"] for row in rows[:2]] == [10, 30]


def test_rows_of_a_large_batch_wait_for_each_other_again_whatever_piece_they_are_in(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    a = Source(service, tmp_path / "a")
    many = types_pb2.JobConfig(method_name="absent", config_id="many")
    many.sweep.axes.add(parameter="n").range.CopyFrom(
        types_pb2.SweepRange(start=1, stop=MANY, count=MANY)
    )
    each = made_of("each", input="many")
    each.inputs["input"].job_output.per_sweep_index = True
    each.sweep.CopyFrom(many.sweep)
    last = made_of("last", "echo", after("many", FINISHED), input="a")
    batch_id = service.simulate(last, each, many, a.config, finished=True).batch_id
    for is_mended in (False, True):
        if is_mended:
            a.mend("text\n")
        batch_id = batch_calls.retry(service, batch_id).batch_id
        ends = (COMPLETED, COMPLETED) if is_mended else (SKIPPED, FAILED)
        wanted = [ends[0], *[SKIPPED] * MANY, *[NO_JOB] * MANY, ends[1]]
        batch_calls.wait_for_statuses(service, batch_id, wanted)
        rows = batch_calls.rows(service, batch_id)
        assert [row.message.partition("config ")[2] for row in rows[1 : MANY + 1]] == [
            f"'many'[{place}] did not succeed: it is REJECTED" for place in range(MANY)
        ]
    assert rows[0].output == "text\n"
