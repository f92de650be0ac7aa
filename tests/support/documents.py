"""The repository's documents, as tests read them."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def text(path: str) -> str:
    """Return the text of a document, by its path in the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(path), re.DOTALL | re.MULTILINE)


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
