"""The stream form: events in their order, and what is told when."""

import pathlib

import grpc

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, site


def _kinds(events: list[job_service_pb2.StreamSimulateJobsResponse]) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events]


def test_a_stream_is_accepted_then_results_in_order_of_completion_then_statistics(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = service.upload(gate.content)
    data = service.upload(b"quick\n")
    stream = service.stream(
        calls.config("hold", held, config_id="slow"), calls.config("echo", data, config_id="fast")
    )
    accepted = next(stream)
    assert accepted.accepted.total_jobs == 2
    assert accepted.accepted.batch_id
    assert next(stream).result.config_id == "fast"
    gate.open(b"slow output\n")
    rest = list(stream)
    assert _kinds(rest) == ["result", "statistics"]
    assert (rest[0].result.config_id, rest[0].result.output) == ("slow", "slow output\n")
    assert rest[0].result.message == "Job completed"
    assert rest[1].statistics.final
    assert rest[1].statistics.completed_jobs == 2
    assert all(event.HasField("event_time") for event in [accepted, *rest])


def test_what_is_completed_or_rejected_already_is_told_at_once(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    data = service.upload(b"known\n")
    service.run(calls.config("echo", data))
    stream = service.stream(
        calls.config("hold", service.upload(gate.content)),
        calls.config("echo", data),
        calls.config("nope", data),
    )
    assert next(stream).HasField("accepted")
    told = {next(stream).result.index, next(stream).result.index}
    assert told == {1, 2}
    gate.open()
    assert _kinds(list(stream)) == ["result", "statistics"]


def test_until_resolved_tells_every_row_as_it_stands(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", service.upload(gate.content))
    wait = types_pb2.WaitPolicy(until=types_pb2.UNTIL_RESOLVED)
    events = list(service.stream(config, wait=wait))
    assert _kinds(events) == ["accepted", "result", "statistics"]
    assert events[1].result.new_status == types_pb2.JOB_STATUS_PENDING
    assert events[2].statistics.in_progress_jobs == 1
    assert not events[2].statistics.final
    gate.open()
    service.wait_for_status(events[1].result.job_id, *calls.TERMINAL)


def test_transitions_are_told_only_when_asked_for(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", service.upload(gate.content))
    stream = service.stream(config, stream=types_pb2.StreamOptions(include_transitions=True))
    assert next(stream).HasField("accepted")
    seen = [next(stream).result.new_status]
    assert seen == [types_pb2.JOB_STATUS_PENDING]
    while seen[-1] != types_pb2.JOB_STATUS_RUNNING:
        seen.append(next(stream).result.new_status)
    gate.open()
    rest = list(stream)
    assert rest[-2].result.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert rest[-1].statistics.final
    assert seen == sorted(seen)


def test_statistics_on_the_way_hold_their_identities(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    options = types_pb2.StreamOptions()
    options.statistics_interval.FromMilliseconds(100)
    data = [service.upload(f"row {row}\n".encode()) for row in range(20)]
    stream = service.stream(
        calls.config("hold", service.upload(gate.content)),
        *(calls.config("echo", file_hash) for file_hash in data),
        stream=options,
    )
    told: list[types_pb2.JobStatistics] = []
    for event in stream:
        if event.WhichOneof("event") in ("progress", "statistics"):
            told.append(event.progress if event.HasField("progress") else event.statistics)
        if event.HasField("progress") and event.progress.completed_jobs == 20:
            gate.open()
    assert len(told) >= 2
    for counts in told:
        assert counts.total_jobs == 21
        assert counts.total_jobs == counts.completed_jobs + counts.in_progress_jobs
        assert counts.successful_submissions == counts.submitted_jobs == 21
    assert [counts.final for counts in told] == [False] * (len(told) - 1) + [True]


def test_a_silent_stream_sends_bookmarks(service: calls.Service, tmp_path: pathlib.Path) -> None:
    gate = site.Gate(tmp_path / "gate")
    options = types_pb2.StreamOptions()
    options.heartbeat_interval.FromSeconds(1)
    stream = service.stream(calls.config("hold", service.upload(gate.content)), stream=options)
    assert next(stream).HasField("accepted")
    assert next(stream).HasField("bookmark")
    gate.open()
    assert "statistics" in _kinds(list(stream))


def test_results_are_grouped_when_asked_for(service: calls.Service) -> None:
    data = service.upload(b"grouped\n")
    configs = [calls.config("parameters", data, {"row": row}) for row in range(25)]
    service.simulate(*configs, finished=True)
    options = types_pb2.StreamOptions(max_results_per_message=10)
    events = list(service.stream(*configs, stream=options))
    assert _kinds(events) == ["accepted", "results", "results", "results", "statistics"]
    rows = [result.index for event in events for result in event.results.results]
    assert sorted(rows) == list(range(25))


def test_a_stream_that_waited_long_enough_closes_with_what_is_known(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", service.upload(gate.content))
    events = list(service.stream(config, wait=calls.until_finished(1)))
    assert _kinds(events) == ["accepted", "statistics"]
    assert not events[-1].statistics.final
    gate.open()
    # The job went on; asking again finds it.
    assert service.run(config).new_status == types_pb2.JOB_STATUS_COMPLETED


def test_losing_the_call_never_cancels_jobs(service: calls.Service, tmp_path: pathlib.Path) -> None:
    gate = site.Gate(tmp_path / "gate")
    config = calls.config("hold", service.upload(gate.content))
    stream = service.stream(config)
    batch_id = next(stream).accepted.batch_id
    assert isinstance(stream, grpc.Call)
    stream.cancel()
    gate.open(b"still here\n")
    assert service.run(config).output == "still here\n"
    assert batch_id


def test_the_interval_of_statistics_has_a_lower_bound(service: calls.Service) -> None:
    options = types_pb2.StreamOptions()
    options.statistics_interval.FromMilliseconds(1)
    config = calls.config("no_input")
    refused = calls.refusal(lambda: list(service.stream(config, stream=options)))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "stream.statistics_interval" in refused.text
