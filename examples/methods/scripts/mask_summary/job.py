"""How this method meets the server: two paths in, one answer on stdout.

Promises: stdout carries the answer alone, and the same input and parameters
give the same bytes. What can never work (an unknown column, too few rows) ends
with exit code 78 and one line on stderr, so that nobody tries it again; a file
that cannot be read ends with exit code 1.

Each method is a folder that stands alone, so each has its own copy of this file.
"""

import json
import math
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

FAILED_EXIT_CODE = 1
UNFIT_EXIT_CODE = 78


class UnfitError(Exception):
    """The data or the parameters can never give an answer."""


class Parameters:
    """The parameters of one job, checked as they are read.

    The server has filled in the manifest's defaults, so a name that is missing
    here is a mistake of the caller.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def flag(self, name: str) -> bool:
        value = self._value(name)
        if not isinstance(value, bool):
            raise UnfitError(f"parameter '{name}' must be true or false")
        return value

    def text(self, name: str) -> str:
        value = self._value(name)
        if not isinstance(value, str):
            raise UnfitError(f"parameter '{name}' must be a string")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise UnfitError(f"parameter '{name}' must be one of: {', '.join(allowed)}")
        return value

    def integer(self, name: str, *, lowest: int, highest: int) -> int:
        value = self.number(name)
        if value != math.floor(value) or not lowest <= value <= highest:
            raise UnfitError(f"parameter '{name}' must be an integer from {lowest} to {highest}")
        return int(value)

    def number(self, name: str) -> float:
        return _number(name, self._value(name))

    def numbers(self, name: str) -> list[float]:
        return [_number(name, value) for value in self._array(name)]

    def texts(self, name: str) -> list[str]:
        given = self._array(name)
        values = [value for value in given if isinstance(value, str)]
        if len(values) < len(given):
            raise UnfitError(f"parameter '{name}' must be an array of strings")
        if len(set(values)) < len(values):
            raise UnfitError(f"parameter '{name}' names something twice")
        return values

    def _array(self, name: str) -> Sequence[object]:
        value = self._value(name)
        if not isinstance(value, list):
            raise UnfitError(f"parameter '{name}' must be an array")
        return value

    def _value(self, name: str) -> object:
        if name not in self._values:
            raise UnfitError(f"parameter '{name}' is missing")
        return self._values[name]


def run(compute: Callable[[pathlib.Path, Parameters], object]) -> int:
    """Answer one job and return the exit code.

    `compute` gets the input's path and the parameters. A string is written as
    it is, everything else as compact JSON with sorted keys.
    """
    try:
        _, input_path, parameters_path = sys.argv
        answer = compute(pathlib.Path(input_path), read_parameters(pathlib.Path(parameters_path)))
    except UnfitError as unfit:
        return _end(UNFIT_EXIT_CODE, str(unfit))
    except OSError as failure:
        return _end(FAILED_EXIT_CODE, f"cannot read: {failure.strerror}")
    sys.stdout.buffer.write(encode(answer))
    return 0


def read_parameters(path: pathlib.Path) -> Parameters:
    """Read the job's parameters, one JSON object."""
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnfitError("the parameters are not JSON") from error
    if not isinstance(values, dict):
        raise UnfitError("the parameters are not a JSON object")
    return Parameters(values)


def encode(answer: object) -> bytes:
    """Return the bytes of an answer, the same for the same answer."""
    if isinstance(answer, str):
        return answer.encode()
    # Floats are written in the shortest form that reads back as the same number.
    text = json.dumps(
        answer, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )
    return f"{text}\n".encode()


def _number(name: str, value: object) -> float:
    # A boolean is an integer to Python, and a mistake here.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnfitError(f"parameter '{name}' must hold numbers")
    if not math.isfinite(value):
        raise UnfitError(f"parameter '{name}' must hold finite numbers")
    return value


def _end(exit_code: int, message: str) -> int:
    one_line = " ".join(message.split())
    sys.stderr.buffer.write(f"{one_line}\n".encode())
    return exit_code
