"""Resolving a batch: from what a client asks to rows the store has accepted.

Promises: methods are resolved once per request, so one name is one version in all its rows; rows
fail alone; when `accept` has returned, batch, rows and new jobs are durable, and the files they
need are there. Nothing here is done per row that could be done per batch: one pass in one worker
thread, one look at the files, one transaction.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence

from dshpc_server import clock, errors
from dshpc_server.batches import admission, content, encoding, request
from dshpc_server.domain import identity, job, lookup
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.engine.port import Capacity
from dshpc_server.methods import catalog, method
from dshpc_server.methods import errors as method_errors
from dshpc_server.store import committer, port, records, undecided


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Draft:
    """A row on its way: what it would run, or why it cannot."""

    index: int
    head: bytes
    plan: records.Candidate | undecided.Undecided | Rejection
    upstreams: Sequence[request.Upstream] = ()
    """What a row that is undecided waits for."""
    priority: int | None = None
    """Its own."""
    is_released: bool = False
    """It waited, and waits no more."""

    @property
    def known_inputs(self) -> Collection[str]:
        """Content that it needs, as far as that is known."""
        match self.plan:
            case records.Candidate():
                return self.plan.spec.inputs.values()
            case undecided.Undecided():
                return self.plan.inputs.values()
            case Rejection():
                return ()

    config: request.Config | None = None
    """See `request.JobRequest`."""


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
        batch = records.NewBatch(
            batch_id="" if asked.validate_only else self._new_id(),
            display_name=asked.display_name,
            created_at=self._clock.now(),
            rows=(),
            file_hashes=(),
            priority=asked.priority,
            request=None if asked.validate_only else asked.name,
            max_failures=asked.max_failures,
        )
        drafting = _Drafting(self._catalog, self._defaults, self._capacity())
        drafts = await asyncio.to_thread(drafting.all, asked.rows)
        chains = await self._chains([each for draft in drafts for each in draft.upstreams])
        async with self._with_content(batch, drafts, chains) as prepared:
            yield prepared

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
        drafts = [self._draft(each) for each in ready]
        async with self._with_content(batch, drafts, {}) as prepared:
            yield prepared

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

    async def stored(self, batch: records.NewBatch) -> Sequence[records.Row]:
        """The rows of a batch that was accepted, as they stand now."""
        return await self._committer.read(
            lambda store: store.find_rows(batch.batch_id, first_index=0, limit=len(batch.rows))
        )

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

    async def _chains(self, upstreams: Sequence[request.Upstream]) -> Mapping[str, job.AttemptKey]:
        """The newest chain of each job that is waited for."""
        job_ids = {each.job_id for each in upstreams if each.job_id}
        if not job_ids:
            return {}
        found = await self._committer.read(lambda store: store.find_attempts(job_ids))
        unknown = [
            Violation(field=each.field, description=f"no job '{each.job_id}' is known")
            for each in upstreams
            if each.job_id and each.job_id not in found
        ]
        if unknown:
            raise errors.InvalidRequestError(*unknown)
        return {
            job_id: job.AttemptKey(job_id=job_id, number=attempt.chain)
            for job_id, attempt in found.items()
        }

    @contextlib.asynccontextmanager
    async def _with_content(
        self,
        batch: records.NewBatch,
        drafts: Sequence[_Draft],
        chains: Mapping[str, job.AttemptKey],
    ) -> AsyncIterator[Prepared]:
        """The batch with its rows and the content they need, which stays until the exit."""
        plans = [draft.plan for draft in drafts if isinstance(draft.plan, records.Candidate)]
        wanted = dict.fromkeys(file_hash for draft in drafts for file_hash in draft.known_inputs)
        job_ids = {plan.spec.job_id for plan in plans}.union(chains)
        outputs = await self._committer.read(lambda store: store.find_kept_outputs(job_ids))
        with self._library.held([*wanted, *outputs]):
            missing = set(await self._library.missing(wanted))
            lost = await self._library.lost(outputs)
            rows = await asyncio.to_thread(self._rows, drafts, missing, chains)
            used = [file_hash for file_hash in wanted if file_hash not in missing]
            whole = dataclasses.replace(
                batch, rows=rows, file_hashes=[*used, *(outputs - lost)], lost_outputs=lost
            )
            yield Prepared(batch=whole, on_disk=await self._library.on_disk(whole.file_hashes))

    def _draft(self, ready: undecided.Ready) -> _Draft:
        """A row that waited, with all its inputs."""
        head = ready.head
        if "input" in ready.plan.inputs:
            head += self._encoder.input(ready.plan.inputs["input"])
        return _Draft(
            index=ready.index,
            head=head,
            plan=_candidate(ready.plan),
            priority=ready.priority,
            is_released=True,
        )

    def _rows(
        self,
        drafts: Sequence[_Draft],
        missing: set[str],
        chains: Mapping[str, job.AttemptKey],
    ) -> list[records.NewRow]:
        first_index: dict[str, int] = {}
        rows = []
        for draft in drafts:
            head, plan = draft.head, draft.plan
            if isinstance(plan, Rejection):
                rows.append(self._row(draft, head, None, plan))
                continue
            if isinstance(plan, undecided.Undecided):
                rows.append(self._waiting_row(draft, plan, chains))
                continue
            lacking = _refused_for_missing(plan, missing) if missing else None
            first = first_index.setdefault(plan.spec.job_id, draft.index)
            # Of rows that are released nobody knows here which others the batch has.
            if first != draft.index and lacking is None and not draft.is_released:
                head += self._encoder.duplicate(first)
            if plan.policy.cache is lookup.CachePolicy.ONLY:
                head += self._encoder.identity(plan.spec.job_id, plan.spec.function_hash)
            # What lacks a file may have been run before, and is rejected only if it was not.
            rows.append(self._row(draft, head, plan, lacking))
        return rows

    def _waiting_row(
        self, draft: _Draft, plan: undecided.Undecided, chains: Mapping[str, job.AttemptKey]
    ) -> records.NewRow:
        dependencies = [
            each for upstream in draft.upstreams for each in _dependencies(upstream, chains)
        ]
        names = [each.upstream_name for each in dependencies]
        return records.NewRow(
            index=draft.index,
            head=draft.head + self._encoder.waiting(names),
            candidate=None,
            rejection=None,
            priority=draft.priority,
            undecided=plan,
            dependencies=dependencies,
        )

    def _row(
        self,
        draft: _Draft,
        head: bytes,
        plan: records.Candidate | None,
        refused: Rejection | None,
    ) -> records.NewRow:
        encoded = None if refused is None else self._encoder.rejection(draft.index, refused)
        may_get_no_job = refused is not None or (
            plan is not None and plan.policy.cache is lookup.CachePolicy.ONLY
        )
        return records.NewRow(
            index=draft.index,
            head=head,
            candidate=plan,
            rejection=encoded,
            priority=draft.priority,
            config=draft.config() if may_get_no_job and draft.config is not None else None,
        )


class _Drafting:
    """One pass over a request's rows, remembering what rows have in common."""

    def __init__(
        self, catalog: catalog.Catalog, defaults: admission.Defaults, capacity: Capacity
    ) -> None:
        self._catalog = catalog
        # Taken once: a reload while rows are drafted changes nothing for this request.
        self._methods = catalog.current()
        self._defaults = defaults
        self._capacity = capacity
        # A batch repeats its parameters and resources over many files.
        self._completed: dict[tuple[str, str, str], str | Rejection] = {}
        self._granted: dict[
            tuple[str, str, request.RequestedResources], job.Resources | Rejection
        ] = {}

    def all(self, rows: Sequence[request.JobRequest | request.RefusedRow]) -> list[_Draft]:
        return [self._draft(row) for row in rows]

    def _draft(self, row: request.JobRequest | request.RefusedRow) -> _Draft:
        if isinstance(row, request.RefusedRow):
            return _Draft(index=row.index, head=row.head, plan=row.rejection, config=row.config)
        plan: records.Candidate | undecided.Undecided | Rejection = self._plan(row)
        if isinstance(plan, undecided.Undecided) and not row.upstreams:
            plan = _candidate(plan)
        return _Draft(
            index=row.index,
            head=row.head,
            plan=plan,
            priority=row.priority,
            upstreams=() if isinstance(plan, Rejection) else row.upstreams,
            config=row.config,
        )

    def _plan(self, row: request.JobRequest) -> undecided.Undecided | Rejection:
        """What a row is to run, whether its inputs are all known yet or not."""
        version = self._version(row)
        if isinstance(version, Rejection):
            return version
        given = {*row.inputs, *(each.input_name for each in row.upstreams if each.input_name)}
        refused = _refused_for_inputs(given, version)
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
        return undecided.Undecided(
            config_index=row.index,
            method_name=row.method_name,
            function_hash=version.function_hash,
            inputs=row.inputs,
            parameters_json=completed,
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
            self._completed[key] = _completed(parameters, version)
        return self._completed[key]

    def _grant(
        self, asked: request.RequestedResources, version: method.MethodVersion
    ) -> job.Resources | Rejection:
        key = (version.name, version.function_hash, asked)
        if key not in self._granted:
            self._granted[key] = admission.granted(asked, version, self._defaults, self._capacity)
        return self._granted[key]


def _candidate(plan: undecided.Undecided) -> records.Candidate:
    """The job of a plan that has all its inputs."""
    job_id = identity.job_id(
        function_hash=plan.function_hash, inputs=plan.inputs, parameters_json=plan.parameters_json
    )
    return records.Candidate(
        spec=job.JobSpec(
            job_id=job_id,
            method_name=plan.method_name,
            function_hash=plan.function_hash,
            inputs=plan.inputs,
            parameters_json=plan.parameters_json,
        ),
        resources=plan.resources,
        timeout_seconds=plan.timeout_seconds,
        policy=plan.policy,
    )


def _dependencies(
    upstream: request.Upstream, chains: Mapping[str, job.AttemptKey]
) -> Iterator[undecided.Dependency]:
    """What the store is told of one thing that a row waits for: each row for itself."""
    if upstream.job_id:
        yield undecided.Dependency(
            upstream_chain=chains[upstream.job_id],
            condition=upstream.condition,
            input_name=upstream.input_name,
            upstream_name=upstream.name,
        )
    for place, index in enumerate(upstream.rows):
        yield undecided.Dependency(
            upstream_index=index,
            condition=upstream.condition,
            input_name=upstream.input_name,
            upstream_name=upstream.name + (f"[{place}]" if len(upstream.rows) > 1 else ""),
        )


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


def _refused_for_inputs(inputs: Collection[str], version: method.MethodVersion) -> Rejection | None:
    if set(inputs) == set(version.inputs):
        return None
    violations = [
        Violation(field=f"inputs.{name}", description="needed, not given")
        for name in version.inputs
        if name not in inputs
    ] + [
        Violation(field=f"inputs.{name}", description="not an input of this method")
        for name in sorted(inputs)
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
