"""Reading logs over the wire: while the job runs, afterwards, and what a method made of them."""

import itertools
import pathlib

import grpc
import pytest

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, job_calls, live_server, site

TEXT = "one €\ntwo ü\nthree 𝄞\n"


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods, and some that write to both streams."""
    made = site.write(tmp_path_factory.mktemp("site"))
    # Says what its input says, waits at the gate that it names, and has a last word.
    site.install(made, "talk", 'echo begin >&2; cat -- "$(cat -- "$1")" >&2; printf end >&2')
    site.install(made, "say", 'cat -- "$1" >&2; echo result')
    site.install(made, "flood", "head -c 20000000 /dev/zero | tr '\\0' y >&2")
    site.install(
        made,
        "attempts",
        'marker=$(cat -- "$1"); echo "run $(ls "$marker"* | wc -l)" >&2; touch "$marker$$"; exit 3',
    )
    for kind, command in {
        "fifo": 'rm "$log"; mkfifo "$log"',
        "link": 'ln -sf /etc/passwd "$log"',
        "gone": 'rm "$log"',
    }.items():
        site.install(made, f"log_{kind}", f'log="$JOB_WORKSPACE/../stderr"; {command}; exit 1')
    return made


def parts_of(service: calls.Service, job_id: str, **asked: int) -> tuple[bytes, bool]:
    """What was told, and whether it is all; the parts are as they must be."""
    parts = list(job_calls.log(service, job_id, **asked))
    assert parts
    for earlier, later in itertools.pairwise(parts):
        assert later.offset == earlier.offset + len(earlier.data)
        assert not earlier.finished
    assert all(len(part.data) <= 256 * 1024 for part in parts)
    return b"".join(part.data for part in parts), parts[-1].finished


def test_a_log_is_followed_across_the_end_and_nothing_is_lost(
    service: calls.Service, tmp_path: pathlib.Path
) -> None:
    gate = site.Gate(tmp_path / "gate")
    job_id = service.ask(calls.config("talk", service.upload(gate.content))).job_id
    following = job_calls.log(service, job_id, follow=True)
    told = b""
    while told != b"begin\n":
        part = next(following)
        assert part.offset == len(told)
        assert (part.attempt, part.finished) == (1, False)
        told += part.data
    assert parts_of(service, job_id) == (b"begin\n", False)
    gate.open(TEXT.encode())
    parts = list(following)
    told += b"".join(part.data for part in parts)
    assert told == b"begin\n" + TEXT.encode() + b"end"
    assert [part.finished for part in parts] == [*[False] * (len(parts) - 1), True]
    assert service.job(job_id).status == types_pb2.JOB_STATUS_COMPLETED


def test_a_job_that_waits_in_the_queue_is_waited_for(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    settings = live_server.settings(tmp_path, methods_dir, slots=1)
    with live_server.in_thread(settings) as address, grpc.insecure_channel(address) as channel:
        service = calls.Service(channel)
        gate = site.Gate(tmp_path / "gate")
        service.ask(calls.config("hold", service.upload(gate.content)))
        job_id = service.ask(calls.config("say", service.upload(b"at last\n"))).job_id
        assert parts_of(service, job_id) == (b"", False)
        following = job_calls.log(service, job_id, follow=True)
        gate.open()
        assert b"".join(part.data for part in following) == b"at last\n"


def test_many_jobs_are_followed_to_their_last_byte(service: calls.Service) -> None:
    """The end is recorded at any moment of a follower's round."""
    texts = {f"line {n}\n" * n * 100: n for n in range(1, 21)}
    followers = {}
    for text in texts:
        job_id = service.ask(calls.config("say", service.upload(text.encode()))).job_id
        followers[text] = job_calls.log(service, job_id, follow=True)
    for text, parts in followers.items():
        told = list(parts)
        assert b"".join(part.data for part in told) == text.encode()
        assert told[-1].finished


@pytest.fixture(scope="module")
def said(service: calls.Service) -> str:
    """A job that has said TEXT."""
    return service.run(calls.config("say", service.upload(TEXT.encode()))).job_id


def test_a_reader_goes_on_at_any_byte(service: calls.Service, said: str) -> None:
    whole = TEXT.encode()
    for cut in range(len(whole) + 1):
        rest, finished = parts_of(service, said, offset=cut)
        assert (rest, finished) == (whole[cut:], True)
        if cut:
            first, finished = parts_of(service, said, limit_bytes=cut)
            assert first + rest == whole
            assert finished == (cut == len(whole))


def test_a_tail_is_the_last_bytes(service: calls.Service, said: str) -> None:
    (part,) = job_calls.log(service, said, tail_bytes=7)
    assert (part.data, part.offset) == (TEXT.encode()[-7:], len(TEXT.encode()) - 7)
    assert part.finished
    assert job_calls.log_bytes(service, said, tail_bytes=10**12) == TEXT.encode()
    assert job_calls.log_bytes(service, said, tail_bytes=7, limit_bytes=2) == TEXT.encode()[-7:-5]


def test_stdout_is_read_like_the_log(service: calls.Service, said: str) -> None:
    assert job_calls.log_bytes(service, said, log=job_calls.LOG_STDOUT) == b"result\n"


def test_a_long_log_is_told_in_parts(service: calls.Service, said: str) -> None:
    job_id = service.ask(calls.config("flood", service.upload(said.encode()))).job_id
    told, finished = parts_of(service, job_id, follow=True)
    assert len(told) == 20_000_000
    assert set(told) == set(b"y")
    assert finished
    assert parts_of(service, job_id, tail_bytes=1) == (b"y", True)


def test_the_log_of_every_attempt_stays(service: calls.Service, tmp_path: pathlib.Path) -> None:
    config = calls.config("attempts", service.upload(f"{tmp_path}/run".encode()))
    for _ in range(3):
        job_id = service.run(config).job_id
    for number in (1, 2, 3):
        told = list(job_calls.log(service, job_id, attempt=number))
        assert told[-1].attempt == number
        assert told[-1].finished
        assert b"".join(part.data for part in told).endswith(f"run {number - 1}\n".encode())
    newest = list(job_calls.log(service, job_id))
    assert newest[-1].attempt == 3


@pytest.mark.parametrize("kind", ["fifo", "link", "gone"])
@pytest.mark.parametrize("follow", [False, True])
def test_what_a_method_put_in_the_place_of_its_log_is_not_read(
    service: calls.Service, said: str, kind: str, *, follow: bool
) -> None:
    job_id = service.run(calls.config(f"log_{kind}", service.upload(said.encode()))).job_id
    refused = calls.refusal(lambda: list(job_calls.log(service, job_id, follow=follow)))
    assert refused.code == grpc.StatusCode.NOT_FOUND
    assert "log 'stderr" in refused.text


def test_what_cannot_be_read_is_refused(service: calls.Service, said: str) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    table: list[tuple[dict[str, object], grpc.StatusCode, str]] = [
        ({"job_id": "a" * 64}, grpc.StatusCode.NOT_FOUND, "job"),
        ({"job_id": "nope"}, invalid, "job_id"),
        ({"attempt": 2}, grpc.StatusCode.NOT_FOUND, "attempt"),
        ({"attempt": -1}, invalid, "attempt"),
        ({"offset": -1}, invalid, "offset"),
        ({"tail_bytes": -1}, invalid, "tail_bytes"),
        ({"limit_bytes": -1}, invalid, "limit_bytes"),
        ({"offset": 1, "tail_bytes": 1}, invalid, "tail_bytes"),
        ({"offset": 10**6}, invalid, "offset"),
        ({"offset": 10**6, "follow": True}, invalid, "offset"),
        ({"log": 9}, invalid, "log"),
    ]
    for asked, code, named in table:
        fields = {"job_id": said, **asked}
        request = job_service_pb2.ReadJobLogRequest(**fields)  # type: ignore[arg-type]  # by name
        refused = job_calls.refused_stream(service.jobs.ReadJobLog, request)
        assert refused.code == code
        assert named in refused.text
