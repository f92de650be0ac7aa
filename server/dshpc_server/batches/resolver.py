"""Resolving a batch: from what a client asks to rows the store has accepted.

Promises: methods are resolved once per request, so one name is one version in all its rows; rows
fail alone; when `accept` has returned, batch, rows and new jobs are durable, and the files they
need are there. Nothing here is done per row that could be done per batch: one pass in one worker
thread, one look at the files, one transaction.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from dshpc_server import clock, errors
from dshpc_server.batches import admission, content, drafting, encoding, request
from dshpc_server.domain import lookup
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.engine.port import Capacity
from dshpc_server.methods import catalog
from dshpc_server.store import committer, port, records, undecided


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A batch that can be accepted."""

    batch: records.NewBatch
    on_disk: Sequence[str]
    """What it needs that other servers may remove before it is accepted."""


class Resolver:
    """Prepares and accepts batches."""

    def __init__(
        self,
        *,
        catalog: catalog.Catalog,
        library: content.Library,
        committer: committer.Committer,
        encoder: encoding.ResultEncoder,
        defaults: admission.Defaults,
        capacity: Callable[[], Capacity],
        clock: clock.Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._library = library
        self._committer = committer
        self._encoder = encoder
        self._defaults = defaults
        self._capacity = capacity
        self._clock = clock
        self._new_id = new_id

    @contextlib.asynccontextmanager
    async def prepared(self, asked: request.BatchRequest) -> AsyncIterator[Prepared]:
        """Validate, canonicalise and name every row; nothing is stored yet.

        Until the exit this server deletes no file that the batch needs: accept it before.
        """
        batch, drafts_of = self.batch_of(asked), await self.drafting_of(asked)
        drafts = await asyncio.to_thread(drafts_of.all, asked.rows)
        async with self.prepared_rows(batch, drafts) as prepared:
            yield prepared

    def batch_of(self, asked: request.BatchRequest) -> records.NewBatch:
        """A batch of now as it is asked for, without its rows."""
        return records.NewBatch(
            batch_id="" if asked.validate_only else self._new_id(),
            display_name=asked.display_name,
            created_at=self._clock.now(),
            rows=(),
            file_hashes=(),
            priority=asked.priority,
            request=None if asked.validate_only else asked.name,
            max_failures=asked.max_failures,
        )

    async def drafting_of(self, asked: request.BatchRequest) -> drafting.Drafting:
        """What drafts the rows of one request, all at once or one piece after the other.

        Raises InvalidRequestError for jobs that rows wait for and nobody knows.
        """
        chains = await self._chains(asked.upstream_jobs)
        return drafting.Drafting(self._catalog, self._defaults, self._capacity(), chains)

    @contextlib.asynccontextmanager
    async def prepared_rows(
        self, batch: records.NewBatch, drafts: Sequence[drafting.Draft]
    ) -> AsyncIterator[Prepared]:
        """Prepare a batch, or a piece of one, of drafts; see `prepared`."""
        wanted, job_ids = drafting.file_hashes(drafts), drafting.job_ids(drafts)
        outputs = await self._committer.read(lambda store: store.find_kept_outputs(job_ids))
        with self._library.held([*wanted, *outputs]):
            missing = set(await self._library.missing(wanted))
            lost = await self._library.lost(outputs)
            rows = await asyncio.to_thread(self._rows, drafts, missing)
            used = [file_hash for file_hash in wanted if file_hash not in missing]
            complete = dataclasses.replace(
                batch, rows=rows, file_hashes=[*used, *(outputs - lost)], lost_outputs=lost
            )
            on_disk = await self._library.on_disk(complete.file_hashes)
            yield Prepared(batch=complete, on_disk=on_disk)

    async def accept(self, prepared: Prepared) -> Sequence[records.Row]:
        """Store the batch and what it submits, all or none; the rows as decided.

        Raises ContentGoingError when another server deletes what it needs: prepared anew it can be
        accepted, with rows that lack a file.
        """

        def work(writer: port.Writer) -> Sequence[records.Row]:
            rows = writer.accept(prepared.batch)
            self._library.check_there(prepared.on_disk)
            return rows

        return await self._committer.write(work)

    async def accept_piece(self, prepared: Prepared, number: int) -> Sequence[records.Row] | None:
        """Store a piece of a sealed batch, all or none; None when that was done before.

        Raises ContentGoingError as `accept` does.
        """

        def work(writer: port.Writer) -> Sequence[records.Row] | None:
            rows = writer.accept_piece(prepared.batch, number)
            self._library.check_there(prepared.on_disk)
            return rows

        return await self._committer.write(work, alone=True)

    @contextlib.asynccontextmanager
    async def prepared_again(
        self, batch_id: str, ready: Sequence[undecided.Ready]
    ) -> AsyncIterator[Prepared]:
        """Name rows of a stored batch that waited; as `prepared`, for `release`."""
        batch = records.NewBatch(
            batch_id=batch_id,
            display_name="",
            created_at=self._clock.now(),
            rows=(),
            file_hashes=(),
        )
        async with self.prepared_rows(batch, [self._draft(each) for each in ready]) as prepared:
            yield prepared

    async def release(self, prepared: Prepared) -> Sequence[records.Row]:
        """Decide rows of a stored batch that waited; those that nobody else has decided meanwhile.

        Raises ContentGoingError as `accept` does.
        """

        def work(writer: port.Writer) -> Sequence[records.Row]:
            rows = writer.release(prepared.batch)
            self._library.check_there(prepared.on_disk)
            return rows

        return await self._committer.write(work)

    async def preview(self, prepared: Prepared) -> Sequence[records.Row]:
        """The rows as `accept` would decide them now; nothing is stored."""
        return await self._committer.read(lambda store: store.preview(prepared.batch))

    async def _chains(self, upstream_jobs: Mapping[str, str]) -> drafting.Chains:
        """The newest chain of each job that is waited for; the fields speak of them first."""
        if not upstream_jobs:
            return {}
        found = await self._committer.read(lambda store: store.find_attempts(upstream_jobs.keys()))
        unknown = [
            Violation(field=field, description=f"no job '{job_id}' is known")
            for job_id, field in upstream_jobs.items()
            if job_id not in found
        ]
        if unknown:
            raise errors.InvalidRequestError(*unknown)
        return {job_id: attempt.chain for job_id, attempt in found.items()}

    def _draft(self, ready: undecided.Ready) -> drafting.Draft:
        """A row that waited, with all its inputs.

        Which rows of its batch have the same job is not known here.
        """
        head = ready.head
        if "input" in ready.plan.inputs:
            head += self._encoder.input(ready.plan.inputs["input"])
        return drafting.Draft(
            index=ready.index,
            config_index=ready.plan.config_index,
            duplicate_of=None,
            head=head,
            plan=drafting.candidate(ready.plan),
            priority=ready.priority,
        )

    def _rows(self, drafts: Sequence[drafting.Draft], missing: set[str]) -> list[records.NewRow]:
        rows = []
        for draft in drafts:
            head, plan = draft.head, draft.plan
            if isinstance(plan, Rejection):
                rows.append(self._row(draft, head, None, plan))
                continue
            if isinstance(plan, undecided.Undecided):
                rows.append(self._waiting_row(draft, plan))
                continue
            lacking = _refused_for_missing(plan, missing) if missing else None
            if draft.duplicate_of is not None and lacking is None:
                head += self._encoder.duplicate(draft.duplicate_of)
            if plan.policy.cache is lookup.CachePolicy.ONLY:
                head += self._encoder.identity(plan.spec.job_id, plan.spec.function_hash)
            # What lacks a file may have been run before, and is rejected only if it was not.
            rows.append(self._row(draft, head, plan, lacking))
        return rows

    def _waiting_row(self, draft: drafting.Draft, plan: undecided.Undecided) -> records.NewRow:
        names = [each.upstream_name for each in draft.dependencies]
        return records.NewRow(
            index=draft.index,
            head=draft.head + self._encoder.waiting(names),
            candidate=None,
            rejection=None,
            priority=draft.priority,
            undecided=plan,
            dependencies=draft.dependencies,
            config=draft.config() if draft.config is not None else None,
        )

    def _row(
        self,
        draft: drafting.Draft,
        head: bytes,
        plan: records.Candidate | None,
        refused: Rejection | None,
    ) -> records.NewRow:
        encoded = None
        if refused is not None:
            encoded = self._encoder.rejection(draft.config_index, refused)
        may_get_no_job = refused is not None or (
            plan is not None and plan.policy.cache is lookup.CachePolicy.ONLY
        )
        return records.NewRow(
            index=draft.index,
            head=head,
            candidate=plan,
            rejection=encoded,
            priority=draft.priority,
            dependencies=draft.dependencies,
            config=draft.config() if may_get_no_job and draft.config is not None else None,
        )


def _refused_for_missing(plan: records.Candidate, missing: set[str]) -> Rejection | None:
    absent = [
        (name, file_hash) for name, file_hash in plan.spec.inputs.items() if file_hash in missing
    ]
    if not absent:
        return None
    listed = ", ".join(file_hash for _, file_hash in absent)
    return Rejection(
        reason=Reason.FILE_NOT_FOUND,
        message=f"File {listed} not found; upload it and ask again",
        violations=tuple(
            Violation(field=f"inputs.{name}", description=f"{file_hash} is not stored")
            for name, file_hash in absent
        ),
    )
