"""A stream that was cut, wherever and by whatever, is resumed without a loss.

`DSHPC_TEST_RESUME=all` (`make resume`) cuts a stream of 2,000 rows behind every one of them.
"""

import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import grpc
import pytest

from dshpc.v1 import batch_service_pb2, types_pb2
from dshpc_server.batches.untold import Position
from dshpc_server.transport.resume_tokens import ResumeTokens
from support import calls, fault_proxy, live_server, resuming, site

ROWS, JOBS = 2_000, 50
IS_LONG = os.environ.get("DSHPC_TEST_RESUME") == "all"
ROWS_PER_MESSAGE = 1 if IS_LONG else 150
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def proxy(grpc_server: str) -> Iterator[fault_proxy.Proxy]:
    with fault_proxy.before(grpc_server) as made:
        yield made


def finished_batch(service: calls.Service) -> str:
    """A batch of many rows over few jobs, which have all ended, not at one moment."""
    data = service.upload(b"resumed\n")
    configs = [calls.config("parameters", data, {"job": row % JOBS}) for row in range(ROWS)]
    answer = service.simulate(*configs, finished=True, timeout=resuming.SECONDS)
    assert answer.statistics.completed_jobs == ROWS
    return answer.batch_id


@pytest.mark.timeout(3600 if IS_LONG else 120)
def test_a_stream_that_is_cut_behind_any_of_its_messages_is_resumed_without_a_loss(
    service: calls.Service, proxy: fault_proxy.Proxy
) -> None:
    batch_id = finished_batch(service)
    grouped = types_pb2.StreamOptions(max_results_per_message=ROWS_PER_MESSAGE)
    uncut = resuming.Client()
    messages = list(resuming.watch(service, batch_id, stream=grouped))
    uncut.take_all(messages)
    assert sorted(uncut.ended) == list(range(ROWS))
    assert uncut.told == ROWS
    for count in range(1, len(messages) + 1):
        client = resuming.Client(batch_id=batch_id)
        resuming.cut_after(proxy, count, client, grouped)
        was_told, client.statistics = client.told, None
        client.take_all(resuming.watch(service, batch_id, client.resume_token, stream=grouped))
        assert client.rows == uncut.rows
        assert counted(client) == counted(uncut)
        # Only what one commit changed together may come again.
        if was_told > ROWS / 2:
            assert client.told < ROWS + ROWS / 2
        if count >= len(messages) - 1:
            assert client.told == ROWS


def counted(client: resuming.Client) -> types_pb2.JobStatistics:
    """The closing statistics, but for when they were told."""
    assert client.statistics is not None
    counts = types_pb2.JobStatistics()
    counts.CopyFrom(client.statistics)
    counts.ClearField("as_of")
    return counts


@pytest.mark.parametrize("transitions", [False, True])
def test_what_ends_while_nobody_listens_is_told_when_somebody_does(
    service: calls.Service,
    proxy: fault_proxy.Proxy,
    tmp_path: pathlib.Path,
    *,
    transitions: bool,
) -> None:
    gates = [site.Gate(tmp_path / f"gate {number}") for number in range(6)]
    held = [calls.config("hold", service.upload(gate.content)) for gate in gates]
    batch_id = service.simulate(*held).batch_id
    client = resuming.Client(batch_id=batch_id)
    options = types_pb2.StreamOptions(include_transitions=transitions)
    for number, gate in enumerate(gates):
        # Two run at a time; it may be cut before its end is known, or after.
        gate.open(b"%d\n" % number)
        if number % 2:
            resuming.cut_after(proxy, 2, client, options)
    client.take_all(resuming.watch(service, batch_id, client.resume_token, stream=options))
    assert {index: row.output for index, row in client.ended.items()} == {
        number: f"{number}\n" for number in range(len(gates))
    }
    assert client.statistics is not None
    assert client.statistics.final


def test_a_stream_is_resumed_as_a_watch_where_it_was_cut(
    service: calls.Service, proxy: fault_proxy.Proxy, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    data = service.upload(b"before the cut\n")
    held = calls.config("hold", service.upload(gate.content))
    client = resuming.Client()
    with grpc.insecure_channel(proxy.address) as channel:
        events = calls.Service(channel).stream(held, *[calls.config("echo", data)] * 3)
        while len(client.ended) < 3:
            client.take(next(events))
        proxy.cut()
        with pytest.raises(grpc.RpcError) as lost:
            next(events)
        assert lost.value.code() is UNAVAILABLE
    gate.open(b"after\n")
    client.take_all(resuming.watch(service, client.batch_id, client.resume_token))
    assert client.ended[0].output == "after\n"
    assert client.told == 4, "nothing comes twice that was told before"


@pytest.mark.parametrize("messages", [1, 3, 8])
def test_a_server_that_is_killed_takes_no_row_with_it(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, messages: int
) -> None:
    gates = [site.Gate(tmp_path / f"gate {number}") for number in range(2)]
    client = resuming.Client()
    with live_server.as_process(tmp_path, methods_dir) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            data = service.upload(b"killed\n")
            quick = [calls.config("parameters", data, {"row": row % 7}) for row in range(40)]
            held = [calls.config("hold", service.upload(gate.content)) for gate in gates]
            events = service.stream(*quick, *held)
            for _ in range(messages):
                client.take(next(events))
            first.stop(signal.SIGKILL)
            with pytest.raises(grpc.RpcError):
                list(events)
        for gate in gates:
            threading.Thread(target=gate.open, daemon=True).start()
        with (
            live_server.as_process(tmp_path, methods_dir) as second,
            grpc.insecure_channel(second.address) as channel,
        ):
            service = calls.Service(channel)
            client.take_all(resuming.watch(service, client.batch_id, client.resume_token))
            assert sorted(client.ended) == list(range(42))
            page = service.batches.ListBatchResults(
                batch_service_pb2.ListBatchResultsRequest(batch_id=client.batch_id)
            )
            assert [client.ended[row.index] for row in page.results] == list(page.results)


def test_from_the_beginning_a_batch_is_told_as_its_stream_was(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    held = calls.config("hold", service.upload(gate.content))
    echo = calls.config("echo", service.upload(b"as its stream\n"))
    batch_id = service.simulate(held, echo, calls.config("nope"), finished=False).batch_id
    watched = resuming.watch(service, batch_id)
    first = next(watched)
    assert (first.accepted.batch_id, first.accepted.total_jobs) == (batch_id, 3)
    assert not first.accepted.duplicate_request
    client = resuming.Client()
    client.take(first)
    while len(client.rows) < 2:
        client.take(next(watched))
    gate.open(b"last\n")
    for event in watched:
        client.take(event)
    assert {row.index for row in client.rows.values()} == {0, 1, 2}
    assert client.statistics is not None
    assert (client.statistics.completed_jobs, client.statistics.failed_submissions) == (2, 1)


def test_a_token_of_another_deployment_tells_all_rows_as_they_stand(
    service: calls.Service,
) -> None:
    data = service.upload(b"another deployment\n")
    batch_id = service.simulate(calls.config("echo", data), finished=True).batch_id
    known = resuming.Client()
    known.take_all(resuming.watch(service, batch_id))
    foreign = ResumeTokens("f" * 32).token(batch_id, Position(changed_at=2**60, ended_rows=1))
    client = resuming.Client()
    client.take_all(resuming.watch(service, batch_id, foreign))
    assert client.rows == known.rows


def test_where_the_store_was_put_back_all_rows_are_told(service: calls.Service) -> None:
    """A position that the store does not know: too many had ended up to it."""
    data = service.upload(b"put back\n")
    batch_id = service.simulate(calls.config("echo", data), finished=True).batch_id
    known = resuming.Client()
    known.take_all(resuming.watch(service, batch_id))
    deployment_id = resuming.epoch_of(known.resume_token)
    ahead = ResumeTokens(deployment_id).token(batch_id, Position(changed_at=2**60, ended_rows=9))
    client = resuming.Client()
    client.take_all(resuming.watch(service, batch_id, ahead))
    assert client.rows == known.rows


@pytest.mark.parametrize("token", ["x", "W10", "ü", "A" * 5_000])
def test_what_is_no_token_is_refused(service: calls.Service, token: str) -> None:
    data = service.upload(b"no token\n")
    batch_id = service.simulate(calls.config("echo", data)).batch_id
    for call in (
        lambda: list(resuming.watch(service, batch_id, token)),
        lambda: service.batches.GetBatch(
            batch_service_pb2.GetBatchRequest(batch_id=batch_id, if_changed_since=token)
        ),
    ):
        refused = calls.refusal(call)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "token" in refused.text


def test_a_token_of_another_batch_is_refused(service: calls.Service) -> None:
    data = service.upload(b"another batch\n")
    first, second = (
        service.simulate(calls.config("echo", data), finished=True).batch_id for _ in range(2)
    )
    *_, last = resuming.watch(service, first)
    refused = calls.refusal(lambda: list(resuming.watch(service, second, last.resume_token)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


def test_what_was_only_validated_has_no_token_and_no_batch_is_unknown(
    service: calls.Service,
) -> None:
    data = service.upload(b"validated\n")
    events = list(service.stream(calls.config("echo", data), validate_only=True))
    assert [event.resume_token for event in events] == ["", "", ""]
    refused = calls.refusal(lambda: list(resuming.watch(service, "unknown")))
    assert refused.code is grpc.StatusCode.NOT_FOUND
