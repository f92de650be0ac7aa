"""`dshpc run` as a process: Ctrl-C, a terminal, pipes. Each waits for what it needs to see."""

import json
import os
import pathlib
import pty
import signal
import subprocess

import pytest

from dshpc.v1 import types_pb2
from support.dshpc_command import DEADLINE_SECONDS, Command, Reader
from support.fake_service import BATCH_ID, FakeService

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def test_ctrl_c_leaves_the_jobs_alone_and_says_how_to_go_on(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.holds_after = 1
    with dshpc.process(
        "run", batch, "--output", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130
    assert first["index"] == 0
    assert out == b""
    last = err.decode().splitlines()[-1]
    assert last.startswith(f"dshpc: interrupted; the jobs of batch {BATCH_ID} go on")
    stop = f"dshpc --server {service.target} batch cancel {BATCH_ID}"
    assert f"batch watch {BATCH_ID}' goes on with it; " in last
    assert last.endswith(f"; '{stop}' stops it")
    assert "Traceback" not in err.decode()
    assert service.stream_ended.wait(DEADLINE_SECONDS)


def test_ctrl_c_of_a_batch_that_goes_with_its_command_says_so(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.holds_after = 1
    with dshpc.process(
        *("run", batch, "--output", "json", "--cancel-on-disconnect"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130
    last = err.decode().splitlines()[-1]
    assert last.startswith(f"dshpc: interrupted; the server cancels batch {BATCH_ID} shortly")
    assert last.endswith(f"batch watch {BATCH_ID}' goes on with it")
    assert service.stream_ended.wait(DEADLINE_SECONDS)


def test_a_terminal_shows_a_bar_and_is_clean_after_ctrl_c(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.transitions = (types_pb2.JOB_STATUS_RUNNING,)
    service.holds_after = 1
    parent, child = pty.openpty()
    try:
        with dshpc.process("run", batch, stdout=subprocess.PIPE, stderr=child) as process:
            os.close(child)
            terminal = Reader(parent)
            terminal.until(lambda text: "1/3" in text and "1 completed" in text)
            process.send_signal(signal.SIGINT)
            shown = terminal.to_the_end()
            out, _ = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        os.close(parent)

    assert process.returncode == 130
    assert HIDE_CURSOR in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    # The last code erases the bar; only the message is left.
    assert shown.rpartition("\x1b[2K")[2].startswith("dshpc: interrupted; the jobs of batch")
    assert out == b""


def test_a_bar_vanishes_and_results_go_to_the_pipe_without_codes(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.transitions = (types_pb2.JOB_STATUS_RUNNING,)
    parent, child = pty.openpty()
    try:
        with dshpc.process("run", batch, stdout=subprocess.PIPE, stderr=child) as process:
            os.close(child)
            shown = Reader(parent).to_the_end()
            out, _ = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        os.close(parent)

    assert process.returncode == 0
    assert "3/3" in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    assert b"\x1b" not in out
    assert b"3 jobs: 3 completed" in out


def test_a_table_on_a_terminal_is_coloured(dshpc: Command, batch: pathlib.Path) -> None:
    parent, child = pty.openpty()
    try:
        with dshpc.process("run", batch, stdout=child, stderr=subprocess.DEVNULL) as process:
            os.close(child)
            shown = Reader(parent).to_the_end()
            process.wait(DEADLINE_SECONDS)
    finally:
        os.close(parent)

    assert process.returncode == 0
    assert "\x1b[32mCOMPLETED" in shown


def test_a_closed_pipe_ends_quietly(
    dshpc: Command, service: FakeService, batch: pathlib.Path
) -> None:
    service.holds_after = 1
    with dshpc.process(
        "run", batch, "--output", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        service.release.set()
        assert process.stderr is not None
        err = process.stderr.read().decode()
        process.wait(DEADLINE_SECONDS)

    assert process.returncode not in {0, 2, 69, 75}
    assert "Traceback" not in err
    assert "Exception" not in err


def test_stdin_is_a_batch_too(dshpc: Command, service: FakeService) -> None:
    with subprocess.Popen(
        dshpc.words("run", "-", "--output", "json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        out, _ = process.communicate(b'{"jobs": [{"methodName": "m"}]}', timeout=DEADLINE_SECONDS)

    assert process.returncode == 0
    assert len(out.splitlines()) == 2
    assert [config.method_name for config in service.batches[0].jobs] == ["m"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_not_keep_the_batch_from_running(
    dshpc: Command, service: FakeService, batch: pathlib.Path, closed: str
) -> None:
    words = dshpc.words("run", batch, "--no-progress")
    done = _with_streams_of_a_shell(closed, words)

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(service.batches) == 1


def test_a_closed_stdin_is_an_empty_batch_file(dshpc: Command) -> None:
    done = _with_streams_of_a_shell("<&-", dshpc.words("run", "-"))

    assert done.returncode == 2
    assert done.stderr == "dshpc: stdin: must be a mapping, not nothing\n"


def _with_streams_of_a_shell(
    redirections: str, words: list[str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
