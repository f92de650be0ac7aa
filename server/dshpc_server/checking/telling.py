"""Telling what a check finds: lines on stdout; how far it has come on stderr, on a terminal."""

import time
from collections.abc import Callable
from typing import Literal, TextIO

from dshpc_server.checking import repair
from dshpc_server.checking.findings import Counts, Finding, as_json

Format = Literal["text", "json"]
_PROGRESS_SECONDS = 0.5
_CLEARED = "\r\x1b[K"


class Telling:
    """Writes to two streams; one caller at a time, but for `progress`."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        format: Format,  # noqa: A002 - the flag's own name
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._err = err
        self._is_json = format == "json"
        self._shows_progress = err.isatty()
        self._monotonic = monotonic
        self._next_at = monotonic() + _PROGRESS_SECONDS

    def finding(self, finding: Finding, outcome: repair.Outcome | None) -> None:
        """Tell what is wrong, and what became of it; None: nothing was tried."""
        document, lines = finding.document(), [finding.line()]
        if outcome is not None:
            document |= {"repaired": outcome.is_repaired, "repair": outcome.what}
            lines.append(f"  {'repaired' if outcome.is_repaired else 'left'}: {outcome.what}")
        self._write(document, lines)

    def done(self, what: str, document: dict[str, object]) -> None:
        """Tell something else that was done."""
        self._write({"kind": "done", **document}, [what])

    def counts(self, counts: Counts) -> None:
        """Tell what a check went through: the last line."""
        self._write(counts.document(), [counts.line()])

    def progress(self, counts: Counts) -> None:
        """Show how far a check has come, now and then."""
        now = self._monotonic()
        if self._shows_progress and now >= self._next_at:
            self._next_at = now + _PROGRESS_SECONDS
            self._err.write(_CLEARED + counts.line())
            self._err.flush()

    def _write(self, document: dict[str, object], lines: list[str]) -> None:
        if self._shows_progress:
            self._err.write(_CLEARED)
            self._err.flush()
        for line in [as_json(document)] if self._is_json else lines:
            self._out.write(line + "\n")
        self._out.flush()
