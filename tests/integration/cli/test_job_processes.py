"""`dshpc job log|watch|cancel` as processes against a real server: bytes, pipes, Ctrl-C."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

from support import live_server, site
from support.dshpc_command import DEADLINE_SECONDS, Command, Reader

BEFORE = b"before\xff\n"


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> site.Gate:
    return site.Gate(tmp_path / "gate")


@pytest.fixture
def talking(real: Command, gate: site.Gate, tmp_path: pathlib.Path) -> str:
    """A job that has written something and is held; its job_id."""
    job_id = submitted(real, gate, tmp_path)

    def written() -> bytes:
        done = subprocess.run(
            real.words("job", "log", job_id), capture_output=True, timeout=30, check=False
        )
        return done.stdout

    live_server.wait_for(lambda: written() == BEFORE, "the log")
    return job_id


def submitted(real: Command, gate: site.Gate, folder: pathlib.Path) -> str:
    (folder / "held.txt").write_bytes(gate.content)
    path = folder / "batch.yaml"
    path.write_text("jobs: [{method: talk, file: held.txt}]")
    assert real("run", path, "--no-wait", "--output", "json") == 1
    job_id = real.lines()[0]["jobId"]
    assert isinstance(job_id, str)
    return job_id


def test_a_log_is_followed_byte_by_byte_until_the_job_ends(
    real: Command, talking: str, gate: site.Gate
) -> None:
    with real.process(
        "job", "log", talking, "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(len(BEFORE)) == BEFORE
        gate.open(b"\x00after")
        out, err = process.communicate(timeout=DEADLINE_SECONDS)

    assert (process.returncode, out, err) == (0, b"\x00after", b"")
    assert real("job", "log", talking, "--stdout") == 0
    assert real.out == "out\n"


def test_ctrl_c_ends_reading_quietly_and_not_the_job(real: Command, talking: str) -> None:
    for words in (["job", "log", talking, "-f"], ["job", "watch", talking]):
        with real.process(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, err) == (130, b"")

    assert real("job", "show", talking, "-o", "json") == 0
    assert real.lines()[0]["status"] == "JOB_STATUS_RUNNING"


def test_a_log_whose_reader_has_gone_ends_quietly(
    real: Command, talking: str, gate: site.Gate
) -> None:
    with real.process(
        "job", "log", talking, "-f", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        gate.open(b"more")
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.wait(DEADLINE_SECONDS)

    assert process.returncode == 1


def test_a_cancelled_job_ends_for_those_who_watch_it(real: Command, talking: str) -> None:
    with real.process(
        "job", "watch", talking, "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert real("job", "cancel", talking, "--reason", "seen enough") == 0
        out, err = process.communicate(timeout=DEADLINE_SECONDS)

    assert first["status"] == "JOB_STATUS_RUNNING"
    last = json.loads(out.splitlines()[-1])
    assert last["status"] == "JOB_STATUS_CANCELLED"
    assert "seen enough" in last["reason"]
    assert (process.returncode, err) == (1, b"")
    assert real("job", "cancel", talking) == 0  # asking twice is harmless
    assert "CANCELLED" in real.out


def test_what_an_interrupted_run_says_stops_its_jobs(
    real: Command, gate: site.Gate, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "held.txt").write_bytes(gate.content)
    path = tmp_path / "batch.yaml"
    path.write_text(
        "matrix: [{method: talk, files: [held.txt], parameters: [{a: 1}, {a: 2}, {a: 3}]}]"
    )
    with real.process(
        "run", path, "--transitions", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        reader = Reader(process.stderr.fileno())
        reader.until(lambda text: text.count("RUNNING") == 2)
        process.send_signal(signal.SIGINT)
        said = reader.to_the_end()
        process.wait(DEADLINE_SECONDS)

    assert process.returncode == 130
    command = said.rpartition(" goes on with it; '")[2].partition("'")[0].split()
    assert command[0] == "dshpc"
    assert command[1] == "--server"
    assert real(*command[3:]) == 0
    assert "3 stopped" in real.out
    assert real("batch", "watch", command[-1]) == 1
    assert real("job", "list", "-q", "-s", "in_progress") == 0
    assert real.out == ""


def test_a_narrow_terminal_shows_ids_that_can_be_copied(real: Command, talking: str) -> None:
    parent, child = os.openpty()
    try:
        words = ["sh", "-c", 'stty cols 40 <&1; exec "$@"', "sh", *real.words("job", "list")]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=child) as process:
            os.close(child)
            shown = Reader(parent).to_the_end()
    finally:
        os.close(parent)

    assert process.returncode == 0
    assert talking in shown.split("\r\n")
