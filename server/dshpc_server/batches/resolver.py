"""Resolving a batch: from what a client asks to rows the store has accepted.

Promises: methods are resolved once per request, so one name is one version in all its rows; rows
fail alone; when `accept` has returned, batch, rows and new jobs are durable, and the files they
need are there. Nothing here is done per row that could be done per batch: one pass in one worker
thread, one look at the files, one transaction.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from dshpc_server import clock
from dshpc_server.batches import admission, content, encoding, request
from dshpc_server.domain import identity, job, lookup
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.engine.port import Capacity
from dshpc_server.methods import catalog, method
from dshpc_server.methods import errors as method_errors
from dshpc_server.store import committer, port, records

_REMEMBERED = 1024
"""Parameter sets, completed, that are kept while the rows of a request are drafted."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A row on its way: what it would run, or why it cannot."""

    index: int
    config_index: int
    duplicate_of: int | None
    """The index of the first row of the request with the same job, on every later one."""
    head: bytes
    plan: records.Candidate | Rejection
    priority: int | None = None
    """Its own."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A batch that can be accepted."""

    batch: records.NewBatch
    on_disk: Sequence[str]
    """What it needs that other servers may remove before it is accepted."""


def file_hashes(drafts: Iterable[Draft]) -> dict[str, None]:
    """The files that rows need, in the order of the rows."""
    return {
        file_hash: None
        for draft in drafts
        if isinstance(draft.plan, records.Candidate)
        for file_hash in draft.plan.spec.inputs.values()
    }


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
        batch = self.batch_of(asked)
        drafts = await asyncio.to_thread(self.drafting().all, asked.rows)
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
        )

    def drafting(self) -> "Drafting":
        """What drafts the rows of one request, all at once or one piece after the other."""
        return Drafting(self._catalog, self._defaults, self._capacity())

    @contextlib.asynccontextmanager
    async def prepared_rows(
        self, batch: records.NewBatch, drafts: Sequence[Draft]
    ) -> AsyncIterator[Prepared]:
        """Prepare a batch, or a piece of one, of drafts; see `prepared`."""
        plans = [draft.plan for draft in drafts if isinstance(draft.plan, records.Candidate)]
        wanted = file_hashes(drafts)
        job_ids = {plan.spec.job_id for plan in plans}
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

        return await self._committer.write(work)

    async def preview(self, prepared: Prepared) -> Sequence[records.Row]:
        """The rows as `accept` would decide them now; nothing is stored."""
        return await self._committer.read(lambda store: store.preview(prepared.batch))

    def _rows(self, drafts: Sequence[Draft], missing: set[str]) -> list[records.NewRow]:
        rows = []
        for draft in drafts:
            head, plan = draft.head, draft.plan
            if isinstance(plan, Rejection):
                rows.append(self._row(draft, head, None, plan))
                continue
            lacking = _refused_for_missing(plan, missing) if missing else None
            if draft.duplicate_of is not None and lacking is None:
                head += self._encoder.duplicate(draft.duplicate_of)
            if plan.policy.cache is lookup.CachePolicy.ONLY:
                head += self._encoder.identity(plan.spec.job_id, plan.spec.function_hash)
            # What lacks a file may have been run before, and is rejected only if it was not.
            rows.append(self._row(draft, head, plan, lacking))
        return rows

    def _row(
        self, draft: Draft, head: bytes, plan: records.Candidate | None, refused: Rejection | None
    ) -> records.NewRow:
        encoded = None
        if refused is not None:
            encoded = self._encoder.rejection(draft.config_index, refused)
        return records.NewRow(
            index=draft.index,
            head=head,
            candidate=plan,
            rejection=encoded,
            priority=draft.priority,
        )


class Drafting:
    """One pass over a request's rows, remembering what rows have in common.

    For worker threads, one at a time.
    """

    def __init__(
        self, catalog: catalog.Catalog, defaults: admission.Defaults, capacity: Capacity
    ) -> None:
        self._catalog = catalog
        # Taken once: a reload while rows are drafted changes nothing for this request.
        self._methods = catalog.current()
        self._defaults = defaults
        self._capacity = capacity
        self._first: dict[bytes, int] = {}
        """The first row of each job; of 100,000 jobs these take 15 MB."""
        # A batch repeats its parameters and resources over many files.
        self._completed: dict[tuple[str, str, str], str | Rejection] = {}
        self._granted: dict[
            tuple[str, str, request.RequestedResources], job.Resources | Rejection
        ] = {}

    def all(self, rows: Sequence[request.JobRequest | request.RefusedRow]) -> list[Draft]:
        """Draft the next rows of the request."""
        return [self._draft(row) for row in rows]

    def _draft(self, row: request.JobRequest | request.RefusedRow) -> Draft:
        plan = row.rejection if isinstance(row, request.RefusedRow) else self._plan(row)
        first = row.index
        if isinstance(plan, records.Candidate):
            first = self._first.setdefault(bytes.fromhex(plan.spec.job_id), row.index)
        return Draft(
            index=row.index,
            config_index=row.config_index,
            duplicate_of=None if first == row.index else first,
            head=row.head,
            plan=plan,
            priority=None if isinstance(row, request.RefusedRow) else row.priority,
        )

    def _plan(self, row: request.JobRequest) -> records.Candidate | Rejection:
        version = self._version(row)
        if isinstance(version, Rejection):
            return version
        refused = _refused_for_inputs(row.inputs, version)
        if refused is not None:
            return refused
        completed = self._complete(row.parameters, version)
        if isinstance(completed, Rejection):
            return completed
        resources = self._grant(row.resources, version)
        if isinstance(resources, Rejection):
            return resources
        timeout_seconds = admission.granted_seconds(
            row.timeout_seconds, version, self._defaults, self._capacity
        )
        if isinstance(timeout_seconds, Rejection):
            return timeout_seconds
        job_id = identity.job_id(
            function_hash=version.function_hash, inputs=row.inputs, parameters_json=completed
        )
        return records.Candidate(
            spec=job.JobSpec(
                job_id=job_id,
                method_name=row.method_name,
                function_hash=version.function_hash,
                inputs=row.inputs,
                parameters_json=completed,
            ),
            resources=resources,
            timeout_seconds=timeout_seconds,
            policy=row.policy,
        )

    def _version(self, row: request.JobRequest) -> method.MethodVersion | Rejection:
        """The version a row runs: the one it pins, else the newest."""
        newest = self._methods.get(row.method_name)
        if newest is None:
            return Rejection(
                reason=Reason.METHOD_NOT_FOUND, message=f"Method '{row.method_name}' not found"
            )
        if row.function_hash in ("", newest.function_hash):
            return newest
        # Also one that another server has just loaded: this is a worker thread, and may read it.
        pinned = self._catalog.find(row.method_name, row.function_hash)
        if pinned is None:
            return Rejection(
                reason=Reason.METHOD_NOT_FOUND,
                message=f"Method '{row.method_name}' has no version {row.function_hash}",
            )
        return pinned

    def _complete(
        self, parameters: request.Parameters, version: method.MethodVersion
    ) -> str | Rejection:
        key = (version.name, version.function_hash, parameters.canonical)
        if key not in self._completed:
            if len(self._completed) == _REMEMBERED:
                self._completed.clear()
            self._completed[key] = _completed(parameters, version)
        return self._completed[key]

    def _grant(
        self, asked: request.RequestedResources, version: method.MethodVersion
    ) -> job.Resources | Rejection:
        key = (version.name, version.function_hash, asked)
        if key not in self._granted:
            self._granted[key] = admission.granted(asked, version, self._defaults, self._capacity)
        return self._granted[key]


def _completed(parameters: request.Parameters, version: method.MethodVersion) -> str | Rejection:
    """The canonical text of the parameters with the method's defaults filled in."""
    try:
        completed = version.complete(parameters.value)
        if len(completed) == len(parameters.value):  # nothing was filled in
            return parameters.canonical
        return identity.canonical(completed)
    except method_errors.ParameterError as error:
        listed = "; ".join(f"{v.field}: {v.description}" for v in error.violations)
        return Rejection(
            reason=Reason.INVALID_PARAMETERS,
            message=f"Method '{version.name}' refuses the parameters ({listed})",
            violations=error.violations,
        )


def _refused_for_inputs(
    inputs: Mapping[str, str], version: method.MethodVersion
) -> Rejection | None:
    if inputs.keys() == set(version.inputs):
        return None
    violations = [
        Violation(field=f"inputs.{name}", description="needed, not given")
        for name in version.inputs
        if name not in inputs
    ] + [
        Violation(field=f"inputs.{name}", description="not an input of this method")
        for name in inputs
        if name not in version.inputs
    ]
    listed = "; ".join(f"{v.field}: {v.description}" for v in violations)
    return Rejection(
        reason=Reason.INVALID_INPUTS,
        message=f"Method '{version.name}' refuses the inputs ({listed})",
        violations=tuple(violations),
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
