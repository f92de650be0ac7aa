"""The jobs that count themselves do what the torture thinks they do."""

import json
import pathlib
import subprocess

import pytest
from google.protobuf import json_format

from support import fault_tally
from support.fault_tally import Asked, Mode, Run

JOB = "a" * 64


@pytest.fixture
def tally(tmp_path: pathlib.Path) -> fault_tally.Tally:
    tally = fault_tally.Tally(tmp_path / "outside")
    tally.install(tmp_path / "methods")
    return tally


def asked(mode: Mode, lines: int = 2) -> Asked:
    return Asked(mode=mode, x=11, n=7, lines=lines, milliseconds=1)


def run(folder: pathlib.Path, of: Asked, number: int) -> tuple[int, str]:
    """Run the method as the engine does; its exit code and output."""
    workspace = folder / "attempts" / JOB[:2] / JOB / str(number) / "workspace"
    workspace.mkdir(parents=True)
    (folder / "input").write_bytes(of.content)
    # The service writes parameters canonically: sorted, whole numbers without a point.
    parameters = json_format.MessageToDict(of.config().parameters)
    whole = {key: int(v) if isinstance(v, float) else v for key, v in parameters.items()}
    (folder / "params").write_text(json.dumps(whole, sort_keys=True, separators=(",", ":")))
    script = folder / "methods/scripts" / fault_tally.METHOD / "main.sh"
    done = subprocess.run(
        ["bash", script, folder / "input", folder / "params"],
        env={"JOB_WORKSPACE": str(workspace), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_run_puts_out_what_it_should_and_counts_itself(
    tally: fault_tally.Tally, tmp_path: pathlib.Path
) -> None:
    assert run(tmp_path, asked(Mode.WORK), 1) == (0, asked(Mode.WORK).output.decode())
    assert run(tmp_path, asked(Mode.FAIL), 2) == (3, "")
    counts = tally.counts()
    assert counts.starts == counts.ends == {Run(JOB, 1): 1, Run(JOB, 2): 1}
    assert counts.beside == []


def test_one_that_fails_once_completes_the_second_time(
    tally: fault_tally.Tally, tmp_path: pathlib.Path
) -> None:
    assert run(tmp_path, asked(Mode.ONCE), 1) == (4, "")
    assert run(tmp_path, asked(Mode.ONCE), 2) == (0, asked(Mode.ONCE).output.decode())
    assert tally.counts().ends == {Run(JOB, 1): 1, Run(JOB, 2): 1}


def test_a_run_beside_another_says_so(tally: fault_tally.Tally, tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "outside/marks" / f"{JOB}.lock"
    with subprocess.Popen(
        ["flock", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("here\n")
        other.stdin.flush()
        assert other.stdout.readline() == "here\n"
        run(tmp_path, asked(Mode.WORK), 1)
    assert tally.counts().beside == [Run(JOB, 1)]
