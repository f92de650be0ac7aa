"""README.md, followed by a newcomer: every command on it is run as it stands, and works.

They run in one terminal, in the page's order. The tests of grpcurl's are skipped without it.
"""

import os
import pathlib
import re
import shlex
import sys
from collections.abc import Iterator
from typing import TypeVar

import pytest
from google.protobuf import json_format, message

from dshpc.v1 import file_service_pb2, job_service_pb2, types_pb2
from dshpc_server import config
from dshpc_server.domain import lookup
from dshpc_server.domain.job import Outcome
from dshpc_server.transport import encoder
from support import component, documents, documents_terminal, live_server, site

PAGE = "README.md"
ADDRESS = "127.0.0.1:50051"
PROGRAMS = ("batch=", "dshpc", "export", "grpcurl", "job=", "python")
M = TypeVar("M", bound=message.Message)
Runs = dict[str, documents_terminal.Ran]
"""By the command as it stands on the page."""


def commands() -> list[str]:
    """Every command, in the page's order; here-documents and continued lines belong to theirs."""
    start = re.compile(rf"^(?=(?:{'|'.join(PROGRAMS)})(?:\b|(?<==)))", re.MULTILINE)
    return [
        part
        for step in documents.steps(PAGE, "sh", "python")
        for part in (start.split(step.code) if step.language == "sh" else [step.code])
        if part
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Run them all, one after the other, against a server of the test's own."""
    folder = tmp_path_factory.mktemp("server")
    own = tmp_path_factory.mktemp("readme")
    with live_server.as_process(folder, documents.ROOT / "examples/methods") as server:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]),
            "DSHPC_SERVER": server.address,
        }
        with documents_terminal.opened(documents.ROOT, own, environment) as terminal:
            yield {
                command: terminal.run(_as_shell(command).replace(ADDRESS, server.address))
                for command in commands()
            }


def _as_shell(command: str) -> str:
    """What runs it: a Python block goes to the interpreter."""
    is_python = command in documents.blocks(PAGE, "python")
    return f"python -c {shlex.quote(command)}" if is_python else command


def the_run(runs: Runs, words: str) -> documents_terminal.Ran:
    """The one command with these words; skips the test when it is grpcurl's, and that is absent."""
    (found,) = [command for command in commands() if words in command]
    if found.startswith("grpcurl"):
        component.path("grpcurl")
    return runs[found]


def answer(runs: Runs, words: str, kind: type[M]) -> M:
    """The one message that grpcurl printed."""
    return json_format.Parse(the_run(runs, words).printed, kind())


LOOKED_AT = (
    *("export PATH", "dshpc methods list", "dshpc run -"),
    *("batch=", "dshpc batch watch", "job=", "dshpc job log", "dshpc job cancel"),
    "import client",
    *("50051 list", "describe dshpc.v1.JobConfig"),
    *("/UploadFile", "/SimulateJobs", "/StreamSimulateJobs"),
)


def test_every_command_is_one_that_is_looked_at_here() -> None:
    assert len(LOOKED_AT) == len(commands())
    for words, command in zip(LOOKED_AT, commands(), strict=True):
        assert words in command


def test_there_is_no_block_of_another_kind() -> None:
    languages = set(re.findall(r"^```(\w*)$", documents.text(PAGE), re.MULTILINE)) - {""}
    assert languages == {"sh", "python", "json"}


@pytest.mark.parametrize("words", LOOKED_AT)
def test_every_command_succeeds_and_answers(runs: Runs, words: str) -> None:
    run = the_run(runs, words)
    assert run.failed == (), run.printed
    # The log of a histogram is empty.
    is_silent = words in ("export PATH", "dshpc job log")
    assert bool(run.printed) != is_silent or words in ("batch=", "job=")


def test_the_batch_of_the_dshpc_command_completes(runs: Runs) -> None:
    printed = the_run(runs, "dshpc run -").printed
    assert re.search(r"^completed_jobs +3$", printed, re.MULTILINE)
    assert "by-species" in printed


def test_a_job_that_has_ended_is_not_cancelled(runs: Runs) -> None:
    assert re.search(r"[0-9a-f]{64} +COMPLETED", the_run(runs, "dshpc job cancel").printed)


def test_the_python_block_prints_the_answer(runs: Runs) -> None:
    printed = the_run(runs, "import client").printed
    assert printed.startswith("Job completed {")
    assert "petal_width_cm" in printed


def test_the_methods_are_those_of_the_examples(runs: Runs) -> None:
    manifests = documents.ROOT.glob("examples/methods/commands/*.json")
    shown = the_run(runs, "dshpc methods list").printed.split()
    assert {file.stem for file in manifests} <= set(shown)


def test_the_server_describes_itself(runs: Runs) -> None:
    assert "dshpc.v1.JobService" in the_run(runs, "50051 list").printed.split()
    assert "string file_hash = 1;" in the_run(runs, "describe dshpc.v1.JobConfig").printed


def test_the_file_is_there_after_the_first_batch(runs: Runs) -> None:
    stored = answer(runs, "/UploadFile", file_service_pb2.UploadFileResponse)
    content = (documents.ROOT / "examples/data/iris.csv").read_bytes()
    assert stored.file.file_hash == site.hash_of(content)
    assert stored.already_existed
    for command in commands():
        for named in re.findall(r"[0-9a-f]{64}", command):
            assert named == stored.file.file_hash


def test_the_consolidated_answer_is_the_one_shown(runs: Runs) -> None:
    printed = answer(runs, "/SimulateJobs", job_service_pb2.SimulateJobsResponse)
    (block,) = documents.blocks(PAGE, "json")
    shown = json_format.Parse(block, job_service_pb2.SimulateJobsResponse())
    assert len(printed.results) == len(shown.results)
    for row, shown_row in zip(printed.results, shown.results, strict=True):
        assert _holds(row, shown_row)
    assert _holds(printed.statistics, shown.statistics)
    assert "setosa" in printed.results[0].output


def test_the_stream_ends_with_the_statistics(runs: Runs) -> None:
    printed = [
        json_format.Parse(text, job_service_pb2.StreamSimulateJobsResponse())
        for text in re.findall(
            r"^\{.*?^\}", the_run(runs, "/StreamSimulateJobs").printed, re.DOTALL | re.MULTILINE
        )
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


def test_every_policy_is_named() -> None:
    words = set(re.findall(r"[A-Z]{3,}", documents.text(PAGE).split("`cache_policy` says")[1]))
    assert set(lookup.CachePolicy) | set(lookup.ResubmitPolicy) <= words


def test_the_number_of_attempts_is_the_default() -> None:
    assert config.Settings.model_fields["max_attempts"].default == 5
    assert "has failed five times within a day" in documents.text(PAGE)


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
