"""The clock of the fault tests: the time of day jumps while a program runs, the other goes on."""

import pathlib
import subprocess
import sys
import time

from support import fault_clock

PROGRAM = """
import sys, time
for _ in sys.stdin:
    print(time.time(), time.monotonic(), flush=True)
"""
DAY_SECONDS = 86_400


def test_the_time_of_day_jumps_and_the_monotonic_clock_goes_on(tmp_path: pathlib.Path) -> None:
    clock = fault_clock.MovedClock(tmp_path / "clock")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None

        def days_off() -> int:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write("\n")
            program.stdin.flush()
            told, monotonic = map(float, program.stdout.readline().split())
            assert abs(monotonic - time.monotonic()) < DAY_SECONDS / 4
            return round((told - time.time()) / DAY_SECONDS)

        seen = [days_off()]
        for days in (1, -1, 0):
            clock.move(days=days)
            seen.append(days_off())
        program.stdin.close()
    assert seen == [0, 1, -1, 0]
