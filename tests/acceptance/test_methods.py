"""Methods that change under a running server: versions, rollback, removal, and what a row runs."""

import contextlib
import functools
import json
import pathlib
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from dshpc.v1 import job_service_pb2, method_service_pb2, types_pb2
from support import calls, live_server, site

COMPLETED = types_pb2.JOB_STATUS_COMPLETED


class Offered:
    """A running server, and the methods folder it reads."""

    def __init__(
        self, server: live_server.ServerProcess, methods_dir: pathlib.Path, channel: grpc.Channel
    ) -> None:
        self.server = server
        self.methods_dir = methods_dir
        self.service = calls.Service(channel)

    def write(self, text: str, name: str = "versioned", **fields: object) -> None:
        """Write a method that prints this text and its parameters; nobody is told.

        Each file is moved into place, so that no reading finds half of it.
        """
        aside = self.methods_dir.with_name("aside")
        site.install(aside, name, f'echo "{text}"; cat -- "$2"', **({"inputs": []} | fields))
        for path in (f"scripts/{name}/main.sh", f"commands/{name}.json"):
            (self.methods_dir / path).parent.mkdir(exist_ok=True)
            (aside / path).rename(self.methods_dir / path)

    def tell(self) -> None:
        """Ask the server to read the folder again."""
        self.server.process.send_signal(signal.SIGHUP)

    def offer(self, text: str, name: str = "versioned", **fields: object) -> str:
        """Write a method, have it loaded, and wait until it is offered; its hash."""
        self.write(text, name, **fields)
        before = self.newest(name)
        self.tell()
        return self.wait_for_another(before, name)

    def remove(self, name: str = "versioned") -> None:
        """Take a method away, and wait until it is not offered any more."""
        (self.methods_dir / "commands" / f"{name}.json").unlink()
        self.tell()
        live_server.wait_for(lambda: not self.newest(name), f"{name} to be removed")

    def wait_for_another(self, before: str, name: str = "versioned") -> str:
        """Wait until another version than this is the newest; its hash."""

        def another() -> str:
            newest = self.newest(name)
            return newest if newest != before else ""

        found: str = live_server.wait_for(another, f"{name} to be another than {before!r}")
        return found

    def newest(self, name: str = "versioned") -> str:
        """The newest version's hash; empty for a method that is not offered."""
        listed = self.service.methods.ListMethods(method_service_pb2.ListMethodsRequest())
        return {each.method_name: each.function_hash for each in listed.methods}.get(name, "")

    def method(
        self, name: str = "versioned", function_hash: str = ""
    ) -> method_service_pb2.GetMethodResponse:
        """What GetMethod answers."""
        return self.service.methods.GetMethod(
            method_service_pb2.GetMethodRequest(method_name=name, function_hash=function_hash)
        )

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The server's log lines of this kind."""
        lines = map(json.loads, self.server.log.read_text().splitlines())
        return [line for line in lines if line["event"] == event]


@contextlib.contextmanager
def serving(folder: pathlib.Path, **flags: object) -> Iterator[Offered]:
    """Run a server over the test methods; without flags it reloads only when told."""
    methods_dir = site.write(folder / "site")
    given: dict[str, object] = {"methods_reload_seconds": 0} | flags
    with (
        live_server.as_process(folder, methods_dir, **given) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield Offered(server, methods_dir, channel)


@pytest.fixture
def offered(tmp_path: pathlib.Path) -> Iterator[Offered]:
    """A server that reloads when it is told."""
    with serving(tmp_path) as made:
        yield made


def configs(count: int) -> list[types_pb2.JobConfig]:
    """So many rows that are different jobs."""
    return [calls.config("versioned", parameters={"row": row}) for row in range(count)]


def ran(result: types_pb2.MultiJobResult) -> str:
    """The version that says in its output that it ran."""
    assert result.new_status == COMPLETED, result
    return result.output.splitlines()[0]


def versions_of(results: Iterable[types_pb2.MultiJobResult]) -> set[tuple[str, str]]:
    """What was reported and what ran."""
    return {(result.function_hash, ran(result)) for result in results}


def test_going_back_to_an_older_version_finds_its_results_again(offered: Offered) -> None:
    first = offered.offer("v1")
    old = offered.service.run(configs(1)[0])
    second = offered.offer("v2")
    new = offered.service.run(configs(1)[0])
    assert (old.function_hash, ran(old)) == (first, "v1")
    assert (new.function_hash, ran(new)) == (second, "v2")
    assert new.outcome == types_pb2.OUTCOME_SUBMITTED

    assert offered.offer("v1") == first
    (found,) = offered.service.simulate(configs(1)[0]).results
    assert found.outcome == types_pb2.OUTCOME_FOUND_COMPLETED
    assert (found.job_id, found.output) == (old.job_id, old.output)
    told = offered.method()
    assert [(each.function_hash, each.active) for each in told.versions] == [
        (first, True),
        (second, False),
    ]
    assert told.method == told.versions[0]


def test_a_removed_method_cannot_be_asked_for_but_what_it_was_stays_readable(
    offered: Offered,
) -> None:
    first, second = offered.offer("v1"), offered.offer("v2")
    done = offered.service.run(configs(1)[0])
    offered.remove()

    refused = calls.refusal(offered.method)
    assert refused.code == grpc.StatusCode.NOT_FOUND
    (row,) = offered.service.simulate(configs(1)[0]).results
    assert row.outcome == types_pb2.OUTCOME_REJECTED
    reason = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(reason) for detail in row.error.details)
    assert reason.reason == "METHOD_NOT_FOUND"

    told = offered.method(function_hash=first)
    assert (told.method.function_hash, told.method.active) == (first, False)
    assert [(each.function_hash, each.active) for each in told.versions] == [
        (second, False),
        (first, False),
    ]
    assert offered.service.job(done.job_id).output == done.output
    (line,) = [line for line in offered.logged("methods.reloaded") if line["removed"]]
    assert line["removed"] == ["versioned"]

    assert offered.offer("v2") == second
    (found,) = offered.service.simulate(configs(1)[0]).results
    assert found.outcome == types_pb2.OUTCOME_FOUND_COMPLETED


def test_versions_and_what_was_removed_survive_a_restart(tmp_path: pathlib.Path) -> None:
    with serving(tmp_path) as offered:
        first, second = offered.offer("v1"), offered.offer("v2")
        assert offered.offer("v1") == first
        before = offered.method()
    with (
        live_server.as_process(tmp_path, offered.methods_dir) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        again = Offered(server, offered.methods_dir, channel)
        assert again.method() == before
        assert [each.function_hash for each in before.versions] == [first, second]


def test_a_pinned_version_runs_whatever_is_newest(offered: Offered) -> None:
    first, second = offered.offer("v1"), offered.offer("v2")
    rows = [
        calls.config("versioned", parameters={"row": 0}, functionHash=function_hash)
        for function_hash in (first, second, "")
    ]
    results = offered.service.simulate(*rows, finished=True).results
    assert [(row.function_hash, ran(row)) for row in results] == [
        (first, "v1"),
        (second, "v2"),
        (second, "v2"),
    ]
    assert results[2].job_id == results[1].job_id


def test_a_reload_in_the_middle_of_a_batch_leaves_every_row_what_it_was_accepted_as(
    offered: Offered,
) -> None:
    first = offered.offer("v1")
    rows = configs(200)
    streamed: list[types_pb2.MultiJobResult] = []
    second = ""
    for event in offered.service.stream(*rows, timeout=100):
        if event.HasField("result"):
            streamed.append(event.result)
            second = second or offered.offer("v2")
    assert len(streamed) == len(rows)
    assert versions_of(streamed) == {(first, "v1")}
    # What ran was the snapshot: the folder held the newer text from the first result on.
    anew = offered.service.simulate(*rows, finished=True, timeout=100).results
    assert versions_of(anew) == {(second, "v2")}
    assert {row.job_id for row in anew}.isdisjoint(row.job_id for row in streamed)


def test_jobs_that_were_accepted_before_a_reload_run_what_they_were_accepted_for(
    offered: Offered, tmp_path: pathlib.Path
) -> None:
    gates = [site.Gate(tmp_path / f"gate{number}") for number in range(2)]  # one for each slot
    held = [
        offered.service.simulate(calls.config("hold", offered.service.upload(gate.content)))
        for gate in gates
    ]
    for answer in held:
        offered.service.wait_for_status(answer.results[0].job_id, types_pb2.JOB_STATUS_RUNNING)
    first = offered.offer("v1")
    waiting = offered.service.simulate(*configs(5)).results
    offered.offer("v2")
    offered.remove()
    assert {offered.service.job(row.job_id).status for row in waiting} == {
        types_pb2.JOB_STATUS_PENDING
    }
    for gate in gates:
        gate.open()
    for row in waiting:
        job = offered.service.wait_for_status(row.job_id, *calls.TERMINAL)
        assert (job.status, job.function_hash) == (COMPLETED, first)
        assert job.output.splitlines()[0] == "v1"


def test_a_broken_manifest_leaves_the_others_and_comes_back_when_repaired(
    offered: Offered,
) -> None:
    first = offered.offer("v1")
    manifest = offered.methods_dir / "commands/versioned.json"
    whole = manifest.read_text()
    manifest.write_text("{")
    added = offered.offer("other", name="added")
    assert offered.newest("added") == added
    assert offered.newest() == ""
    assert offered.newest("echo")
    (line,) = offered.logged("method.broken")
    assert line["file"] == str(manifest)
    assert "is not JSON" in line["reason"]

    manifest.write_text(whole)
    offered.tell()
    assert offered.wait_for_another("") == first


def test_a_methods_folder_that_is_gone_takes_no_method_away(offered: Offered) -> None:
    first = offered.offer("v1")
    away = offered.methods_dir.with_name("away")
    offered.methods_dir.rename(away)
    offered.tell()
    live_server.wait_for(lambda: offered.logged("methods.unreadable"), "the log to tell")
    assert offered.newest() == first
    assert ran(offered.service.run(configs(1)[0])) == "v1"
    away.rename(offered.methods_dir)
    assert offered.offer("v2") != first


def test_twenty_reloads_in_a_row_end_with_what_is_there(offered: Offered) -> None:
    for number in range(20):
        # Some fall into a load that is under way; none is lost.
        offered.write(f"v{number}")
        offered.tell()
    live_server.wait_for(offered.newest, "the first of them to be offered")
    live_server.wait_for(
        lambda: ran(offered.service.run(configs(1)[0])) == "v19", "the last of them to be run"
    )
    newest = offered.newest()
    offered.write("v19")
    done = len(offered.logged("methods.reloaded"))
    offered.tell()
    live_server.wait_for(lambda: len(offered.logged("methods.reloaded")) > done, "one more load")
    assert offered.newest() == newest
    assert offered.logged("methods.reload_failed") == []


def test_the_timer_finds_what_was_changed_without_being_told(tmp_path: pathlib.Path) -> None:
    with serving(tmp_path, methods_reload_seconds=0.05) as offered:
        offered.write("v1")
        first = offered.wait_for_another("")
        assert ran(offered.service.run(configs(1)[0])) == "v1"
        offered.write("v2")
        second = offered.wait_for_another(first)
        assert ran(offered.service.run(configs(1)[0])) == "v2"
        offered.write("v1")
        assert offered.wait_for_another(second) == first
        (offered.methods_dir / "commands/versioned.json").unlink()
        live_server.wait_for(lambda: not offered.newest(), "the method to be removed")


def test_parameters_that_do_not_fit_are_named(offered: Offered) -> None:
    offered.offer("v1", parameters=[{"name": "bins", "type": "integer", "required": True}])
    rows = [
        calls.config("versioned", parameters={"bins": 3}),
        calls.config("versioned", parameters={"bins": "three"}),
        calls.config("versioned"),
        calls.config("versioned", parameters={"bins": 3, "binz": 3}),
    ]
    results = offered.service.simulate(*rows).results
    assert results[0].outcome == types_pb2.OUTCOME_SUBMITTED
    for row, name in zip(results[1:], ("bins", "bins", "binz"), strict=True):
        assert row.outcome == types_pb2.OUTCOME_REJECTED
        told = error_details_pb2.BadRequest()
        assert any(detail.Unpack(told) for detail in row.error.details)
        (violation,) = told.field_violations
        assert violation.field.endswith(f"parameters.{name}")


def test_a_request_that_is_no_question_is_invalid(offered: Offered) -> None:
    for name, function_hash in (("", ""), ("echo", "x"), ("echo", "F" * 64)):
        refused = calls.refusal(functools.partial(offered.method, name, function_hash))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    unknown = calls.refusal(lambda: offered.method("echo", "0" * 64))
    assert unknown.code == grpc.StatusCode.NOT_FOUND


def test_jobs_of_an_older_version_stay_readable(offered: Offered) -> None:
    first = offered.offer("v1")
    done = offered.service.run(configs(1)[0])
    offered.offer("v2")
    job: job_service_pb2.Job = offered.service.job(done.job_id)
    assert (job.function_hash, job.output) == (first, done.output)
