"""Execution contract 1: words, folder and environment of the process that a launch becomes."""

import pathlib

import pytest

from dshpc_server.domain.job import AttemptKey
from dshpc_server.engine import contract
from dshpc_server.engine.local import contract as local
from support import engine_launches


@pytest.fixture
def launches(tmp_path: pathlib.Path) -> engine_launches.Launches:
    return engine_launches.Launches(tmp_path)


def test_the_words_are_command_script_first_input_and_parameters(
    launches: engine_launches.Launches,
) -> None:
    inputs = {"left-1": pathlib.Path("/data/a"), "right": pathlib.Path("/data/b")}
    launch = launches.script("", command=["bash", "-e"], inputs=inputs)
    process = contract.process_of(launch, {})
    params = f"{launch.folder}/params.json"
    assert process.argv == ["bash", "-e", str(launch.script), "/data/a", params]
    assert process.cwd == str(launch.method_dir)
    assert process.env["INPUT_FILE"] == process.env["INPUT_FILE_LEFT_1"] == "/data/a"
    assert process.env["INPUT_FILE_RIGHT"] == "/data/b"
    assert process.env["JOB_WORKSPACE"] == f"{launch.folder}/workspace"


def test_a_method_without_input_reads_nothing(launches: engine_launches.Launches) -> None:
    process = contract.process_of(launches.script(""), {})
    assert process.argv[2] == process.env["INPUT_FILE"] == "/dev/null"


def test_of_the_servers_environment_methods_see_path_and_time_zone_alone(
    launches: engine_launches.Launches,
) -> None:
    environment = {"PATH": "/site/bin", "TZ": "UTC", "LANG": "de_DE", "DSHPC_STORE": "secret"}
    process = contract.process_of(launches.script(""), environment)
    assert (process.env["PATH"], process.env["TZ"]) == ("/site/bin", "UTC")
    assert process.env["LANG"] == "C.UTF-8"
    assert "secret" not in process.env.values()
    assert "PATH" in contract.process_of(launches.script(""), {}).env


def test_the_local_engine_runs_the_process_of_the_contract(
    launches: engine_launches.Launches,
) -> None:
    launch = launches.script("", parameters_json='{"a": 1}')
    process, job = contract.process_of(launch, {"TZ": "UTC"}), local.job_of(launch, {"TZ": "UTC"})
    assert (job["argv"], job["cwd"], job["env"]) == (process.argv, process.cwd, process.env)
    assert job["params"] == '{"a": 1}'


def test_an_attempt_is_named_by_job_and_number() -> None:
    assert contract.name_of(AttemptKey(job_id="a" * 64, number=3)) == "a" * 64 + ".3"
