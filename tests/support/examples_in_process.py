"""Runs many jobs of one Python method in one interpreter: a program, not a module.

Started as `python examples_in_process.py METHOD_DIR`; reads a JSON list of
[input path, parameters path] from stdin and writes a JSON list of [exit code,
stdout, stderr]. An interpreter for every job would take most of the tests' time.
"""

import importlib
import io
import json
import sys
from collections.abc import Callable


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    method = importlib.import_module("main")
    job = importlib.import_module("job")
    pairs = json.load(sys.stdin)
    ends = [end_of(lambda: job.run(method.compute), pair) for pair in pairs]
    json.dump(ends, sys.stdout)


def end_of(run: Callable[[], int], arguments: list[str]) -> tuple[int, str, str]:
    """Run one job with its own arguments, stdout and stderr."""
    saved = sys.argv, sys.stdout, sys.stderr
    output, log = io.BytesIO(), io.BytesIO()
    sys.argv = ["main.py", *arguments]
    sys.stdout, sys.stderr = io.TextIOWrapper(output), io.TextIOWrapper(log)
    try:
        exit_code = run()
        sys.stdout.flush()
        sys.stderr.flush()
        return exit_code, output.getvalue().decode(), log.getvalue().decode()
    finally:
        sys.argv, sys.stdout, sys.stderr = saved


if __name__ == "__main__":
    main()
