"""One request of eight rows that shows every situation of the look-up at once."""

import pathlib

from dshpc.v1 import types_pb2
from support import calls, site

MISSING = "f" * 64


def test_eight_rows_are_answered_each_by_its_own_situation(  # noqa: PLR0915 - eight rows
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    data = service.upload(b"some data\n")
    held = service.upload(gate.content)
    completed = calls.config("echo", data, {})
    running = calls.config("hold", held)
    failing = calls.config("exit", data, {"code": 3})
    new = calls.config("parameters", data, {"a": 1, "b": {"x": [1, 2], "y": "é"}})
    same_as_new = calls.config("parameters", data, {"b": {"y": "é", "x": [1.0, 2.0]}, "a": 1.0})

    assert service.run(completed).new_status == types_pb2.JOB_STATUS_COMPLETED
    assert service.run(failing).new_status == types_pb2.JOB_STATUS_FAILED
    running_id = service.simulate(running).results[0].job_id
    service.wait_for_status(running_id, types_pb2.JOB_STATUS_RUNNING)

    answer = service.simulate(
        completed,
        running,
        failing,
        new,
        calls.config("nope", data),
        calls.config("echo", MISSING),
        same_as_new,
        calls.config("echo", data),
    )

    rows = answer.results
    assert [row.index for row in rows] == list(range(8))
    assert (rows[0].new_status, rows[0].output) == (types_pb2.JOB_STATUS_COMPLETED, "some data\n")
    assert rows[0].message == "Completed job found"
    assert rows[0].outcome == types_pb2.OUTCOME_FOUND_COMPLETED

    assert rows[1].new_status == types_pb2.JOB_STATUS_RUNNING
    assert not rows[1].HasField("output")
    assert rows[1].message == "Job in progress"
    assert rows[1].job_id == running_id

    assert rows[2].old_status == types_pb2.JOB_STATUS_FAILED
    assert rows[2].new_status == types_pb2.JOB_STATUS_PENDING
    assert rows[2].message == "New job submitted after previous failure"
    assert rows[2].attempt == 2

    assert rows[3].new_status == types_pb2.JOB_STATUS_PENDING
    assert rows[3].message == "New job submitted"

    assert rows[4].message == "Method 'nope' not found"
    assert rows[4].job_id == ""
    assert rows[4].outcome == types_pb2.OUTCOME_REJECTED

    assert MISSING in rows[5].message
    assert rows[5].outcome == types_pb2.OUTCOME_REJECTED
    assert rows[5].error.message == rows[5].message

    assert rows[6].job_id == rows[3].job_id
    assert rows[6].duplicate_of_index == 3
    assert rows[6].outcome == types_pb2.OUTCOME_FOUND_IN_PROGRESS

    assert rows[7].new_status == types_pb2.JOB_STATUS_COMPLETED
    assert rows[7].job_id == rows[0].job_id
    assert rows[7].duplicate_of_index == 0

    counts = answer.statistics
    assert counts.total_jobs == 8
    assert counts.completed_jobs == 2
    assert counts.in_progress_jobs == 4
    assert counts.failed_submissions == 2
    assert counts.successful_submissions == 2
    assert counts.resubmitted_jobs == 1
    assert counts.found_in_progress_jobs == 2
    assert not counts.final

    gate.open()
    finished = service.simulate(new, finished=True).results[0]
    assert finished.new_status == types_pb2.JOB_STATUS_COMPLETED
    # One execution for rows 3 and 6.
    assert finished.attempt == 1
    service.wait_for_status(running_id, *calls.TERMINAL)
    service.wait_for_status(rows[2].job_id, *calls.TERMINAL)
