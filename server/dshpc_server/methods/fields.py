"""Read typed fields of a JSON object, for `manifest`.

Promise: a value of the kind asked for, or an `InvalidError` that says what is wrong. `null` and
the empty string count as not given.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS: Mapping[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    list: "a list",
    dict: "an object",
}


class InvalidError(Exception):
    """Why a field cannot be used, without the file it stands in."""


def needed(owner: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return a field that must be there."""
    value = owner.get(key)
    if value is None or value == "":
        raise InvalidError(f"{key} is missing")
    # Exactly: a bool is an int to Python, and not to JSON.
    if type(value) is not kind:
        raise InvalidError(f"{key} must be {_WORDS[kind]}")
    if isinstance(value, str):
        _check_text(key, value)
    return value


def optional(owner: Mapping[str, Any], key: str, kind: type[T], default: T) -> T:
    """Return a field, or the default when it is not given."""
    value = owner.get(key)
    return default if value is None or value == "" else needed(owner, key, kind)


def integer_from(least: int, owner: Mapping[str, Any], key: str) -> int | None:
    """Return an integer that is at least `least`, or None when it is not given."""
    if owner.get(key) is None:
        return None
    number = needed(owner, key, int)
    if number < least:
        raise InvalidError(f"{key} must be at least {least}")
    return number


def refuse_repeated(what: str, names: Sequence[str]) -> None:
    """Raise if a name comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidError(f"{what} {name!r} is declared twice")
        seen.add(name)


def _check_text(key: str, text: str) -> None:
    # Neither can be passed to a program or written to a file.
    if "\0" in text:
        raise InvalidError(f"{key} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"{key} is not Unicode text: {error.reason}") from error
