"""Pieces of large batches as bytes: what the store keeps of rows that are not decided yet.

Promise: what was written is read back equal, also by a server of a later version, which knows the
version that it was written by. JSON, compressed: rows of one config differ in little.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any

from dshpc_server.batches import resolver
from dshpc_server.domain import lookup
from dshpc_server.domain.job import JobSpec, Resources
from dshpc_server.domain.rejection import Reason, Rejection, Violation
from dshpc_server.store.records import Candidate

_VERSION = 1
_FASTEST = 1
"""Level of compression; the next ones take longer than they save."""
_BYTES = "latin-1"
"""A character for each byte."""


def encoded(rows: Sequence[resolver.Draft]) -> bytes:
    """Return rows that follow on one another as bytes."""
    document = [_VERSION, rows[0].index, [_row(row) for row in rows]]
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), _FASTEST)


def decoded(data: bytes) -> Sequence[resolver.Draft]:
    """Return what was encoded. Raises ValueError for what a later version wrote."""
    version, first_index, rows = json.loads(zlib.decompress(data))
    if version != _VERSION:
        raise ValueError(f"pieces of version {version} are not known here")
    return [_draft(first_index + number, *row) for number, row in enumerate(rows)]


def _row(draft: resolver.Draft) -> Sequence[object]:
    is_refused = isinstance(draft.plan, Rejection)
    return (
        draft.config_index,
        draft.duplicate_of,
        draft.head.decode(_BYTES),
        int(is_refused),
        _rejection(draft.plan) if isinstance(draft.plan, Rejection) else _candidate(draft.plan),
    )


def _draft(
    index: int,
    config_index: int,
    duplicate_of: int | None,
    head: str,
    is_refused: int,
    plan: Sequence[Any],
) -> resolver.Draft:
    return resolver.Draft(
        index=index,
        config_index=config_index,
        duplicate_of=duplicate_of,
        head=head.encode(_BYTES),
        plan=_read_rejection(*plan) if is_refused else _read_candidate(*plan),
    )


def _rejection(rejection: Rejection) -> Sequence[object]:
    violations = [(each.field, each.description) for each in rejection.violations]
    return rejection.reason.value, rejection.message, violations


def _read_rejection(reason: str, message: str, violations: Sequence[tuple[str, str]]) -> Rejection:
    return Rejection(
        reason=Reason(reason),
        message=message,
        violations=tuple(
            Violation(field=field, description=description) for field, description in violations
        ),
    )


def _candidate(plan: Candidate) -> Sequence[object]:
    spec, needs, policy = plan.spec, plan.resources, plan.policy
    return (
        (
            spec.job_id,
            spec.method_name,
            spec.function_hash,
            dict(spec.inputs),
            spec.parameters_json,
        ),
        (needs.cpus, needs.memory_bytes, needs.gpus),
        plan.timeout_seconds,
        (policy.cache.value, policy.resubmit.value, policy.max_attempts),
    )


def _read_candidate(
    spec: tuple[str, str, str, dict[str, str], str],
    needs: tuple[int, int, int],
    timeout_seconds: float,
    policy: tuple[str, str, int],
) -> Candidate:
    job_id, method_name, function_hash, inputs, parameters_json = spec
    cpus, memory_bytes, gpus = needs
    cache, resubmit, max_attempts = policy
    return Candidate(
        spec=JobSpec(
            job_id=job_id,
            method_name=method_name,
            function_hash=function_hash,
            inputs=inputs,
            parameters_json=parameters_json,
        ),
        resources=Resources(cpus=cpus, memory_bytes=memory_bytes, gpus=gpus),
        timeout_seconds=timeout_seconds,
        policy=lookup.Policy(
            cache=lookup.CachePolicy(cache),
            resubmit=lookup.ResubmitPolicy(resubmit),
            max_attempts=max_attempts,
        ),
    )
