"""What values that were read must look like to count: every field of its type and in its range.

Records lie where methods may write, and a message is only as good as who sent it. Nothing here
raises: a value has the form or has not. Standard library only: the local engine's runner imports
this.
"""

import os
from collections.abc import Callable, Mapping

Check = Callable[[object], bool]

_NAME_LIMIT = 255
_LAST_SECOND = 253_402_300_799
"""Of the year 9999, the last that `datetime` and a Timestamp know."""


def has_fields(value: object, checks: Mapping[str, Check]) -> bool:
    """Whether it is an object that has each of these fields, in form. Others do not matter."""
    return isinstance(value, dict) and all(
        name in value and check(value[name]) for name, check in checks.items()
    )


def is_list_of(check: Check) -> Check:
    """Whether it is a list whose items are all in this form."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def is_whole(low: int, high: int) -> Check:
    """Whether it is a whole number in this range."""
    # JSON's true is an int to Python.
    return lambda value: type(value) is int and low <= value <= high


def is_null_or(check: Check) -> Check:
    """Whether it is null or in this form."""
    return lambda value: value is None or check(value)


def is_seconds(value: object) -> bool:
    """Whether it is a number of seconds that is finite, not negative, and a moment if added up."""
    return type(value) in (int, float) and 0 <= value <= _LAST_SECOND  # type: ignore[operator]  # a number, by then


def is_text(value: object) -> bool:
    """Whether it is a string."""
    return isinstance(value, str)


def is_name(value: object) -> bool:
    """Whether it can name an attempt, on the wire and in a log."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= _NAME_LIMIT
        and value.isascii()
        and value.isprintable()
    )


def is_path(value: object) -> bool:
    """Whether it is an absolute path that the system can be asked about."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return True


def is_environment(value: object) -> bool:
    """Whether it is an environment in which programs can be looked up."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("PATH"), str)
        and all(isinstance(text, str) for text in value.values())
    )
