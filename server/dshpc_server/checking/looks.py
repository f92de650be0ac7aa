"""Looks: each goes through one kind of thing, page by page, and knows the rules for it.

What looks wrong in data that servers are using may be on its way to being right, so it is looked at
a second time after a moment, and told only if it is wrong in the same way. What the disk does not
tell of is neither right nor wrong: that is a finding of its own (`SILENT`), and nothing follows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from dshpc_server.checking.findings import Finding
from dshpc_server.store.inspection import Rule

_SUSPECTS_TOGETHER = 1000
"""How many things that look wrong share a second look, and the moment before it."""

SILENT = Rule(
    name="disk_answers",
    broken="the disk does not give it back, so nobody can tell what it is, or whether it is gone",
)

Found = tuple[str, Finding]
"""What was looked at, and what is wrong with it."""


class Look(Protocol):
    """One kind of thing."""

    @property
    def rules(self) -> Mapping[str, Rule]:
        """What holds for it, by name."""
        ...

    def pages(self) -> Iterator[Sequence[str]]:
        """Name all there is, a limited number at a time."""
        ...

    def examine(self, names: Sequence[str]) -> Sequence[Found]:
        """Say what is wrong with these now; what is not there any more is right."""
        ...


def confirmed(look: Look, wait: Callable[[], None]) -> Iterator[Finding]:
    """Yield what is wrong, and still is when it is looked at again after `wait`."""
    suspects: list[Found] = []
    for page in look.pages():
        suspects += look.examine(page)
        if len(suspects) >= _SUSPECTS_TOGETHER:
            yield from _again(look, suspects, wait)
            suspects = []
    yield from _again(look, suspects, wait)


def pages(ask: Callable[[str, int], Sequence[str]], size: int) -> Iterator[Sequence[str]]:
    """Ask for names in order, each time for those after the last one."""
    last = ""
    while page := ask(last, size):
        yield page
        last = page[-1]


def by_name(*rules: Rule) -> Mapping[str, Rule]:
    """Return rules by their names."""
    return {rule.name: rule for rule in rules}


def silent(*which: tuple[str, str | int]) -> Finding:
    """Say of what the disk does not tell."""
    return Finding(rule=SILENT, which=which)


def _again(look: Look, suspects: Sequence[Found], wait: Callable[[], None]) -> Iterator[Finding]:
    if not suspects:
        return
    wait()
    names = list(dict.fromkeys(name for name, _ in suspects))
    still = set(look.examine(names))
    yield from (finding for name, finding in suspects if (name, finding) in still)
