"""What a check finds, each as a line of text or a JSON document: names and counts, no contents."""

import dataclasses
import json
import threading
from collections.abc import Callable

from dshpc_server.store.inspection import Rule, StoreCounts, Which


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A rule that does not hold, and for what."""

    rule: Rule
    which: Which

    @property
    def name(self) -> str:
        """What it is about, where that is a single thing; else the last part of it."""
        return str(self.which[-1][1])

    def line(self) -> str:
        """Return `rule: what is wrong: for what`; of a note, the word before that."""
        which = " ".join(f"{kind} {_printable(name)}" for kind, name in self.which)
        line = f"{self.rule.name}: {self.rule.broken}: {which}"
        return f"note: {line}" if self.rule.is_note else line

    def document(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "kind": "note" if self.rule.is_note else "problem",
            "rule": self.rule.name,
            "what": self.rule.broken,
            "which": {kind: _storable(name) for kind, name in self.which},
        }


class Counts:
    """What a check went through, and what it found; it grows while the check goes on."""

    def __init__(self, tell: Callable[["Counts"], None] = lambda _: None) -> None:
        """`tell` is called whenever it has grown, from several threads, one at a time."""
        self._tell = tell
        self._lock = threading.Lock()
        self._counted = dict.fromkeys(_COUNTED, 0)

    def __getitem__(self, name: str) -> int:
        return self._counted[name]

    def store(self, found: StoreCounts) -> None:
        """Take over what the store holds."""
        for name, count in dataclasses.asdict(found).items():
            self._add(name, count)

    def file(self) -> None:
        """Count a file that was gone through."""
        self._add("files", 1)

    def hashed(self, size_bytes: int) -> None:
        """Count bytes that were hashed."""
        self._add("bytes_hashed", size_bytes)

    def found(self, finding: Finding) -> None:
        """Count what is wrong."""
        self._add("notes" if finding.rule.is_note else "problems", 1)

    def repaired(self, finding: Finding) -> None:
        """Count what was put right."""
        self._add("repaired", 1)
        if not finding.rule.is_note:
            self._add("problems_repaired", 1)

    @property
    def problems_left(self) -> int:
        """Problems that are still there."""
        return self["problems"] - self["problems_repaired"]

    def line(self) -> str:
        """Return them as one line."""
        words = [f"{self[name]} {name.replace('_', ' ')}" for name in _TOLD]
        if self["repaired"]:
            words += [f"{self['repaired']} repaired", f"{self.problems_left} problems left"]
        return "checked: " + ", ".join(words)

    def document(self) -> dict[str, object]:
        """Return them for programs."""
        told = {name: self[name] for name in (*_TOLD, "repaired")}
        return {"kind": "counts", **told, "problems_left": self.problems_left}

    def _add(self, name: str, count: int) -> None:
        with self._lock:  # content is hashed in several threads
            self._counted[name] += count
            self._tell(self)


_TOLD = ("jobs", "attempts", "batches", "rows", "files", "bytes_hashed", "notes", "problems")
_COUNTED = (*_TOLD, "repaired", "problems_repaired")


def as_json(document: dict[str, object]) -> str:
    """Return a document as one line."""
    return json.dumps(document, separators=(",", ":"))


def _printable(name: str | int) -> str:
    """Names on disk may be anything; what is no plain text is shown escaped."""
    text = str(name)
    return text if text.isprintable() and text else ascii(text)


def _storable(name: str | int) -> str | int:
    # What is no Unicode (a byte in a file name) cannot stand in every reader's strings.
    return name if isinstance(name, int) else name.encode(errors="backslashreplace").decode()
