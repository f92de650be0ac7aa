"""Whether the database answers, as those who ask it find out; told in the log.

Promise: while it does not answer, callers are told so each time (`errors.UnavailableError`), and
the log now and then (`outage`): with what the database says, which callers are not told, and when
it answers again. Who tries again need not tell it once more.
"""

import contextlib
from collections.abc import Iterator, Sequence

from dshpc_server import clock, errors, outage
from dshpc_server.store.sql import database

_ASKING = ("asking",)
# What can be written to can be asked, too.
_WRITING = ("asking", "writing")


class Availability:
    """What users of one database find out together. For any thread."""

    def __init__(self, clock: clock.Clock) -> None:
        self._outage = outage.Outage(clock, begins="store.unavailable", ends="store.answers_again")

    def asking(self) -> contextlib.AbstractContextManager[None]:
        """While a question is asked; see `database.operating`."""
        return self._using(_ASKING)

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """While something is written."""
        return self._using(_WRITING)

    @contextlib.contextmanager
    def _using(self, ways: Sequence[str]) -> Iterator[None]:
        try:
            with database.operating():
                yield
        except errors.UnavailableError as error:
            said = database.reason(error.__cause__ or error)
            self._outage.failed(said, by=ways[-1], kind=type(error).__name__)
            raise
        for way in ways:
            self._outage.works(by=way)
