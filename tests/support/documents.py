"""The repository's documents, as tests read them.

What a page shows of an output is compared with what was printed: `…` in a line stands for anything
there, `…` alone on a line for any lines, runs of spaces count as one, and blank lines do not count.
"""

import dataclasses
import itertools
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
OMITTED = "…"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Something that a page tells to run, and what it shows of the output."""

    language: str
    code: str
    shown: str | None
    """The `text` block right after it, if there is one."""


def text(path: str) -> str:
    """Return the text of a document, by its path in the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return [content for found, content in _FENCE.findall(text(path)) if found == language]


def steps(path: str, *languages: str) -> list[Step]:
    """Return the blocks of these languages, in order, each with what the page shows of it."""
    fences = [*_FENCE.findall(text(path)), ("", "")]
    return [
        Step(language=language, code=code, shown=after if after_language == "text" else None)
        for (language, code), (after_language, after) in itertools.pairwise(fences)
        if language in languages
    ]


def is_shown(shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == OMITTED else ".*".join(map(re.escape, line.split(OMITTED))) + r"\n"
        for line in _lines(shown)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(content: str) -> list[str]:
    return [" ".join(line.split()) for line in content.splitlines() if line.strip()]


def files(pattern: str = "*") -> list[pathlib.Path]:
    """Return the repository's files that match, new ones included, ignored ones not."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", pattern]
    listed = subprocess.run(  # a fixed command
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    paths = (ROOT / name for name in sorted(set(listed.split("\0")) - {""}))
    return [path for path in paths if path.is_file()]
