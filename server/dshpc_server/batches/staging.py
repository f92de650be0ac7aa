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
from dshpc_server.store import committer, port, records

LARGE_ROWS = 1_000
"""Batches of more rows than this are staged."""
PIECE_ROWS = 500
"""Accepting so many takes a few hundredths of a second, for which others wait."""
_PIECES_A_COMMIT = 16
"""Staged together: that takes less than accepting one."""
LOOK_SECONDS = 2.0
"""How often it is looked for what servers that are gone have left, where there are others."""
RETRY_SECONDS = 1.0
"""Pause after the store was not available."""

_log = structlog.get_logger(__name__)


class _UnderWay:
    """A sealed batch on its way to being shown."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.has_begun = False
        """There is a task that accepts its pieces."""
        self._ended = asyncio.Event()
        self._error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        """Tell those who wait."""
        self._error = error
        self._ended.set()

    async def wait(self) -> None:
        """Wait until it is shown; raises what stands in the way of that."""
        await self._ended.wait()
        if self._error is not None:
            raise self._error


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A piece that can be accepted."""

    number: int
    prepared: resolver.Prepared
    held: contextlib.AsyncExitStack
    """To be left once it was accepted, or is not to be."""


def _ignore(batch_id: str) -> None:
    """Nobody wants to know."""
    del batch_id


class Staging:
    """Accepts large batches; what is sealed is accepted in the task that calls `run`."""

    def __init__(
        self,
        *,
        resolver: resolver.Resolver,
        library: content.Library,
        committer: committer.Committer,
        clock: clock.Clock,
        on_accepted: Callable[[str], None] = _ignore,
        is_shared: bool = False,
        large_rows: int = LARGE_ROWS,
        piece_rows: int = PIECE_ROWS,
    ) -> None:
        """`on_accepted` is told of each batch that has been accepted to its last row.

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
        self._under_way: dict[str, _UnderWay] = {}
        self._awake = asyncio.Event()
        self._outage = outage.Outage(clock, begins="staging.paused", ends="staging.resumed")

    def is_large(self, asked: request.BatchRequest) -> bool:
        """Whether a batch is to be accepted here."""
        return len(asked.rows) > self._large_rows

    async def accept(
        self, asked: request.BatchRequest, on_named: Callable[[str], None] = _ignore
    ) -> str:
        """Accept a batch; its name. It is shown when this returns.

        `on_named` is told the name before anything is stored. What the batch needs is not deleted
        by this server meanwhile. Raises RequestAcceptedError as `store.port.Writer.accept` does.
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
            under_way = self._under_way[batch_id] = _UnderWay(batch_id)
            await under_way.wait()
        return batch_id

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
                for under_way in self._under_way.values():
                    if not under_way.has_begun:
                        under_way.has_begun = True
                        tasks.create_task(self._finish(under_way))
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
            await self._committer.write(functools.partial(_stage, some))

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
                self._under_way[each.batch_id] = _UnderWay(each.batch_id)
                _log.info("batch.taken_up", batch_id=each.batch_id)
            if not each.is_sealed and each.batch_id not in self._staging:
                self._given_up.add(each.batch_id)

    async def _clear(self) -> None:
        """Remove what was staged in vain; what turns out to be sealed is accepted."""
        for batch_id in list(self._given_up):
            if await self._committer.write(functools.partial(_unstage, batch_id)):
                self._under_way.setdefault(batch_id, _UnderWay(batch_id))
            self._given_up.discard(batch_id)

    async def _finish(self, under_way: _UnderWay) -> None:
        """Accept what is left of a sealed batch, and tell those who wait for it."""
        batch_id, error = under_way.batch_id, None
        try:
            while not await self._has_accepted_all(batch_id):
                self._outage.works(by=batch_id)
        except Exception as raised:  # noqa: BLE001 - a bug, or a later version's piece: it is logged
            # It stays as it is, and stands in nobody's way.
            _log.exception("batch.stuck", batch_id=batch_id)
            error = raised
        self._outage.works(by=batch_id)
        self._on_accepted(batch_id)
        del self._under_way[batch_id]
        under_way.end(error)

    async def _has_accepted_all(self, batch_id: str) -> bool:
        """Accept the pieces of a batch in order; False when something has to be waited for."""
        try:
            piece = await self._prepare(batch_id, after=-1)
            while piece is not None:
                piece = await self._accept_piece(batch_id, piece)
        except port.ContentGoingError:
            # What it needs is being deleted elsewhere: soon it is known to be missing.
            await asyncio.sleep(content.GOING_PAUSES_SECONDS[0])
            return False
        except errors.UnavailableError as error:
            self._outage.failed(str(error), by=batch_id, kind=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            return False
        return True

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
