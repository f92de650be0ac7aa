"""Large batches: staged in pieces, sealed, and then accepted one piece after the other.

Promises: whatever the size of a batch, others wait no longer than for a piece of it, and its rows
are in memory a piece at a time. Until it is sealed nothing of it is seen and nothing comes of it,
and what is left of it when the server dies is removed by the next one. Once sealed it is accepted
to its last row, by this server or by the next, whatever becomes of the call; and it is shown from
then on. Several such batches take turns.
"""

import asyncio
import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import structlog

from dshpc_server import clock, crashing, errors, outage
from dshpc_server.batches import content, drafting, pieces, request, resolver
from dshpc_server.domain.statistics import Statistics
from dshpc_server.store import committer, port, records

LARGE_ROWS = 1_000
"""Batches of more rows than this are staged."""
PIECE_ROWS = 250
"""Accepting so many takes a few hundredths of a second, for which others wait. With twice as many
all of a batch is shown a quarter sooner, and p99 of the calls beside it is over 0.1 s."""
_PIECES_A_COMMIT = 16
"""Staged together: that takes less than accepting one."""
LOOK_SECONDS = 2.0
"""How often it is looked for what servers that are gone have left, where there are others."""
RETRY_SECONDS = 1.0
"""Pause after the store was not available."""

_log = structlog.get_logger(__name__)


class Sealed:
    """A sealed batch on its way to being shown."""

    def __init__(self, batch_id: str, held: contextlib.ExitStack | None = None) -> None:
        """`held` is left when it is shown."""
        self.batch_id = batch_id
        self.has_begun = False
        """There is a task that accepts its pieces."""
        self._held = held or contextlib.ExitStack()
        self._shown: asyncio.Future[Statistics] = asyncio.get_running_loop().create_future()

    def show(self, counts: Statistics) -> None:
        """Tell those who wait that it is shown, and how its rows stand."""
        self._held.close()
        self._shown.set_result(counts)

    def fail(self, error: Exception) -> None:
        """Tell those who wait what stands in the way of that."""
        self._held.close()
        self._shown.set_exception(error)
        self._shown.exception()  # often nobody waits

    async def until_shown(self) -> Statistics:
        """Wait until it is shown; how its rows stood then. Raises what stands in the way."""
        return await asyncio.shield(self._shown)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A piece that can be accepted."""

    number: int
    prepared: resolver.Prepared
    held: contextlib.AsyncExitStack
    """To be left once it was accepted, or is not to be."""


def _ignore(*news: object) -> None:
    """Nobody wants to know."""
    del news


class Staging:
    """Accepts large batches; what is sealed is accepted in the task that calls `run`."""

    def __init__(
        self,
        *,
        resolver: resolver.Resolver,
        library: content.Library,
        committer: committer.Committer,
        clock: clock.Clock,
        on_accepted: Callable[[str, Statistics], None] = _ignore,
        is_shared: bool = False,
        large_rows: int = LARGE_ROWS,
        piece_rows: int = PIECE_ROWS,
    ) -> None:
        """`on_accepted` is told of each batch that has come to be shown, and how its rows stand.

        `is_shared`: other servers may leave large batches behind while this one runs.
        """
        self._resolver = resolver
        self._library = library
        self._committer = committer
        self._clock = clock
        self._on_accepted = on_accepted
        self._look_seconds = LOOK_SECONDS if is_shared else None
        self._large_rows = large_rows
        self._piece_rows = piece_rows
        self._staging: set[str] = set()
        """The batches that calls of ours are staging."""
        self._given_up: set[str] = set()
        """Those whose call ended before it knew them to be sealed."""
        self._under_way: dict[str, Sealed] = {}
        self._awake = asyncio.Event()
        self._outage = outage.Outage(clock, begins="staging.paused", ends="staging.resumed")

    def is_large(self, asked: request.BatchRequest) -> bool:
        """Whether a batch is to be accepted here."""
        return len(asked.rows) > self._large_rows

    async def accept(
        self, asked: request.BatchRequest, on_named: Callable[[str], None] = _ignore
    ) -> Sealed:
        """Accept a batch: it is durable when this returns, and shown when its rows are looked up.

        `on_named` is told the name before anything is stored. What the batch needs is not deleted
        by this server until it is shown. Raises RequestAcceptedError as
        `store.port.Writer.accept` does.
        """
        batch = self._resolver.batch_of(asked)
        batch_id = batch.batch_id
        on_named(batch_id)
        with contextlib.ExitStack() as held:
            self._staging.add(batch_id)
            try:
                await self._stage(batch_id, asked, held)
                crashing.point("large.staged")
                await self._seal(dataclasses.replace(batch, staged_rows=len(asked.rows)))
            except BaseException:
                # Also when it was sealed, and we were told to stop before we heard of it.
                self._given_up.add(batch_id)
                raise
            finally:
                self._staging.discard(batch_id)
                self._awake.set()
            crashing.point("large.sealed")
            sealed = self._under_way[batch_id] = Sealed(batch_id, held.pop_all())
        return sealed

    async def run(self) -> None:
        """Accept what is sealed and clear away what is not, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    await self._take_up()
                    await self._clear()
                    self._outage.works(by="run")
                except errors.UnavailableError as error:
                    self._outage.failed(str(error), by="run", kind=type(error).__name__)
                    self._awake.set()
                    await asyncio.sleep(RETRY_SECONDS)
                for sealed in self._under_way.values():
                    if not sealed.has_begun:
                        sealed.has_begun = True
                        tasks.create_task(self._finish(sealed))
                await self._until_awake()

    async def _stage(
        self,
        batch_id: str,
        asked: request.BatchRequest,
        held: contextlib.ExitStack,
    ) -> None:
        rows, drafts_of = asked.rows, await self._resolver.drafting_of(asked)
        sorting = pieces.Sorting()
        known: set[str] = set()
        for first in range(0, len(rows), self._piece_rows):
            # A hop for each piece: whoever else needs a thread, or this loop, has its turn.
            needed = await asyncio.to_thread(self._draft, drafts_of, sorting, rows, first)
            held.enter_context(self._library.held(needed - known))
            known |= needed
        made = sorting.pieces(batch_id, self._piece_rows)
        while some := await asyncio.to_thread(_some, made):
            await self._committer.write(functools.partial(_stage, some), alone=True)

    def _draft(
        self,
        drafts_of: drafting.Drafting,
        sorting: pieces.Sorting,
        rows: Sequence[request.JobRequest | request.RefusedRow],
        first: int,
    ) -> set[str]:
        """Draft some rows; the files that they name."""
        drafts = drafts_of.all(rows[first : first + self._piece_rows])
        sorting.add(drafts)
        return set(drafting.file_hashes(drafts))

    async def _seal(self, batch: records.NewBatch) -> None:
        try:
            # Of this moment: there was no batch before.
            sealed = dataclasses.replace(batch, created_at=self._clock.now())
            await self._committer.write(lambda writer: writer.accept(sealed))
        except port.FencedError as error:
            raise errors.UnavailableError(
                "this server was taken for dead", retry_after_seconds=RETRY_SECONDS
            ) from error

    async def _take_up(self) -> None:
        """Go on with what servers that are gone have left."""
        for each in await self._committer.read(lambda store: store.find_stranded_batches()):
            if each.is_sealed and each.batch_id not in self._under_way:
                self._under_way[each.batch_id] = Sealed(each.batch_id)
                _log.info("batch.taken_up", batch_id=each.batch_id)
            if not each.is_sealed and each.batch_id not in self._staging:
                self._given_up.add(each.batch_id)

    async def _clear(self) -> None:
        """Remove what was staged in vain; what turns out to be sealed is accepted."""
        for batch_id in list(self._given_up):
            if await self._committer.write(functools.partial(_unstage, batch_id)):
                self._under_way.setdefault(batch_id, Sealed(batch_id))
            self._given_up.discard(batch_id)

    async def _finish(self, sealed: Sealed) -> None:
        """Accept what is left of a sealed batch, and tell those who wait for it."""
        batch_id = sealed.batch_id
        try:
            while (counts := await self._accept_all(batch_id)) is None:
                self._outage.works(by=batch_id)
        except Exception as raised:  # noqa: BLE001 - a bug, or a later version's piece: it is logged
            # It stays as it is, and stands in nobody's way.
            _log.exception("batch.stuck", batch_id=batch_id)
            sealed.fail(raised)
        else:
            self._on_accepted(batch_id, counts)
            sealed.show(counts)
        self._outage.works(by=batch_id)
        del self._under_way[batch_id]

    async def _accept_all(self, batch_id: str) -> Statistics | None:
        """Accept the pieces of a batch in order; None when something has to be waited for."""
        try:
            piece = await self._prepare(batch_id, after=-1)
            while piece is not None:
                piece = await self._accept_piece(batch_id, piece)
            counted = await self._committer.read(lambda store: store.find_tallies([batch_id]))
            return counted[batch_id].statistics
        except port.ContentGoingError:
            # What it needs is being deleted elsewhere: soon it is known to be missing.
            await asyncio.sleep(content.GOING_PAUSES_SECONDS[0])
            return None
        except errors.UnavailableError as error:
            self._outage.failed(str(error), by=batch_id, kind=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            return None

    async def _prepare(self, batch_id: str, *, after: int) -> _Piece | None:
        """Read the next piece of a batch, and prepare it."""
        found = await self._committer.read(lambda store: store.find_next_piece(batch_id, after))
        if found is None:
            return None
        drafts = await asyncio.to_thread(pieces.decoded, found.piece.rows)
        async with contextlib.AsyncExitStack() as held:
            prepared = await held.enter_async_context(
                self._resolver.prepared_rows(found.batch, drafts)
            )
            return _Piece(number=found.piece.number, prepared=prepared, held=held.pop_all())

    async def _accept_piece(self, batch_id: str, piece: _Piece) -> _Piece | None:
        """Accept a piece; the next one is prepared while this one is written."""
        following = asyncio.create_task(self._prepare(batch_id, after=piece.number))
        try:
            async with piece.held:
                await self._resolver.accept_piece(piece.prepared, piece.number)
            crashing.point("large.piece_accepted")
            return await following
        except BaseException:
            await _give_up(following)
            raise

    async def _until_awake(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._look_seconds):
                await self._awake.wait()
        self._awake.clear()


async def _give_up(following: "asyncio.Task[_Piece | None]") -> None:
    """Have a piece prepared no further, and hold nothing for it."""
    following.cancel()
    (prepared,) = await asyncio.gather(following, return_exceptions=True)
    if isinstance(prepared, _Piece):
        await prepared.held.aclose()


def _some(made: Iterator[records.StagedPiece]) -> list[records.StagedPiece]:
    return list(itertools.islice(made, _PIECES_A_COMMIT))


def _stage(made: Sequence[records.StagedPiece], writer: port.Writer) -> None:
    writer.stage(made)


def _unstage(batch_id: str, writer: port.Writer) -> bool:
    return writer.unstage(batch_id)
