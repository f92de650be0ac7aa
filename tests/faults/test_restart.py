"""A server that is stopped or killed while jobs run: nothing is lost, nothing runs twice."""

import pathlib
import signal

import grpc
import pytest
from grpc_health.v1 import health_pb2

from dshpc.v1 import batch_service_pb2, job_service_pb2, types_pb2
from support import calls, live_server, site


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """The test methods."""
    return site.write(tmp_path / "site")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_running_job_goes_on_and_the_next_server_takes_its_result(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, number: signal.Signals
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            config = calls.config("hold", service.upload(gate.content))
            answer = service.simulate(config)
            job_id = answer.results[0].job_id
            before = service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
        first.stop(number)
        # The job's process is the one that ran before, and it still runs.
        assert int(before.engine_job_id) in live_server.processes_of(first.data_dir)
        with (
            live_server.as_process(tmp_path, methods_dir) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            assert service.job(job_id).status == types_pb2.JOB_STATUS_RUNNING
            found = service.simulate(config).results[0]
            assert found.outcome == types_pb2.OUTCOME_FOUND_IN_PROGRESS
            gate.open(b"survived\n")
            finished = service.run(config)
            assert (finished.output, finished.attempt) == ("survived\n", 1)
            page = service.batches.ListBatchResults(
                batch_service_pb2.ListBatchResultsRequest(batch_id=answer.batch_id)
            )
            assert page.results[0].output == "survived\n"


def test_a_job_that_ended_while_no_server_was_there_is_taken_in_later(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            config = calls.config("hold", service.upload(gate.content))
            job_id = service.simulate(config).results[0].job_id
            service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
        first.stop(signal.SIGKILL)
        gate.open(b"nobody was there\n")
        live_server.wait_until_gone(first.data_dir)
    with (
        live_server.as_process(tmp_path, methods_dir) as second,
        grpc.insecure_channel(second.address) as channel,
    ):
        finished = calls.Service(channel).run(config)
        assert (finished.output, finished.attempt) == ("nobody was there\n", 1)


def test_queued_jobs_run_after_a_restart(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> None:
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir, slots=1) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            held = calls.config("hold", service.upload(gate.content))
            data = service.upload(b"queued\n")
            queued = [calls.config("parameters", data, {"row": row}) for row in range(20)]
            answer = service.simulate(held, *queued)
            service.wait_for_status(answer.results[0].job_id, types_pb2.JOB_STATUS_RUNNING)
        first.stop(signal.SIGKILL)
        with live_server.as_process(tmp_path, methods_dir, slots=1) as second:
            gate.open()
            with grpc.insecure_channel(second.address) as channel:
                finished = calls.Service(channel).simulate(held, *queued, finished=True)
                assert finished.statistics.completed_jobs == 21
                assert {row.attempt for row in finished.results} == {1}


def test_an_open_stream_ends_as_unavailable_when_the_server_stops(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with live_server.as_process(tmp_path, methods_dir) as server:
        with grpc.insecure_channel(server.address) as channel:
            service = calls.Service(channel)
            config = calls.config("hold", service.upload(gate.content))
            stream = service.stream(config)
            assert next(stream).HasField("accepted")
            service.wait_for_status(
                service.simulate(config).results[0].job_id, types_pb2.JOB_STATUS_RUNNING
            )
            server.process.send_signal(signal.SIGTERM)
            refused = calls.refusal(lambda: list(stream))
            assert refused.code == grpc.StatusCode.UNAVAILABLE
            assert "stopping" in refused.text
        assert server.stop() == 0
        gate.open()


def test_an_open_wait_ends_as_unavailable_after_the_grace_however_often_a_stop_is_asked_for(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    grace = {"stop-grace-seconds": 0.2}
    with live_server.as_process(tmp_path, methods_dir, **grace) as server:
        with grpc.insecure_channel(server.address) as channel:
            service = calls.Service(channel)
            config = calls.config("hold", service.upload(gate.content))
            waiting = service.jobs.SimulateJobs.future(
                job_service_pb2.SimulateJobsRequest(jobs=[config], wait=calls.until_finished()),
                timeout=60,
            )
            job_id = service.simulate(config).results[0].job_id
            service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
            for _ in range(2):
                server.process.send_signal(signal.SIGINT)
            refused = calls.refusal(waiting.result)
            assert refused.code == grpc.StatusCode.UNAVAILABLE
            assert "stopping" in refused.text
        assert server.stop() == 0
        gate.open()


def test_who_watches_the_health_does_not_hold_up_a_stop(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    grace = {"stop-grace-seconds": 10 * live_server.STOP_SECONDS}
    with (
        live_server.as_process(tmp_path, methods_dir, **grace) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        watch: grpc.UnaryStreamMultiCallable[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ] = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        watching = watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        assert server.stop() == 0
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert calls.refusal(lambda: next(watching)).code != grpc.StatusCode.OK


def test_a_second_server_on_the_same_data_is_refused(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    with (
        live_server.as_process(tmp_path, methods_dir),
        pytest.raises(AssertionError, match="in use by another server"),
    ):
        live_server.ServerProcess(tmp_path, methods_dir)


def test_a_server_on_a_taken_port_says_so_and_ends(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    (tmp_path / "other").mkdir()
    with (
        live_server.as_process(tmp_path, methods_dir) as first,
        pytest.raises(AssertionError, match="cannot listen on"),
    ):
        live_server.ServerProcess(tmp_path / "other", methods_dir, listen=first.address)
    live_server.wait_until_gone(tmp_path / "other")
    log = (tmp_path / "other" / "server.log").read_text()
    said = f"cannot listen on {first.address}: Address already in use; --listen takes another"
    assert log.splitlines()[-1] == f"dshpc-server: {said}"
    assert "Traceback" not in log


def test_a_stopped_server_leaves_no_process_and_says_nothing_of_the_jobs_content(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    with live_server.as_process(tmp_path, methods_dir) as server:
        with grpc.insecure_channel(server.address) as channel:
            service = calls.Service(channel)
            data = service.upload(b"canary-content\n", filename="canary-name")
            config = calls.config("echo", data, {"secret": "canary-parameter"})
            assert service.run(config).output == "canary-content\n"
            failing = calls.config("exit", data, {"code": 3, "canary": "canary-failing"})
            assert service.run(failing).new_status == types_pb2.JOB_STATUS_FAILED
        assert server.stop(signal.SIGINT) == 0
    log = server.log.read_text()
    assert "attempt.ended" in log
    assert "canary" not in log
