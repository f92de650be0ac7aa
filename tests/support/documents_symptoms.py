"""docs/troubleshooting.md as tests read it: each symptom's words, and who provokes them.

A test that is decorated with `about(SYMPTOM)` returns what a client or an administrator sees; every
line that the page shows below that heading must be in it (`…` stands for anything in a line).
"""

import contextlib
import functools
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec

from dshpc.v1 import types_pb2
from support import calls, documents, site

PAGE = "docs/troubleshooting.md"
SECONDS = 60
_DSHPC = "import sys; from dshpc.cli import main; sys.exit(main.main())"
P = ParamSpec("P")
_BLOCK = re.compile(r"^```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _parts(text: str, mark: str) -> dict[str, str]:
    """What stands below each heading of this level."""
    _, *found = re.split(rf"^{mark} (.*)\n", text, flags=re.MULTILINE)
    assert len(found) == 2 * len(set(found[::2])), "a heading stands twice"
    return dict(zip(found[::2], found[1::2], strict=True))


CHAPTERS: Mapping[str, Mapping[str, str]] = {
    chapter: _parts(text, "###") for chapter, text in _parts(documents.text(PAGE), "##").items()
}
"""The text below every symptom, by chapter and symptom."""


def shown(symptom: str) -> list[str]:
    """The lines that the page shows for a symptom."""
    (text,) = [symptoms[symptom] for symptoms in CHAPTERS.values() if symptom in symptoms]
    return [line for block in _BLOCK.findall(text) for line in block.splitlines()]


def is_seen(line: str, printed: str) -> bool:
    """Whether a line of the page is in what was printed."""
    return re.search(".*".join(map(re.escape, line.split(documents.OMITTED))), printed) is not None


class Symptoms:
    """The symptoms that one module of tests provokes."""

    def __init__(self, *chapters: str) -> None:
        self.chapters = chapters
        self._provoked: list[str] = []

    def about(self, symptom: str) -> Callable[[Callable[P, str]], Callable[P, None]]:
        """Make a test of what provokes a symptom."""
        self._provoked.append(symptom)

        def decorate(provoke: Callable[P, str]) -> Callable[P, None]:
            @functools.wraps(provoke)
            def test(*args: P.args, **kwargs: P.kwargs) -> None:
                printed = provoke(*args, **kwargs)
                unseen = [line for line in shown(symptom) if not is_seen(line, printed)]
                assert unseen == [], printed

            return test

        return decorate

    def check_complete(self, untested: Mapping[str, str]) -> None:
        """Fail unless each symptom of these chapters is provoked once, or is untested for a reason.

        `untested` gives the reason.
        """
        symptoms = [symptom for chapter in self.chapters for symptom in CHAPTERS[chapter]]
        assert sorted(symptoms) == sorted([*self._provoked, *untested])
        assert all(untested.values())
        assert all(shown(symptom) for symptom in symptoms)


@contextlib.contextmanager
def held(service: calls.Service, folder: pathlib.Path) -> Iterator[types_pb2.JobConfig]:
    """Run a job for as long as the context lasts; its config. `folder` is the test's own."""
    gate = site.Gate(folder / "gate")
    config = calls.config("hold", service.upload(gate.content))
    job_id = service.ask(config).job_id
    service.wait_for_status(job_id, types_pb2.JOB_STATUS_RUNNING)
    try:
        yield config
    finally:
        gate.open()


def dshpc(address: str, *words: str) -> list[str]:
    """The command line of `dshpc` with these words, as a process of its own."""
    return [sys.executable, "-c", _DSHPC, "--server", address, *words]


def said(command: list[str], *, sent: str = "") -> str:
    """Run a command; all that it prints."""
    return subprocess.run(
        command,
        input=sent,
        env={**os.environ, "COLUMNS": "240"},  # nothing that is looked for is cut
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    ).stdout
