"""Doing things at the same time, each in a thread of its own."""

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

WAIT_SECONDS = 20.0


def at_once(*works: Callable[[], T]) -> list[T]:
    """Do all this at the same time; what came of each, in order."""
    ready = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        ready.wait(WAIT_SECONDS)
        return work()

    with concurrent.futures.ThreadPoolExecutor(len(works)) as threads:
        return [each.result(WAIT_SECONDS) for each in [threads.submit(run, w) for w in works]]
