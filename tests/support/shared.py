"""What all tests of a process share, whichever of their modules name it.

A fixture that two modules import is two fixtures to pytest, so that even one for a session would be
made for each of them, and be there until the end.
"""

import contextlib
from collections.abc import Callable
from typing import TypeVar

import pytest

_Made = TypeVar("_Made")


def entered(
    config: pytest.Config,
    key: pytest.StashKey[_Made],
    make: Callable[[], contextlib.AbstractContextManager[_Made]],
) -> _Made:
    """Enter a context, if nobody has yet; it is left when the tests are over."""
    if key not in config.stash:
        exits = contextlib.ExitStack()
        config.stash[key] = exits.enter_context(make())
        config.add_cleanup(exits.close)
    return config.stash[key]
