"""Crash points: table and code agree; a process dies at the pass it was told, at no other."""

import pathlib
import re
import signal
import subprocess
import sys

import pytest

import dshpc_server
from dshpc_server import crashing

SERVER = pathlib.Path(dshpc_server.__file__).parent
PASSED = re.compile(r"crashing\.point\(\s*\"([^\"]*)\"\s*\)")
PASSES = """
import sys
from dshpc_server import crashing
for text in sys.argv[1:]:
    crashing.arm(text)
for number in range(1, 6):
    print(number, flush=True)
    crashing.point("claim.committed")
    crashing.point("fact.taken")
"""


def run(*texts: str) -> tuple[int, list[str]]:
    """Arm with each text, then pass two points five times; the exit code, and how far it came."""
    command = [sys.executable, "-c", PASSES, *texts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.split()


def test_every_point_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in SERVER.rglob("*.py"))
    passed = PASSED.findall(code)
    assert set(passed) == set(crashing.POINTS)
    assert code.count("crashing.point(") == len(passed), "a point is not named by a literal"


def test_a_process_dies_at_the_pass_it_was_told() -> None:
    assert run("claim.committed:3") == (-signal.SIGKILL, ["1", "2", "3"])
    assert run("fact.taken:1") == (-signal.SIGKILL, ["1"])


def test_a_process_that_never_passes_so_often_lives() -> None:
    assert run("claim.committed:6") == (0, ["1", "2", "3", "4", "5"])
    assert run("") == (0, ["1", "2", "3", "4", "5"])


@pytest.mark.parametrize(
    "text",
    ["claim:1", "claim.commited:1", "claim.committed"]
    + [f"claim.committed:{number}" for number in ("", "0", "-1", "1.5", "x", "1:2", "²")],
)
def test_what_is_no_point_or_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="crash_at"):
        crashing.arm(text)


def test_an_empty_text_disarms() -> None:
    assert run("claim.committed:3", "") == (0, ["1", "2", "3", "4", "5"])
