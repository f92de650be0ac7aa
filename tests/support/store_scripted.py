"""A store without a database: it runs works one after the other and shows how they were grouped.

A work gets no writer worth the name; what it returns is its answer, and attempts and changed rows
among its answers count as changes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

from dshpc_server.store.port import Store, Writer
from dshpc_server.store.records import Attempt, ChangedRows, Commit


@dataclasses.dataclass
class ScriptedStore:
    """Enough of `store.port.Store` for a committer."""

    groups: list[int] = dataclasses.field(default_factory=list)
    """How many works each commit had."""
    answered: list[list[Any]] = dataclasses.field(default_factory=list)
    """What the works of each commit answered."""
    failures: list[Exception] = dataclasses.field(default_factory=list)
    """What the next commits fail with, the first one first."""
    name: str = "scripted"

    def write(self, works: Sequence[Callable[[Writer], Any]]) -> Commit[Any]:
        self.groups.append(len(works))
        answers = [_answer(work) for work in works]
        self.answered.append(answers)
        if self.failures:
            raise self.failures.pop(0)
        changes = [answer for answer in answers if isinstance(answer, Attempt)]
        rows = [answer for answer in answers if isinstance(answer, ChangedRows)]
        return Commit(answers=answers, changes=changes, rows=rows)

    def close(self) -> None:
        """Nothing was opened."""

    def as_store(self) -> Store:
        return cast("Store", self)


def _answer(work: Callable[[Writer], Any]) -> Any:  # noqa: ANN401 (whatever the work answers)
    try:
        return work(cast("Writer", None))
    except Exception as error:  # noqa: BLE001 (the port: a work's exception is its answer)
        return error
