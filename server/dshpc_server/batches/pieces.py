"""Pieces of large batches as bytes: what the store keeps of rows that are not decided yet.

Promises: what was written is read back equal, also by a server of a later version, which knows the
version that it was written by; rows of one job follow on one another, in their order. Pieces go by
the jobs' names, not by the rows' order: of rows whose jobs are neighbours in an index a database
writes few pages, and of others one for each row and index, which takes twice as long altogether.

JSON, compressed; what rows have in common is written once, and is one value for all of them once
it is read.
"""

import binascii
import functools
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from dshpc_server.batches import drafting
from dshpc_server.domain import lookup
from dshpc_server.domain.dependencies import Condition
from dshpc_server.domain.job import AttemptKey, JobSpec, Resources
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.store.records import Candidate, StagedPiece
from dshpc_server.store.undecided import Dependency, Undecided

_VERSION = 1
_FASTEST = 1
"""Level of compression; the next ones take longer than they save."""
_REFUSED = -1
"""In the place of a row's kind."""
_encode = json.JSONEncoder(separators=(",", ":")).encode

_Kind = tuple[object, ...]


class Sorting:
    """Collects the rows of a batch, and cuts them into pieces. Of a row 900 bytes are kept.

    For worker threads, one at a time.
    """

    def __init__(self) -> None:
        self._kinds: dict[_Kind, int] = {}
        self._rows: list[tuple[str, int, int, str]] = []
        """Job, index, kind and all else of each row."""

    def add(self, drafts: Sequence[drafting.Draft]) -> None:
        """Collect the next rows."""
        self._rows += map(self._row, drafts)

    def pieces(self, batch_id: str, size: int) -> Iterator[StagedPiece]:
        """Yield all rows in pieces of this size; none is kept."""
        self._rows.sort(reverse=True)
        kinds = [_encode(kind) for kind in self._kinds]
        number = 0
        while self._rows:
            rows = self._rows[: -size - 1 : -1]
            del self._rows[-size:]
            yield StagedPiece(
                batch_id=batch_id, number=number, row_count=len(rows), rows=_piece(rows, kinds)
            )
            number += 1

    def _row(self, draft: drafting.Draft) -> tuple[str, int, int, str]:
        plan = draft.plan
        job_id, kind = "", _REFUSED
        match plan:
            case Rejection():
                rest = _rejection(plan, draft.dependencies)
            case Candidate():
                job_id, kind = plan.spec.job_id, self._number(plan)
                rest = _given(plan.spec)
            case Undecided():
                kind = self._number(plan)
                waits = _encode([_dependency(each) for each in draft.dependencies])
                rest = f"{_given(plan)},{waits}"
        # Texts by themselves: for each list the encoder is made anew, which takes as long as this.
        head, config = _text(draft.head), _text(_config(draft))
        own = f"{draft.config_index},{_number(draft.duplicate_of)},{_number(draft.priority)}"
        return job_id, draft.index, kind, f"[{own},{head},{config},{rest}]"

    def _number(self, plan: Candidate | Undecided) -> int:
        kind = _kind(plan)
        return self._kinds.setdefault(kind, len(self._kinds))


def decoded(data: bytes) -> Sequence[drafting.Draft]:
    """Return the rows of a piece. Raises ValueError for one that a later version wrote."""
    version, kinds, rows = json.loads(zlib.decompress(data))
    if version != _VERSION:
        raise ValueError(f"pieces of version {version} are not known here")
    read = [_read_kind(*each) for each in kinds]
    return [
        _draft(job_id, index, None if kind == _REFUSED else read[kind], rest)
        for job_id, index, kind, rest in rows
    ]


def _draft(
    job_id: str,
    index: int,
    kind: "_ReadKind | None",
    rest: Sequence[Any],
) -> drafting.Draft:
    """Read one row; `rest` is what `_row` wrote."""
    config_index, duplicate_of, priority, head, config, *told = rest
    plan: Candidate | Undecided | Rejection
    waits: Sequence[Sequence[Any]] = ()
    if kind is None:
        reason, message, violations, *waits = told
        plan = _read_rejection(reason, message, violations)
    elif job_id:
        plan = _read_candidate(job_id, kind, *told)
    else:
        inputs, parameters_json, waits = told
        plan = _read_undecided(config_index, kind, inputs, parameters_json)
    return drafting.Draft(
        index=index,
        config_index=config_index,
        duplicate_of=duplicate_of,
        head=binascii.a2b_base64(head),
        plan=plan,
        priority=priority,
        dependencies=tuple(_read_dependency(*each) for each in waits),
        config=None if config is None else functools.partial(binascii.a2b_base64, config),
    )


def _config(draft: drafting.Draft) -> bytes | None:
    """Return what a row asks for, if it may get no job, or gets none yet; most are sure of one."""
    plan = draft.plan
    match plan:
        case Rejection() | Undecided():
            is_kept = True
        case Candidate():
            # It may lack a file by the time it is looked up.
            is_kept = bool(plan.spec.inputs) or plan.policy.cache is lookup.CachePolicy.ONLY
    return draft.config() if is_kept and draft.config is not None else None


def _piece(rows: Sequence[tuple[str, int, int, str]], kinds: Sequence[str]) -> bytes:
    """Return rows as bytes, with those kinds that they have."""
    own: dict[int, int] = {_REFUSED: _REFUSED}
    for _, _, kind, _ in rows:
        own.setdefault(kind, len(own) - 1)
    told = ",".join(kinds[kind] for kind in own if kind != _REFUSED)
    listed = ",".join(
        f'["{job_id}",{index},{own[kind]},{rest}]' for job_id, index, kind, rest in rows
    )
    return zlib.compress(f"[{_VERSION},[{told}],[{listed}]]".encode(), _FASTEST)


def _text(data: bytes | None) -> str:
    return "null" if data is None else f'"{binascii.b2a_base64(data, newline=False).decode()}"'


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def _given(plan: JobSpec | Undecided) -> str:
    inputs = ",".join(
        [f"{_encode(name)}:{_encode(file_hash)}" for name, file_hash in plan.inputs.items()]
    )
    return f"{{{inputs}}},{_encode(plan.parameters_json)}"


def _rejection(rejection: Rejection, dependencies: Sequence[Dependency]) -> str:
    violations = [(each.field, each.description) for each in rejection.violations]
    told = [rejection.reason.value, rejection.message, violations]
    return _encode([*told, *map(_dependency, dependencies)])[1:-1]


def _read_rejection(reason: str, message: str, violations: Sequence[tuple[str, str]]) -> Rejection:
    return Rejection(
        reason=Reason(reason),
        message=message,
        violations=tuple(
            Violation(field=field, description=description) for field, description in violations
        ),
    )


def _kind(plan: Candidate | Undecided) -> _Kind:
    """Return what few rows differ in."""
    needs, policy = plan.resources, plan.policy
    named = plan.spec if isinstance(plan, Candidate) else plan
    return (
        named.method_name,
        named.function_hash,
        (needs.cpus, needs.memory_bytes, needs.gpus),
        plan.timeout_seconds,
        (policy.cache.value, policy.resubmit.value, policy.max_attempts),
    )


_ReadKind = tuple[str, str, Resources, float, lookup.Policy]


def _read_kind(
    method_name: str,
    function_hash: str,
    needs: Sequence[int],
    timeout_seconds: float,
    policy: Sequence[Any],
) -> _ReadKind:
    cpus, memory_bytes, gpus = needs
    cache, resubmit, max_attempts = policy
    return (
        method_name,
        function_hash,
        Resources(cpus=cpus, memory_bytes=memory_bytes, gpus=gpus),
        timeout_seconds,
        lookup.Policy(
            cache=lookup.CachePolicy(cache),
            resubmit=lookup.ResubmitPolicy(resubmit),
            max_attempts=max_attempts,
        ),
    )


def _read_candidate(
    job_id: str, kind: _ReadKind, inputs: dict[str, str], parameters_json: str
) -> Candidate:
    method_name, function_hash, needs, timeout_seconds, policy = kind
    return Candidate(
        spec=JobSpec(
            job_id=job_id,
            method_name=method_name,
            function_hash=function_hash,
            inputs=inputs,
            parameters_json=parameters_json,
        ),
        resources=needs,
        timeout_seconds=timeout_seconds,
        policy=policy,
    )


def _read_undecided(
    config_index: int, kind: _ReadKind, inputs: dict[str, str], parameters_json: str
) -> Undecided:
    method_name, function_hash, needs, timeout_seconds, policy = kind
    return Undecided(
        config_index=config_index,
        method_name=method_name,
        function_hash=function_hash,
        inputs=inputs,
        parameters_json=parameters_json,
        resources=needs,
        timeout_seconds=timeout_seconds,
        policy=policy,
    )


def _dependency(dependency: Dependency) -> tuple[object, ...]:
    chain = dependency.upstream_chain
    return (
        dependency.upstream_index,
        None if chain is None else (chain.job_id, chain.number),
        dependency.condition.value,
        dependency.input_name,
        dependency.upstream_name,
    )


def _read_dependency(
    upstream_index: int | None,
    chain: Sequence[Any] | None,
    condition: str,
    input_name: str,
    upstream_name: str,
) -> Dependency:
    return Dependency(
        upstream_index=upstream_index,
        upstream_chain=None if chain is None else AttemptKey(job_id=chain[0], number=chain[1]),
        condition=Condition(condition),
        input_name=input_name,
        upstream_name=upstream_name,
    )
