"""Reading the settings: what counts before what, and how what is wrong is told."""

import os
import pathlib

import pytest

from dshpc_server import config


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A settings file, empty at first."""
    path = tmp_path / "dshpc.toml"
    path.touch()
    return path


def refusal(file: pathlib.Path | None = None, /, **flags: object) -> str:
    with pytest.raises(config.ConfigError) as caught:
        config.load(file, flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_defaults_need_nothing_and_serve_this_machine_alone() -> None:
    settings = config.load(None, {})
    assert settings.listen == "127.0.0.1:50051"
    assert settings.slots == len(os.sched_getaffinity(0))
    assert settings.memory_bytes > 0


def test_a_flag_counts_before_the_environment_the_environment_before_the_file(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("slots = 1\nmax_jobs_per_request = 10\nmax_file_bytes = 100\n")
    monkeypatch.setenv("DSHPC_SLOTS", "2")
    monkeypatch.setenv("DSHPC_MAX_JOBS_PER_REQUEST", "20")
    settings = config.load(file, {"slots": "3"})
    assert settings.slots == 3
    assert settings.max_jobs_per_request == 20
    assert settings.max_file_bytes == 100
    assert settings.max_parameters_nodes == 10_000


def test_a_flag_that_was_not_given_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSHPC_SLOTS", "2")
    assert config.load(None, {"slots": None}).slots == 2


def test_an_empty_variable_counts_as_not_set(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('data_dir = "elsewhere"\n')
    monkeypatch.setenv("DSHPC_DATA_DIR", "")
    monkeypatch.setenv("DSHPC_SLOTS", "")
    assert config.load(file, {}).data_dir == pathlib.Path("elsewhere")


def test_variables_of_other_programs_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    before = config.load(None, {}).model_dump()
    monkeypatch.setenv("DSHPC_SERVER", "example.org:1")
    assert config.load(None, {}).model_dump() == before


def test_an_unknown_key_in_the_file_is_named(file: pathlib.Path) -> None:
    file.write_text("slots = 1\nsolts = 2\n[server]\nlisten = 'x:1'\n")
    assert refusal(file) == "solts: no such setting; server: no such setting"


def test_a_file_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    absent = tmp_path / "absent.toml"
    assert refusal(absent) == f"{absent}: no such file"
    assert refusal(tmp_path) == f"{tmp_path}: no such file"
    too_long = tmp_path / ("x" * 300)
    assert str(too_long) in refusal(too_long)


@pytest.mark.parametrize("content", [b"slots =\n", b"slots: 2\n", b"\xff\xfe", b"slots=1\nslots=2"])
def test_a_file_that_is_not_toml_is_named(file: pathlib.Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refusal(file).startswith(f"{file}: is not TOML: ")


def test_a_file_that_cannot_be_read_is_named() -> None:
    file = pathlib.Path("/proc/self/mem")
    assert refusal(file) == f"{file}: Input/output error"


def test_everything_that_is_wrong_is_named_at_once(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('log_level = "loud"\n')
    monkeypatch.setenv("DSHPC_MAX_WAIT_SECONDS", "soon")
    message = refusal(file, slots="abc")
    assert {part.partition(":")[0] for part in message.split("; ")} == {
        "log_level",
        "max_wait_seconds",
        "slots",
    }


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:0", "0.0.0.0:65535", "localhost:50051", "[::1]:50051", "[fe80::1%eth0]:1"],
)
def test_an_address_is_a_host_and_a_port(listen: str) -> None:
    assert config.load(None, {"listen": listen, "allow_remote": True}).listen == listen


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "[::1]", "[0:0::0:1]"]
)
def test_loopback_needs_no_leave(host: str) -> None:
    assert config.load(None, {"listen": f"{host}:0"}).listen == f"{host}:0"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "128.0.0.1",
            "[::ffff:127.0.0.1]",
            "[::1%lo]",
            "[fe80::1]",
        ),
        *("127.1", "127.0.0.1.", "localhost.", "localhost.example.org", "example.org", "0"),
    ],
)
def test_an_address_beyond_loopback_needs_leave_and_the_refusal_says_why(host: str) -> None:
    message = refusal(listen=f"{host}:50051")
    assert message.startswith(f"listen: {host}:50051 ")
    for told in ("no login", "no encryption", "every method", "every file", "--allow-remote"):
        assert told in message
    assert config.load(None, {"listen": f"{host}:50051", "allow_remote": True}).allow_remote


def test_leave_to_listen_beyond_loopback_can_be_given_and_taken_back(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('listen = "0.0.0.0:0"\nallow_remote = true\n')
    assert config.load(file, {}).allow_remote
    assert "--allow-remote" in refusal(file, allow_remote=False)
    monkeypatch.setenv("DSHPC_ALLOW_REMOTE", "false")
    assert "--allow-remote" in refusal(file)


@pytest.mark.parametrize(
    "listen",
    [
        *("", "50051", ":50051", "localhost", "localhost:", "localhost:http", "localhost:-1"),
        *("127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:٣", "::1:50051", "[::1]", "a b:1"),
        *("[::1:50051", "unix:/tmp/socket", "127.0.0.1:1\n"),
    ],
)
def test_what_is_no_address_is_refused_with_an_example(listen: str) -> None:
    assert refusal(listen=listen).startswith("listen: must be HOST:PORT, as in 127.0.0.1:50051")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slots", "0"),
        ("slots", "2.5"),
        ("slots", str(2**31)),
        ("memory_bytes", "8GiB"),
        ("memory_bytes", str(2**63)),
        ("job_memory_bytes", "-1"),
        ("max_jobs_per_request", str(2**31)),
        ("max_request_bytes", str(2**31)),
        ("max_parameters_depth", "31"),
        ("inline_output_bytes", str(2**20 + 1)),
        ("job_timeout_seconds", "0"),
        ("max_timeout_seconds", "1e300"),
        ("max_wait_seconds", "nan"),
        ("stop_grace_seconds", "inf"),
        ("stop_grace_seconds", "nan"),
        ("methods_reload_seconds", "-1"),
        ("methods_reload_seconds", "inf"),
        ("upload_stall_seconds", "0"),
        ("upload_expiry_seconds", "nan"),
        ("max_attempts", "0"),
        ("max_calls", "0"),
        ("max_streams", str(2**31)),
        ("max_uploads", "-1"),
        ("allow_remote", "perhaps"),
        ("engine", "pbs"),
        ("slurm_options", "--comment='never closed"),
        ("slurm_queued_jobs", "0"),
        ("slurm_parallel", "-1"),
        ("pack_below_seconds", "-1"),
        ("pack_below_seconds", "nan"),
        ("pack_jobs", "0"),
        ("pack_jobs", "1001"),
        ("log_format", "xml"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_settings_name(name: str, value: str) -> None:
    assert refusal(**{name: value}).startswith(f"{name}: ")


def test_settings_do_not_change_once_read() -> None:
    settings = config.load(None, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.slots = 99


def test_settings_that_do_not_go_together_are_refused() -> None:
    too_much = {"memory_bytes": 10, "job_memory_bytes": 11}
    assert refusal(**too_much) == "job_memory_bytes is over memory_bytes: no job would ever fit"
    first_over_last = {"retry_first_seconds": 30, "retry_last_seconds": 5}
    assert refusal(**first_over_last) == (
        "retry_first_seconds is over retry_last_seconds, the longest delay"
    )
    equal = config.load(None, {"retry_first_seconds": 5, "retry_last_seconds": 5})
    assert equal.retry_first_seconds == equal.retry_last_seconds


def test_what_slurm_is_to_be_told_is_taken_as_it_is() -> None:
    given = {"engine": "slurm", "slurm_partition": "fast", "slurm_options": "--comment='a b' -x n1"}
    settings = config.load(None, given)
    assert settings.model_dump(include=set(given)) == given
    assert config.load(None, {"pack_below_seconds": "0", "pack_jobs": "1"}).pack_jobs == 1


def test_what_a_cluster_has_is_not_measured_by_this_machine() -> None:
    of_a_node = {"memory_bytes": 10, "job_memory_bytes": 11, "engine": "slurm"}
    assert config.load(None, of_a_node).job_memory_bytes == 11
