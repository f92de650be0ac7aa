"""What engines that start real processes promise on top: execution contract 1, whole trees, limits.

A module that tests such an engine derives from this class and provides the fixtures `engine` and
`launches` (see `contract.engine_suite`).
"""

import dataclasses
import hashlib
import json
import pathlib
import signal

import pytest

from dshpc_server.domain.job import Resources
from dshpc_server.engine import port
from dshpc_server.engine.local import processes
from support import component, engine_launches, engine_leavings, engine_told

MEMORY = Resources(memory_bytes=96 * 2**20)
HOG = "held = bytearray(b'x') * (400 * 2**20); import time; time.sleep(600)"


class EngineProcessSuite:
    """Every test runs one engine."""

    @pytest.mark.parametrize("output", [b"", bytes(range(256)), b"\xff\xfe\x80 no UTF-8 \xc3"])
    async def test_outputs_are_kept_byte_for_byte(
        self, engine: port.Engine, launches: engine_launches.Launches, output: bytes
    ) -> None:
        launch = launches.python(f"import os; os.write(1, {output!r}); os.write(2, b'noise')")
        end = await _exit(engine, launch)
        assert end.stdout.read_bytes() == output
        assert end.stderr.read_bytes() == b"noise"

    async def test_an_output_of_100_megabytes_is_whole(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        end = await _exit(engine, launches.script("yes | head -c 100000000"))
        with end.stdout.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        assert digest == hashlib.sha256(b"y\n" * 50_000_000).hexdigest()

    async def test_the_command_line_and_environment_are_those_of_contract_1(
        self, engine: port.Engine, launches: engine_launches.Launches, tmp_path: pathlib.Path
    ) -> None:
        text = """
            import json, os, sys
            seen = {"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}
            seen |= {"stdin": sys.stdin.read(), "leads": os.getsid(0) == os.getpid()}
            print(json.dumps(seen))
        """
        inputs = {"matrix": tmp_path / "a b", "group-1": tmp_path / "c"}
        launch = launches.python(text, inputs=inputs, parameters_json='{"k":"ü"}')
        seen = json.loads((await _exit(engine, launch)).stdout.read_text())
        folder, environment = launch.folder, seen["env"]
        params = str(folder / "params.json")
        assert seen["argv"] == [str(launch.script), str(tmp_path / "a b"), params]
        assert (seen["cwd"], seen["stdin"], seen["leads"]) == (str(launch.method_dir), "", True)
        assert (folder / "params.json").read_text() == '{"k":"ü"}'
        assert environment.pop("PATH")
        environment.pop("TZ", None)
        assert environment == {
            "HOME": str(folder / "workspace"),
            "INPUT_FILE": str(tmp_path / "a b"),
            "INPUT_FILE_GROUP_1": str(tmp_path / "c"),
            "INPUT_FILE_MATRIX": str(tmp_path / "a b"),
            "JOB_WORKSPACE": str(folder / "workspace"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "METHOD_DIR": str(launch.method_dir),
            "METHOD_NAME": launch.method_name,
            "PARAMS_FILE": params,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(launch.method_dir),
            "TMPDIR": str(folder / "workspace" / "tmp"),
        }

    async def test_a_method_without_inputs_is_given_dev_null(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        end = await _exit(engine, launches.script('echo "$1 $INPUT_FILE"; env | grep FILE_'))
        assert end.stdout.read_text() == "/dev/null /dev/null\n"

    async def test_a_method_may_write_to_its_workspace_and_dumps_no_core(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        end = await _exit(engine, launches.script('cd "$TMPDIR" && echo x > y && ulimit -c'))
        assert (end.exit_code, end.stdout.read_text()) == (0, "0\n")

    async def test_every_attempt_finds_an_empty_workspace(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        leave = ['echo x > "$TMPDIR/x"', "true", 'echo x > "$HOME/.x"', 'chmod 755 "$HOME"', "true"]
        look = 'find "$HOME" -printf "%P %m\\n" | sort; '
        async with engine_told.running(engine) as told:
            for script in leave:
                launch = launches.script(look + script)
                await engine.submit_many([launch])
                end = await told.exit_of(launch.key)
                assert end.stdout.read_text() == " 700\ntmp 700\n"

    @pytest.mark.parametrize(
        ("command", "script"),
        [("python3", "print(6 * 7)"), ("bash", "echo $((6 * 7))"), ("Rscript", "cat(6 * 7, '\n')")],
    )
    async def test_the_usual_commands_are_found_on_the_path(
        self, engine: port.Engine, launches: engine_launches.Launches, command: str, script: str
    ) -> None:
        component.path(command.lower())
        end = await _exit(engine, launches.script(script, command=[command]))
        assert end.stdout.read_text().strip() == "42"

    async def test_a_command_that_does_not_exist_is_told_as_not_started(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.script("", command=["no-such-command"])
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            end = await told.end_of(launch.key)
        assert isinstance(end, port.NotStarted)
        assert end.reason == "command not found: no-such-command"
        assert end.is_permanent

    async def test_a_script_that_is_missing_fails_as_its_command_says(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        launch = launches.script("")
        launch = dataclasses.replace(launch, script=launch.method_dir / "gone")
        end = await _exit(engine, launch)
        assert end.exit_code == 127
        assert b"No such file" in end.stderr.read_bytes()

    @pytest.mark.parametrize("ending", ["timeout", "cancel", "exit"])
    async def test_nothing_of_an_attempt_runs_once_its_end_is_told(
        self, engine: port.Engine, launches: engine_launches.Launches, ending: str
    ) -> None:
        # A child in the session, one with a session of its own, and one that hides its
        # environment too; none heeds SIGTERM.
        launch = launches.script(
            f"""
            trap '' TERM
            cd "$JOB_WORKSPACE"
            stay='trap "" TERM; echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600'
            sh -c "$stay" plain &
            setsid sh -c "$stay" session &
            (setsid env -i "PATH=$PATH" sh -c "$stay" hidden &)
            until [ -e plain ] && [ -e session ] && [ -e hidden ]; do :; done
            echo ready > ready
            {"exit 5" if ending == "exit" else "sleep 600; sleep 600"}
            """,
            timeout_seconds=3 if ending == "timeout" else 60,
        )
        async with engine_told.running(engine) as told:
            await engine.submit_many([launch])
            workspace = launch.folder / "workspace"
            await engine_told.eventually((workspace / "ready").exists)
            if ending == "cancel":
                await engine.cancel_many([launch.key])
            end = await told.exit_of(launch.key)
            alive = engine_leavings.processes_of(workspace.parent)
            children = [int((workspace / n).read_text()) for n in ("plain", "session", "hidden")]
            alive |= {pid for pid in children if processes.look_up(pid)}
        assert not alive
        assert (end.exit_code, end.signal, end.cause) == {
            "timeout": (None, signal.SIGKILL, port.Cause.OVER_TIME),
            "cancel": (None, signal.SIGKILL, port.Cause.CANCELLED),
            "exit": (5, None, port.Cause.NONE),
        }[ending]

    async def test_a_process_over_its_memory_is_ended(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        end = await _exit(engine, launches.python(HOG, resources=MEMORY))
        assert (end.signal, end.cause) == (signal.SIGKILL, port.Cause.OVER_MEMORY)

    async def test_a_child_over_the_memory_ends_the_whole_attempt(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        text = f"""
            import subprocess, sys, time
            subprocess.run([sys.executable, "-c", {HOG!r}], start_new_session=True)
            time.sleep(600)
        """
        end = await _exit(engine, launches.python(text, resources=MEMORY))
        assert (end.signal, end.cause) == (signal.SIGKILL, port.Cause.OVER_MEMORY)

    async def test_processes_that_share_memory_are_not_counted_twice(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        text = """
            import os, time
            held = bytearray(b"x") * (50 * 2**20)
            children = [os.fork() for _ in range(1)]
            time.sleep(0.5)
            if 0 not in children:
                os.wait()
        """
        end = await _exit(engine, launches.python(text, resources=MEMORY))
        assert (end.exit_code, end.cause) == (0, port.Cause.NONE)

    async def test_a_slot_is_whole_again_after_an_attempt_over_its_memory(
        self, engine: port.Engine, launches: engine_launches.Launches
    ) -> None:
        hog = launches.python(HOG, resources=MEMORY)
        modest = launches.python("held = bytearray(b'x') * 2**20", resources=MEMORY)
        free = launches.python("held = bytearray(b'x') * (150 * 2**20)")
        async with engine_told.running(engine) as told:
            for launch in (hog, modest, free):
                await engine.submit_many([launch])
                end = await told.exit_of(launch.key)
                assert (end.cause is port.Cause.NONE) is (launch is not hog)


async def _exit(engine: port.Engine, launch: port.Launch) -> port.Exited:
    async with engine_told.running(engine) as told:
        await engine.submit_many([launch])
        return await told.exit_of(launch.key)
