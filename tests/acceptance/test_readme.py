"""README.md, followed by a newcomer: every command on it is run as it stands, and works."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import TypeVar

import pytest
from google.protobuf import json_format, message

from dshpc.v1 import file_service_pb2, job_service_pb2, method_service_pb2, types_pb2
from dshpc_server import config
from dshpc_server.domain.job import Outcome
from dshpc_server.transport import encoder
from support import component, documents, live_server, site

PAGE = "README.md"
ADDRESS = "127.0.0.1:50051"
PROGRAMS = ("dshpc", "export", "grpcurl")
SECONDS = 60
M = TypeVar("M", bound=message.Message)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A command of the page, and what came of it."""

    command: str
    exit_code: int
    out: str
    err: str

    def answer(self, kind: type[M]) -> M:
        """The one message that grpcurl printed."""
        return json_format.Parse(self.out, kind())


def commands() -> list[str]:
    """Every command, in the page's order; here-documents and continued lines belong to theirs."""
    start = re.compile(rf"^(?=(?:{'|'.join(PROGRAMS)})\b)", re.MULTILINE)
    return [part for block in documents.blocks(PAGE, "sh") for part in start.split(block) if part]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Run]]:
    """Run them all, one after the other, against a server of the test's own."""
    grpcurl = component.path("grpcurl")
    folder = tmp_path_factory.mktemp("server")
    programs = [str(pathlib.Path(program).parent) for program in (grpcurl, sys.executable)]
    with live_server.as_process(folder, documents.ROOT / "examples/methods") as server:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
            "DSHPC_SERVER": server.address,
        }
        yield [_run(command, server.address, environment) for command in commands()]


def _run(command: str, address: str, environment: dict[str, str]) -> Run:
    done = subprocess.run(
        ["sh", "-ec", command.replace(ADDRESS, address)],
        cwd=documents.ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Run(command=command, exit_code=done.returncode, out=done.stdout, err=done.stderr)


def the_run(runs: list[Run], words: str) -> Run:
    (found,) = [run for run in runs if words in run.command]
    return found


def test_every_command_succeeds(runs: list[Run]) -> None:
    assert {run.command: run.err for run in runs if run.exit_code} == {}
    assert [run.command for run in runs if not run.out] == [
        run.command for run in runs if run.command.startswith("export")
    ]


def test_every_command_is_one_that_is_looked_at_here() -> None:
    looked_at = [
        *("export PATH", "dshpc methods list", "dshpc run -"),
        *(" list\n", "describe dshpc.v1.JobService", "describe dshpc.v1.JobConfig"),
        *("Health/Check", "/ListMethods", "/FindMissingFiles", "/UploadFile"),
        *("/SimulateJobs", "/StreamSimulateJobs"),
    ]
    assert len(looked_at) == len(commands())
    for words, command in zip(looked_at, commands(), strict=True):
        assert words in command


def test_the_batch_of_the_dshpc_command_completes(runs: list[Run]) -> None:
    run = the_run(runs, "dshpc run -")
    assert run.exit_code == 0
    assert re.search(r"^completed_jobs +3$", run.out, re.MULTILINE)
    assert "by-species" in run.out


def test_the_methods_are_those_of_the_examples(runs: list[Run]) -> None:
    manifests = documents.ROOT.glob("examples/methods/commands/*.json")
    names = sorted(file.stem for file in manifests)
    listed = the_run(runs, "/ListMethods").answer(method_service_pb2.ListMethodsResponse)
    assert [method.method_name for method in listed.methods] == names
    shown = the_run(runs, "dshpc methods list").out
    assert all(name in shown for name in names)


def test_the_server_describes_itself(runs: list[Run]) -> None:
    assert "dshpc.v1.JobService" in the_run(runs, f"{ADDRESS} list\n").out.split()
    assert "rpc SimulateJobs" in the_run(runs, "describe dshpc.v1.JobService").out
    assert "string file_hash = 1;" in the_run(runs, "describe dshpc.v1.JobConfig").out
    assert json.loads(the_run(runs, "Health/Check").out) == {"status": "SERVING"}


def test_the_file_is_there_after_the_first_batch(runs: list[Run]) -> None:
    asked = the_run(runs, "/FindMissingFiles")
    missing = asked.answer(file_service_pb2.FindMissingFilesResponse)
    assert list(missing.missing_hashes) == []
    stored = the_run(runs, "/UploadFile").answer(file_service_pb2.UploadFileResponse)
    content = (documents.ROOT / "examples/data/iris.csv").read_bytes()
    assert stored.file.file_hash == site.hash_of(content)
    assert stored.file.file_hash in asked.command
    assert stored.already_existed


def test_the_consolidated_answer_is_the_one_shown(runs: list[Run]) -> None:
    answer = the_run(runs, "/SimulateJobs").answer(job_service_pb2.SimulateJobsResponse)
    (block,) = documents.blocks(PAGE, "json")
    shown = json_format.Parse(block, job_service_pb2.SimulateJobsResponse())
    assert len(answer.results) == len(shown.results)
    for row, shown_row in zip(answer.results, shown.results, strict=True):
        assert _holds(row, shown_row)
    assert _holds(answer.statistics, shown.statistics)
    assert "setosa" in answer.results[0].output


def test_the_stream_ends_with_the_statistics(runs: list[Run]) -> None:
    out = the_run(runs, "/StreamSimulateJobs").out
    printed = [
        json_format.Parse(text, job_service_pb2.StreamSimulateJobsResponse())
        for text in re.findall(r"^\{.*?^\}", out, re.DOTALL | re.MULTILINE)
    ]
    results = [event.result for event in printed if event.HasField("result")]
    assert printed[0].accepted.total_jobs == len(results) == 2
    assert {row.new_status for row in results} == {types_pb2.JOB_STATUS_COMPLETED}
    assert printed[-1].statistics.final
    assert printed[-1].statistics.completed_jobs == 2


def test_the_messages_of_the_table_are_those_of_the_service() -> None:
    rows = re.findall(r"^\| .* \| (.*) \| ([A-Z_]+) \|$", documents.text(PAGE), re.MULTILINE)
    shown = {Outcome(outcome): told for told, outcome in rows}
    assert len(shown) == 4
    assert shown.items() <= encoder.DECISION_MESSAGES.items()


def test_every_target_of_make_exists() -> None:
    makefile = documents.text("Makefile")
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", documents.text(PAGE), re.MULTILINE))
    assert {"demo", "test", "serve", "tools"} <= named
    for target in named:
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def test_the_address_is_where_make_serve_listens() -> None:
    assert config.Settings.model_fields["listen"].default == ADDRESS
    (recipe,) = re.findall(r"^serve: .*\n(.*)$", documents.text("Makefile"), re.MULTILINE)
    # Nothing in the recipe counts before the environment, so DSHPC_LISTEN can choose another.
    assert recipe.endswith("/dshpc-server serve")


def test_what_is_compared_with_the_page_can_differ() -> None:
    row = types_pb2.MultiJobResult(index=1, message="New job submitted")
    assert _holds(row, types_pb2.MultiJobResult(message="New job submitted"))
    assert not _holds(row, types_pb2.MultiJobResult(message="another"))


def _holds(actual: message.Message, shown: message.Message) -> bool:
    """Whether every field that is shown has the value that is shown."""
    merged = type(actual)()
    merged.CopyFrom(actual)
    merged.MergeFrom(shown)
    return merged == actual
