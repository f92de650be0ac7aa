"""`dshpc-server check` over the data of a real server: while it runs, after it, after its death."""

import json
import pathlib
import signal
from collections.abc import Iterator

import alembic.command
import alembic.config
import grpc
import pytest
import sqlalchemy

from dshpc.v1 import job_service_pb2, types_pb2
from support import calls, live_server, loaded, site
from support.postgres_fixtures import postgres_server, postgres_tables, postgres_url

__all__ = ["postgres_server", "postgres_tables", "postgres_url"]

_SECONDS = 120.0


def run(data_dir: pathlib.Path, *words: str, command: str = "check") -> tuple[int, str, str]:
    """Run the command over a data folder: its exit code, stdout and stderr."""
    ended = loaded.run([command, f"--data-dir={data_dir}", *words], timeout=_SECONDS)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def methods_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """The test methods."""
    return site.write(tmp_path / "site")


@pytest.fixture
def server(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> Iterator[live_server.ServerProcess]:
    """A server of one slot, whose retries come soon."""
    flags = {"slots": 1, "retry-first-seconds": 0.01, "retry-last-seconds": 0.01}
    with live_server.as_process(tmp_path, methods_dir, **flags) as running:
        yield running


def fill(service: calls.Service, gate: site.Gate) -> str:
    """Jobs of every end, one that runs and one that waits; the id of the one that runs."""
    data = service.upload(b"data\n", filename="canary-name")
    ended = [
        calls.config("echo", data, {"canary": "canary-parameter"}),
        calls.config("big", data, {"bytes": 200_000}),
        calls.config("exit", data, {"code": 3}),
        calls.config("exit", data, {"code": 75}),
        calls.config("die", data, {"signal": "KILL"}),
        calls.config("no such method", data),
    ]
    answer = service.simulate(*ended, finished=True)
    statuses = [row.new_status for row in answer.results]
    assert statuses[:2] == [types_pb2.JOB_STATUS_COMPLETED] * 2
    assert set(statuses[2:5]) == {types_pb2.JOB_STATUS_FAILED}
    assert answer.results[3].attempt == 4, "it was retried three times"
    # Found, resubmitted and kept.
    service.simulate(*ended, finished=True)
    service.simulate(*ended, resubmit_policy=types_pb2.RESUBMIT_POLICY_NEVER, finished=True)
    service.simulate(ended[0], cache_policy=types_pb2.CACHE_POLICY_REFRESH, finished=True)
    service.simulate(ended[0], cache_policy=types_pb2.CACHE_POLICY_BYPASS, finished=True)
    held, waiting, cancelled = (
        service.simulate(config).results[0].job_id
        for config in (
            calls.config("hold", service.upload(gate.content)),
            calls.config("echo", data, {"waits": 1}),
            calls.config("echo", data, {"waits": 2}),
        )
    )
    service.wait_for_status(held, types_pb2.JOB_STATUS_RUNNING)
    service.jobs.CancelJob(job_service_pb2.CancelJobRequest(job_id=cancelled))
    assert service.job(waiting).status == types_pb2.JOB_STATUS_PENDING
    return held


def make_older(path: pathlib.Path, version: str) -> None:
    """Make an empty store as an earlier version did."""
    config = alembic.config.Config()
    config.set_main_option("script_location", "dshpc_server.store.sql:migrations")
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, version)
    engine.dispose()


def counted(line: str) -> dict[str, int]:
    """The numbers of the last line of text."""
    words = line.removeprefix("checked: ").split(", ")
    return {name: int(count) for count, name in (word.split(" ", 1) for word in words)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_wrong_with_the_data_of_a_server_that_runs_that_has_ended_or_was_killed(
    tmp_path: pathlib.Path, server: live_server.ServerProcess, number: signal.Signals
) -> None:
    gate = site.Gate(tmp_path / "gate")
    with grpc.insecure_channel(server.address) as channel:
        fill(calls.Service(channel), gate)
    code, live, errors = run(server.data_dir)
    assert (code, errors) == (0, ""), live
    (line,) = live.splitlines()
    counts = counted(line)
    assert counts["jobs"] == 8
    assert counts["attempts"] == 19
    assert counts["problems"] == counts["notes"] == 0
    assert counts["bytes hashed"] > 200_000
    assert "canary" not in live
    server.stop(number)
    code, after, _ = run(server.data_dir)
    *notes, line = after.splitlines()
    assert (code, counted(line) | {"notes": 0}) == (0, counts)
    assert all(note.startswith("note: owner_lives: ") for note in notes), after
    code, repaired, errors = run(server.data_dir, "--repair")
    assert (code, errors) == (0, ""), repaired
    # To have the store for itself, the repair has ended the record of that server.
    assert counted(repaired.splitlines()[-1]) == counts | {"notes": 1}
    gate.open()
    live_server.wait_until_gone(server.data_dir)


def test_nothing_is_wrong_with_a_store_that_servers_share(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, postgres_url: str
) -> None:
    flags = {"store": postgres_url, "slots": 1, "lease-seconds": 1}
    gate, words = site.Gate(tmp_path / "gate"), [f"--store={postgres_url}"]
    with live_server.as_process(tmp_path, methods_dir, **flags) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            held = calls.config("hold", service.upload(gate.content))
            service.wait_for_status(
                service.simulate(held).results[0].job_id, types_pb2.JOB_STATUS_RUNNING
            )
        with live_server.as_process(tmp_path, methods_dir, **flags) as second:
            code, told, errors = run(first.data_dir, *words)
            assert (code, errors) == (0, ""), told
            assert counted(told.splitlines()[-1])["attempts"] == 1
            code, told, errors = run(first.data_dir, *words, "--repair")
            assert (code, told) == (78, "")
            assert "is in use by 2 other server(s) (local/" in errors
            first.stop(signal.SIGKILL)
            gate.open()
            with grpc.insecure_channel(second.address) as channel:
                finished = calls.Service(channel).run(held)
                assert (finished.output, finished.attempt) == ("let go\n", 1)
    code, told, errors = run(first.data_dir, *words, "--repair")
    assert (code, errors) == (0, ""), told
    assert counted(told.splitlines()[-1])["notes"] == 0


def test_the_folder_of_another_deployment_is_told_in_one_line_and_nothing_is_forgotten(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, postgres_url: str
) -> None:
    words, wrong = [f"--store={postgres_url}"], tmp_path / "wrong"
    with live_server.as_process(tmp_path, methods_dir, store=postgres_url) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            config = calls.config("big", service.upload(b"data\n"), {"bytes": 100_000})
            output_hash = service.run(config).output_hash
        own = (first.data_dir / "deployment_id").read_text().strip()
    # Another deployment's, and a folder in which there is nothing.
    wrong.mkdir()
    with live_server.as_process(wrong, methods_dir) as other:
        others = (other.data_dir / "deployment_id").read_text().strip()
    (tmp_path / "empty/data/files").mkdir(parents=True)
    for folder, folder_id in ((wrong, others), (tmp_path / "empty", "none")):
        code, told, errors = run(folder / "data", *words)
        line, counts = told.splitlines()
        assert (code, errors) == (1, "")
        assert line.startswith("folder_is_of_the_store: data_dir is not the folder of this store, ")
        assert line.endswith(f": store {own} folder {folder_id}")
        assert counted(counts)["problems"] == 1
        code, told, errors = run(folder / "data", *words, "--repair")
        assert (code, told) == (78, "")
        assert f" belongs to deployment {own}, and data_dir {folder}/data " in errors
        with pytest.raises(live_server.StartError) as refused:
            live_server.ServerProcess(folder, methods_dir, store=postgres_url)
        assert refused.value.code == 78
        assert f" belongs to deployment {own}, and data_dir {folder}/data " in str(refused.value)
    with (
        live_server.as_process(tmp_path, methods_dir, store=postgres_url) as second,
        grpc.insecure_channel(second.address) as channel,
    ):
        again = calls.Service(channel).run(config)
        assert (again.attempt, again.output_hash) == (1, output_hash)
        assert again.outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    assert run(tmp_path / "data", *words)[0] == 0


def test_a_damaged_output_is_put_away_and_its_job_runs_again(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> None:
    with live_server.as_process(tmp_path, methods_dir) as first:
        with grpc.insecure_channel(first.address) as channel:
            service = calls.Service(channel)
            config = calls.config("big", service.upload(b"data\n"), {"bytes": 100_000})
            output_hash = service.run(config).output_hash
        path = first.data_dir / "files" / output_hash[:2] / output_hash[2:4] / output_hash
        content = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(b"X" + content[1:])
        path.chmod(0o444)
        code, told, _ = run(first.data_dir, "--format=json")
        problem, counts = map(json.loads, told.splitlines())
        assert code == 1
        assert problem == {
            "kind": "problem",
            "rule": "content_is_its_hash",
            "what": "its bytes are not those it is named by",
            "which": {"file": output_hash},
        }
        assert (counts["kind"], counts["problems"], counts["files"]) == ("counts", 1, 2)
        code, told, errors = run(first.data_dir, "--repair")
        assert (code, told) == (78, "")
        assert "is in use by another server" in errors
    code, told, _ = run(first.data_dir, "--repair")
    assert code == 0
    assert f"moved to quarantine/{output_hash} and forgotten" in told
    assert run(first.data_dir)[0] == 0
    assert (first.data_dir / "quarantine" / output_hash).read_bytes()[1:] == content[1:]
    with (
        live_server.as_process(tmp_path, methods_dir) as second,
        grpc.insecure_channel(second.address) as channel,
    ):
        again = calls.Service(channel).run(config)
        assert (again.attempt, again.output_hash) == (2, output_hash)
        assert again.outcome == types_pb2.OUTCOME_SUBMITTED
        assert calls.Service(channel).download(output_hash) == content


def test_where_there_is_no_store_none_is_made(tmp_path: pathlib.Path) -> None:
    for command in ("check", "migrate"):
        code, told, errors = run(tmp_path / "none", command=command)
        assert (code, told) == (78, "")
        assert errors.endswith("dshpc.sqlite' not found\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "dshpc.sqlite").touch()
    assert run(tmp_path / "empty")[0] == 78
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["dshpc.sqlite"]
    (tmp_path / "empty" / "dshpc.sqlite").write_bytes(b"no database at all" * 1000)
    code, _, errors = run(tmp_path / "empty")
    assert code == 78
    assert "file is not a database" in errors


def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path: pathlib.Path) -> None:
    make_older(tmp_path / "dshpc.sqlite", "0001")
    (tmp_path / "files").mkdir()
    code, told, errors = run(tmp_path)
    assert (code, told) == (78, "")
    assert "its version is 0001, " in errors
    assert "'dshpc-server migrate' brings it up to date" in errors
    code, told, _ = run(tmp_path, command="migrate")
    assert code == 0
    assert told.startswith("the store was of version 0001, and is of version 0")
    assert run(tmp_path)[0] == 0
    code, told, _ = run(tmp_path, command="migrate")
    assert (code, told.endswith(" already\n")) == (0, True)
