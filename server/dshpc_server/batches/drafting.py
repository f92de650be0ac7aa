"""Drafting: what each row of a request would run, or why it cannot; nothing is looked up yet.

Promises: methods are resolved once per request, so one name is one version in all its rows; rows
fail alone. What a row that waits for others is to run is settled here, too, but for the inputs that
these have to make first.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from dshpc_server.batches import admission, request
from dshpc_server.domain import identity, job
from dshpc_server.domain.job import AttemptKey
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.engine.port import Capacity
from dshpc_server.methods import catalog, method
from dshpc_server.methods import errors as method_errors
from dshpc_server.store import records, undecided

_REMEMBERED = 1024
"""Parameter sets, completed, that are kept while the rows of a request are drafted."""

Chains = Mapping[str, int]
"""By job, the number of the first of its newest attempts that follow on each other."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A row on its way: what it would run, now or once it can be looked up, or why it cannot."""

    index: int
    config_index: int
    duplicate_of: int | None
    """The index of the first row of the request with the same job, on every later one whose inputs
    are known."""
    head: bytes
    plan: records.Candidate | undecided.Undecided | Rejection
    priority: int | None = None
    """Its own."""
    dependencies: Sequence[undecided.Dependency] = ()
    """What it comes after; given if it is undecided, and perhaps if it is rejected."""
    config: request.Config | None = dataclasses.field(default=None, compare=False)
    """See `request.JobRequest`; not compared, since nothing says of two of them whether they
    encode the same."""

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


def file_hashes(drafts: Iterable[Draft]) -> dict[str, None]:
    """The files that rows need, in the order of the rows."""
    return {file_hash: None for draft in drafts for file_hash in draft.known_inputs}


def job_ids(drafts: Iterable[Draft]) -> set[str]:
    """The jobs that rows would run, and those known ones that they wait for."""
    found = set()
    for draft in drafts:
        if isinstance(draft.plan, records.Candidate):
            found.add(draft.plan.spec.job_id)
        found.update(
            each.upstream_chain.job_id for each in draft.dependencies if each.upstream_chain
        )
    return found


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Granted:
    """What rows that ask for the same run, and what they may use."""

    version: method.MethodVersion
    resources: job.Resources | Rejection
    timeout_seconds: float | Rejection


_Asked = tuple[str, str, tuple[str, ...], request.RequestedResources, float | None]
"""Method, version, the names of the inputs, resources and time."""


class Drafting:
    """One pass over a request's rows, remembering what rows have in common.

    For worker threads, one at a time.
    """

    def __init__(
        self,
        catalog: catalog.Catalog,
        defaults: admission.Defaults,
        capacity: Capacity,
        chains: Chains,
    ) -> None:
        """`chains` are those of all jobs whose newest one rows of the request wait for."""
        self._chains = chains
        self._catalog = catalog
        # Taken once: a reload while rows are drafted changes nothing for this request.
        self._methods = catalog.current()
        self._defaults = defaults
        self._capacity = capacity
        self._first: dict[bytes, int] = {}
        """The first row of each job; of 100,000 jobs these take 15 MB."""
        # A batch repeats its parameters and resources over many files.
        self._completed: dict[tuple[str, str, str], str | Rejection] = {}
        # The rows of a config differ in their parameters, and perhaps in a file.
        self._granted: dict[_Asked, _Granted | Rejection] = {}

    def all(self, rows: Sequence[request.JobRequest | request.RefusedRow]) -> list[Draft]:
        """Draft the next rows of the request."""
        return [self._draft(row) for row in rows]

    def _draft(self, row: request.JobRequest | request.RefusedRow) -> Draft:
        if isinstance(row, request.RefusedRow):
            return self._rejected(row, row.rejection)
        plan = self._plan(row)
        if isinstance(plan, Rejection):
            return self._rejected(row, plan)
        if isinstance(plan, undecided.Undecided):
            return Draft(
                index=row.index,
                config_index=row.config_index,
                duplicate_of=None,
                head=row.head,
                plan=plan,
                priority=row.priority,
                dependencies=self._dependencies(row),
                config=row.config,
            )
        first = self._first.setdefault(bytes.fromhex(plan.spec.job_id), row.index)
        return Draft(
            index=row.index,
            config_index=row.config_index,
            duplicate_of=None if first == row.index else first,
            head=row.head,
            plan=plan,
            priority=row.priority,
            config=row.config,
        )

    def _rejected(
        self, row: request.JobRequest | request.RefusedRow, rejection: Rejection
    ) -> Draft:
        return Draft(
            index=row.index,
            config_index=row.config_index,
            duplicate_of=None,
            head=row.head,
            plan=rejection,
            priority=None if isinstance(row, request.RefusedRow) else row.priority,
            dependencies=self._dependencies(row),
            config=row.config,
        )

    def _dependencies(
        self, row: request.JobRequest | request.RefusedRow
    ) -> Sequence[undecided.Dependency]:
        return tuple(
            each for upstream in row.upstreams for each in _dependencies(upstream, self._chains)
        )

    def _plan(self, row: request.JobRequest) -> records.Candidate | undecided.Undecided | Rejection:
        """What a row is to run, whether its inputs are all known yet or not."""
        given = tuple(row.inputs)
        if row.upstreams:
            given += tuple(each.input_name for each in row.upstreams if each.input_name)
        asked = (row.method_name, row.function_hash, given, row.resources, row.timeout_seconds)
        granted = self._granted.get(asked)
        if granted is None:
            granted = self._granted[asked] = self._grant(row, given)
        if isinstance(granted, Rejection):
            return granted
        completed = self._complete(row.parameters, granted.version)
        if isinstance(completed, Rejection):
            return completed
        if isinstance(granted.resources, Rejection):
            return granted.resources
        if isinstance(granted.timeout_seconds, Rejection):
            return granted.timeout_seconds
        if row.upstreams:
            return undecided.Undecided(
                config_index=row.config_index,
                method_name=row.method_name,
                function_hash=granted.version.function_hash,
                inputs=row.inputs,
                parameters_json=completed,
                resources=granted.resources,
                timeout_seconds=granted.timeout_seconds,
                policy=row.policy,
            )
        return records.Candidate(
            spec=_spec(row.method_name, granted.version.function_hash, row.inputs, completed),
            resources=granted.resources,
            timeout_seconds=granted.timeout_seconds,
            policy=row.policy,
        )

    def _grant(self, row: request.JobRequest, given: Sequence[str]) -> "_Granted | Rejection":
        """Find what rows that ask for this, with these inputs, are to run."""
        version = self._version(row)
        if isinstance(version, Rejection):
            return version
        return _refused_for_inputs(set(given), version) or _Granted(
            version=version,
            resources=admission.granted(row.resources, version, self._defaults, self._capacity),
            timeout_seconds=admission.granted_seconds(
                row.timeout_seconds, version, self._defaults, self._capacity
            ),
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


def candidate(plan: undecided.Undecided) -> records.Candidate:
    """The job of a plan that has all its inputs."""
    return records.Candidate(
        spec=_spec(plan.method_name, plan.function_hash, plan.inputs, plan.parameters_json),
        resources=plan.resources,
        timeout_seconds=plan.timeout_seconds,
        policy=plan.policy,
    )


def _spec(
    method_name: str, function_hash: str, inputs: Mapping[str, str], parameters_json: str
) -> job.JobSpec:
    return job.JobSpec(
        job_id=identity.job_id(
            function_hash=function_hash, inputs=inputs, parameters_json=parameters_json
        ),
        method_name=method_name,
        function_hash=function_hash,
        inputs=inputs,
        parameters_json=parameters_json,
    )


def _dependencies(upstream: request.Upstream, chains: Chains) -> Iterator[undecided.Dependency]:
    """What the store is told of one thing that a row waits for: each row for itself."""
    if upstream.job_id:
        chain = chains[upstream.job_id] if upstream.chain is None else upstream.chain
        yield undecided.Dependency(
            upstream_chain=AttemptKey(job_id=upstream.job_id, number=chain),
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
