"""Uploads and downloads, methods and the server."""

import pathlib

import pytest
from google.protobuf import struct_pb2, timestamp_pb2

from dshpc.cli import arguments, main
from dshpc.v1 import method_service_pb2
from support.dshpc_command import Command
from support.fake_rows import sha256
from support.fake_service import FakeService


def test_files_are_uploaded_once(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n")

    assert dshpc("files", "upload", path) == 0
    assert "uploaded" in dshpc.out
    assert sha256(b"a\n") in dshpc.out
    assert service.stored == {sha256(b"a\n"): b"a\n"}

    assert dshpc("files", "upload", path, "--output", "json") == 0
    assert dshpc.lines() == [
        {"path": str(path), "fileHash": sha256(b"a\n"), "sizeBytes": "2", "uploaded": False}
    ]


def test_a_file_that_is_not_there_is_a_usage_error(dshpc: Command, tmp_path: pathlib.Path) -> None:
    assert dshpc("files", "upload", tmp_path / "no.csv") == 2
    assert "no.csv" in dshpc.err


def test_a_file_is_downloaded_to_a_path_or_into_a_folder(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    file_hash = sha256(b"content")
    service.stored[file_hash] = b"content"

    assert dshpc("files", "download", file_hash, tmp_path / "here") == 0
    assert dshpc.out == ""
    assert dshpc("files", "download", file_hash, tmp_path, "--output", "json") == 0
    assert dshpc.lines() == [
        {"path": str(tmp_path / file_hash), "fileHash": file_hash, "sizeBytes": "7"}
    ]

    assert (tmp_path / "here").read_bytes() == b"content"
    assert (tmp_path / file_hash).read_bytes() == b"content"


def test_wrong_bytes_are_told_in_one_line(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    file_hash = sha256(b"content")
    service.stored[file_hash] = b"content"
    service.corrupts_downloads = True

    assert dshpc("files", "download", file_hash, tmp_path / "here") == 1

    assert dshpc.err.startswith(f"dshpc: asked for {file_hash}, got content with hash ")
    assert len(dshpc.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_told_in_one_line(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(b"x")] = b"x"

    assert dshpc("files", "download", sha256(b"x"), tmp_path / "no" / "here") == 1
    assert dshpc.err.endswith("No such file or directory\n")
    assert len(dshpc.err.splitlines()) == 1


def test_missing_files_are_listed_by_hash_and_path(
    dshpc: Command, service: FakeService, tmp_path: pathlib.Path
) -> None:
    service.stored[sha256(b"stored")] = b"stored"
    for name in ("stored", "absent"):
        (tmp_path / name).write_text(name)
    names = [str(tmp_path / "stored"), str(tmp_path / "absent"), "0" * 64]

    assert dshpc("files", "missing", *names) == 0
    absent = sha256(b"absent")
    assert dshpc.out == f"{absent}  {tmp_path / 'absent'}\n{'0' * 64}\n"

    assert dshpc("files", "missing", *names, "-o", "json") == 0
    assert dshpc.lines() == [
        {"fileHash": absent, "path": str(tmp_path / "absent")},
        {"fileHash": "0" * 64},
    ]


def method() -> method_service_pb2.Method:
    return method_service_pb2.Method(
        method_name="column_stats",
        version="1.2.0",
        function_hash="f" * 64,
        description="Counts and means.",
        inputs=["input"],
        create_time=timestamp_pb2.Timestamp(seconds=0),
        active=True,
        parameters=[
            method_service_pb2.MethodParameter(
                name="bins",
                type="integer",
                description="How many.",
                required=True,
                default_value=struct_pb2.Value(number_value=5),
            )
        ],
    )


def test_methods_are_listed_and_shown(dshpc: Command, service: FakeService) -> None:
    others = [method_service_pb2.Method(method_name=name) for name in ("b", "c")]
    service.methods = [method(), *others]

    assert dshpc("methods", "list") == 0
    assert dshpc.out.splitlines()[1].split() == [
        *("column_stats", "1.2.0", "input", "bins", "Counts", "and", "means.")
    ]
    assert dshpc("methods", "list", "--output", "json") == 0
    assert [line["methodName"] for line in dshpc.lines()] == ["column_stats", "b", "c"]

    assert dshpc("methods", "show", "column_stats") == 0
    assert ["bins", "integer", "yes", "5", "How", "many."] in [
        line.split() for line in dshpc.out.splitlines()
    ]
    assert "f" * 64 in dshpc.out
    assert dshpc("methods", "show", "b") == 0
    assert "parameters: any" in dshpc.out
    assert dshpc("methods", "show", "column_stats", "--output", "json") == 0
    (line,) = dshpc.lines()
    assert line["method"]["functionHash"] == "f" * 64


def test_of_many_inputs_the_list_tells_the_first_and_how_many(
    dshpc: Command, service: FakeService
) -> None:
    inputs = [f"mask_{number}" for number in range(50)]
    service.methods = [method_service_pb2.Method(method_name="fan_in", inputs=inputs)]

    assert dshpc("methods", "list") == 0
    assert "mask_0, mask_1, mask_2, … (50)" in dshpc.out
    assert "mask_3" not in dshpc.out
    assert dshpc("methods", "show", "fan_in") == 0
    assert "mask_49" in dshpc.out


@pytest.mark.parametrize(
    "words",
    [
        ("batch", "cancel", "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "--index"),
        ("batch", "list", "--limit"),
        ("job", "list", "--limit"),
        ("files", "list", "--limit"),
        ("job", "log", "a" * 64, "--attempt"),
        ("run", "-", "--max-failures"),
    ],
)
def test_a_number_that_the_contract_cannot_hold_is_bad_usage(
    dshpc: Command, words: tuple[str, ...]
) -> None:
    assert dshpc(*words, str(2**63)) == 2
    assert "2147483647" in dshpc.err


def test_an_unknown_method_is_told_in_one_line(dshpc: Command) -> None:
    assert dshpc("methods", "show", "nothing") == 1
    assert dshpc.err == "dshpc: method 'nothing' not found\n"


def test_the_server_is_described(dshpc: Command) -> None:
    assert dshpc("server", "info") == 0
    pairs = dict(line.split(maxsplit=1) for line in dshpc.out.splitlines())
    assert pairs["engine"] == "local"
    assert pairs["limits.max_jobs_per_request"] == "100000"

    assert dshpc("server", "info", "--output", "json") == 0
    (line,) = dshpc.lines()
    assert line["limits"] == {"maxJobsPerRequest": 100000}


def test_a_version_of_a_method_is_shown_by_its_whole_hash(
    dshpc: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = method_service_pb2.Method(
        method_name="column_stats", version="1.1.0", function_hash="e" * 64, description="Counts."
    )
    service.methods = [method(), older]

    assert dshpc("methods", "show", "column_stats", "--version", "E" * 64) == 0
    assert dshpc.out.splitlines()[0] == "column_stats 1.1.0"
    assert [row.split() for row in dshpc.out.splitlines()[-2:]] == [
        ["f" * 64, "1.2.0", "1970-01-01T00:00:00Z", "active"],
        ["e" * 64, "1.1.0"],
    ]
    assert dshpc("methods", "show", "column_stats", "--version", "eeee") == 2
    assert dshpc.err == (
        "dshpc: 'eeee' is a part of a function_hash, and all 64 digits are needed: "
        "'dshpc methods show NAME' shows them\n"
    )
    monkeypatch.setenv("COLUMNS", "50")
    assert dshpc("methods", "show", "column_stats") == 0
    assert "f" * 64 in dshpc.out.splitlines()


def test_without_a_command_the_help_is_shown(dshpc: Command) -> None:
    assert dshpc() == 2
    assert "Usage: dshpc" in dshpc.out + dshpc.err
    assert dshpc("--version") == 0
    assert dshpc.out.startswith("dshpc ")


def test_help_tells_the_exit_codes_of_all_commands(dshpc: Command) -> None:
    assert dshpc("--help") == 0

    for code in ("0 ", "1 ", "2 ", "69 ", "75 ", "130 "):
        assert any(line.strip().startswith(code) for line in dshpc.out.splitlines()), code


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "localhost", "http://127.0.0.1:50051", "[::1]", ":50051", "a:0", "a:70000"],
)
def test_an_address_without_host_or_port_is_refused_before_anything_is_asked(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["--server", address, "server", "info"]) == 2

    assert f"dshpc: server '{address}' must be HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["127.0.0.1:50051", "dshpc.example.com:1", "[::1]:50051", "unix:/run/dshpc.sock"]
)
def test_an_address_with_host_and_port_is_taken_as_it_is(address: str) -> None:
    assert arguments.server(address) == address
