"""What is forked off a process that has loaded the server is as what a Python of its own runs."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from support import live_server, loaded, site

SECONDS = 60.0


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["no-such-command"],
        ["check", "--data-dir=data"],
        ["check", "--config=settings.toml"],
    ],
)
def test_a_command_ends_and_says_as_one_that_was_started(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text("slots = 'many'\n")
    environment = {**os.environ, "DSHPC_METHODS_DIR": "none"}
    started = subprocess.run(
        [sys.executable, "-m", "dshpc_server", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    forked = loaded.run(words, environment=environment, timeout=SECONDS)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_has_pipes_and_an_end_of_its_own(
    tmp_path: pathlib.Path, number: signal.Signals
) -> None:
    methods_dir = site.write(tmp_path / "site")
    for name in ("sibling", "forked", "started"):
        (tmp_path / name).mkdir()
    codes, pipes = [], []
    with live_server.as_process(tmp_path / "sibling", methods_dir) as sibling:
        for kind in (live_server.ServerProcess, live_server.StartedProcess):
            folder = tmp_path / ("forked" if kind.is_forked else "started")
            with live_server.as_process(folder, methods_dir, None, kind) as server:
                assert server.process.poll() is None
                with pytest.raises(subprocess.TimeoutExpired):
                    server.process.wait(0.0)
                pipes.append(pipes_of(server.process.pid))
                codes.append(server.stop(number))
        assert sibling.process.poll() is None
    assert codes == [-number if number == signal.SIGKILL else 0] * 2
    assert pipes[0] == pipes[1]


def pipes_of(pid: int) -> int:
    """How many ends of pipes a process has: those of other processes would be among them."""
    links = [str(entry.readlink()) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("pipe:") for link in links)


def test_what_counts_as_a_program_is_loaded_is_not_for_what_is_forked() -> None:
    assert loaded.can_have({})
    assert loaded.can_have({"PATH": "/elsewhere", "DSHPC_SLOTS": "1"})
    for name in ("LD_PRELOAD", "PYTHONPATH", "GRPC_VERBOSITY"):
        assert not loaded.can_have({name: "another"})
    assert loaded.can_have({name: os.environ[name] for name in os.environ if name[:2] == "PY"})
