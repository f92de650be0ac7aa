"""The check: every look, one after the other, over the data of a server.

Promises: nothing is changed; what is told was wrong at two moments in the same way; memory does not
grow with the data, only with what is wrong. What jobs are about is never told.
"""

import concurrent.futures
import datetime
import pathlib
from collections.abc import Callable, Iterator, Mapping

from dshpc_server import clock, errors
from dshpc_server.checking import contents, deployed, folders, looks, records, versions
from dshpc_server.checking.findings import Counts, Finding
from dshpc_server.store.inspection import Inspection, Rule, UnreadableError

LEFTOVER_AGE = datetime.timedelta(days=1)
"""When what is left of an upload is worth a note, if servers do not keep it longer."""
HASHING_THREADS = 4


class Check:
    """One check; `counts` grows while it goes on."""

    def __init__(
        self,
        store: Inspection,
        data_dir: pathlib.Path,
        *,
        read: Callable[[bytes], records.Told],
        wait: Callable[[], None],
        clock: clock.Clock,
        max_upload_age: datetime.timedelta = LEFTOVER_AGE,
        tell: Callable[[Counts], None] = lambda _: None,
    ) -> None:
        """`wait` lets a moment pass before a second look; `tell` is told how far it has come.

        `read` is told a result; ValueError: it is none.
        """
        self.counts = Counts(tell)
        self._store = store
        self._wait = wait
        self._data_dir = data_dir
        self._read = read
        self._clock = clock
        self._max_upload_age = max(max_upload_age, LEFTOVER_AGE)

    def run(self) -> Iterator[Finding]:
        """Yield what is wrong, as it is found."""
        with concurrent.futures.ThreadPoolExecutor(HASHING_THREADS, "hashing") as threads:
            yield from self._told("counts", self._count())
            is_of_store = True
            for look in self._of_store():
                for finding in self._through(look):
                    is_of_store = is_of_store and finding.rule != deployed.FOLDER
                    yield finding
            if is_of_store:
                for look in self._of_folder(threads):
                    yield from self._through(look)

    def _through(self, look: looks.Look) -> Iterator[Finding]:
        found = looks.confirmed(look, self._wait)
        return self._told(type(look).__name__.lower(), found)

    def _count(self) -> Iterator[Finding]:
        self.counts.store(self._store.count())
        yield from ()

    def _told(self, part: str, found: Iterator[Finding]) -> Iterator[Finding]:
        """Count what is found; a part of store or disk that cannot be read ends that part alone."""
        try:
            for finding in found:
                self.counts.found(finding)
                yield finding
        except UnreadableError:
            finding = records.unreadable(part)
            self.counts.found(finding)
            yield finding
        except (OSError, errors.NoAnswerError):
            finding = looks.silent(("part", part))
            self.counts.found(finding)
            yield finding

    def rules(self) -> Mapping[str, Rule]:
        """Return every rule that is looked after, by name."""
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            return {
                name: rule for look in self._looks(threads) for name, rule in look.rules.items()
            }

    def _looks(self, threads: concurrent.futures.Executor) -> Iterator[looks.Look]:
        yield from self._of_store()
        yield from self._of_folder(threads)

    def _of_store(self) -> Iterator[looks.Look]:
        yield deployed.Deployment(self._store, self._data_dir)
        yield records.StoreRules(self._store)
        yield records.Jobs(self._store, self._read)
        yield records.Batches(self._store)

    def _of_folder(self, threads: concurrent.futures.Executor) -> Iterator[looks.Look]:
        """Those that go by what lies in the data folder, which is to be that of the store."""
        store, files = self._store, self._data_dir / "files"
        yield contents.Records(store, files)
        yield contents.Content(store, files, threads=threads, counts=self.counts)
        yield contents.Uploads(files, clock=self._clock, max_age=self._max_upload_age)
        yield folders.ActiveAttempts(store, self._data_dir)
        yield folders.AttemptFolders(store, self._data_dir / "attempts")
        yield versions.Versions(self._data_dir / "methods")
