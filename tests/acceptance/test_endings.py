"""How a process ends, and the status that becomes of it."""

import pathlib
import signal

import pytest
from google.rpc import code_pb2

from dshpc.v1 import types_pb2
from support import calls, site


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods, and some that end in awkward ways."""
    made = site.write(tmp_path_factory.mktemp("site"))
    site.install(made, "says_error", """echo '{"status": "error"}'""")
    site.install(made, "not_text", r"printf 'a\377b'")
    site.install(made, "noisy", "seq 1 5000 >&2; echo result")
    site.install(made, "silent", ":")
    site.install(made, "tail_of_log", "seq 1 5000 >&2; exit 1")
    site.install(made, "long_output", "head -c 100000000 /dev/zero")
    site.install(made, "sleeps", "sleep 600", timeout_seconds=1)
    site.install(
        made, "hides_and_sleeps", "setsid sh -c 'sleep 600' & sleep 600", timeout_seconds=1
    )
    site.install(made, "eats_memory", 'x=$(head -c 400000000 /dev/zero | tr "\\0" x); echo ${#x}')
    site.install(made, "no_such_command", "", command="surely-not-installed")
    site.install(made, "links_output", 'ln -sf /etc/passwd "$JOB_WORKSPACE/../stdout"')
    return made


@pytest.fixture(scope="module")
def data(service: calls.Service) -> str:
    """Some input."""
    return service.upload(b"input\n")


@pytest.mark.parametrize("code", [1, 75, 78])
def test_a_non_zero_exit_code_is_failed_with_the_code_and_the_log(
    service: calls.Service, data: str, code: int
) -> None:
    result = service.run(calls.config("exit", data, {"code": code}))
    assert result.new_status == types_pb2.JOB_STATUS_FAILED
    assert (result.HasField("exit_code"), result.exit_code) == (True, code)
    assert not result.HasField("signal")
    assert not result.HasField("output")
    assert result.error.code == code_pb2.UNKNOWN
    assert f"Exit code {code}" in result.error.message
    assert "leaving" in result.error.message


def test_exit_code_zero_is_completed(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("exit", data, {"code": 0}))
    assert result.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert (result.HasField("exit_code"), result.exit_code) == (True, 0)
    assert not result.HasField("error")
    for moment in ("create_time", "start_time", "end_time"):
        assert result.HasField(moment)
    assert result.create_time.ToDatetime() <= result.start_time.ToDatetime()
    assert result.start_time.ToDatetime() <= result.end_time.ToDatetime()


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM"])
def test_a_job_that_kills_itself_is_failed_with_the_signal(
    service: calls.Service, data: str, name: str
) -> None:
    result = service.run(calls.config("die", data, {"signal": name}))
    assert result.new_status == types_pb2.JOB_STATUS_FAILED
    assert result.signal == signal.Signals[f"SIG{name}"]
    assert not result.HasField("exit_code")
    assert f"SIG{name}" in result.error.message


def test_what_the_output_says_does_not_make_a_failure(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("says_error", data))
    assert result.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert result.output == '{"status": "error"}\n'


def test_output_that_is_no_text_is_kept_byte_for_byte(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("not_text", data))
    assert result.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert not result.HasField("output")
    assert result.output_truncated
    assert result.output_size_bytes == 3
    assert service.download(result.output_hash) == b"a\xffb"


def test_noise_on_stderr_is_not_in_the_output(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("noisy", data))
    assert (result.output, result.HasField("error")) == ("result\n", False)


def test_an_empty_output_is_an_output(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("silent", data))
    assert (result.HasField("output"), result.output) == (True, "")
    assert result.output_hash == site.hash_of(b"")
    assert service.download(result.output_hash) == b""


def test_an_output_of_100_mb_is_fetched_by_its_hash(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("long_output", data))
    assert result.new_status == types_pb2.JOB_STATUS_COMPLETED
    assert result.output_truncated
    assert result.output_size_bytes == 100_000_000
    assert site.hash_of(bytes(100_000_000)) == result.output_hash
    assert service.download(result.output_hash) == bytes(100_000_000)


def test_the_end_of_the_log_is_told_not_all_of_it(service: calls.Service, data: str) -> None:
    message = service.run(calls.config("tail_of_log", data)).error.message
    assert message.endswith("4999\n5000\n")
    assert len(message) < 4096 + 200


@pytest.mark.parametrize("method", ["sleeps", "hides_and_sleeps"])
def test_a_job_over_its_time_is_timeout(service: calls.Service, data: str, method: str) -> None:
    result = service.run(calls.config(method, data))
    assert result.new_status == types_pb2.JOB_STATUS_TIMEOUT
    assert result.error.code == code_pb2.DEADLINE_EXCEEDED
    assert "timeout of 1 s" in result.error.message


def test_the_timeout_of_a_row_counts_before_the_methods(service: calls.Service) -> None:
    data = service.upload(b"another input\n")
    result = service.run(calls.config("sleeps", data, timeout="0.2s"))
    assert result.new_status == types_pb2.JOB_STATUS_TIMEOUT
    assert "timeout of 0.2 s" in result.error.message


def test_a_job_over_its_memory_is_out_of_memory(service: calls.Service, data: str) -> None:
    result = service.run(
        calls.config("eats_memory", data, resources={"memoryBytes": str(100_000_000)})
    )
    assert result.new_status == types_pb2.JOB_STATUS_OUT_OF_MEMORY
    assert result.error.code == code_pb2.RESOURCE_EXHAUSTED


def test_a_command_that_is_not_there_is_boot_fail(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("no_such_command", data))
    assert result.new_status == types_pb2.JOB_STATUS_BOOT_FAIL
    assert "surely-not-installed" in result.error.message


def test_an_output_that_became_a_link_is_not_followed(service: calls.Service, data: str) -> None:
    result = service.run(calls.config("links_output", data))
    assert result.new_status == types_pb2.JOB_STATUS_FAILED
    assert "root:" not in str(result)
