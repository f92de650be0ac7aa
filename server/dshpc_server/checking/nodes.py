"""A node that is gone for good: what its servers had running is ended as lost.

No server does that by itself, for a node that does not answer may still run its jobs: only who has
seen to it that it does not may say so. What the retry policy allows is queued again.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence

from dshpc_server import clock
from dshpc_server.batches import encoding, endings, reports
from dshpc_server.domain import retry
from dshpc_server.domain.job import JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.store import port, records


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What becomes of attempts that were lost."""

    retries: retry.Retries
    clock: clock.Clock
    chance: Callable[[], float] = random.random
    """See `Retries.delay_seconds`."""


def end_attempts(
    store: port.Store,
    node: str,
    dead: Sequence[str],
    *,
    encoder: encoding.ResultEncoder,
    policy: Policy,
) -> Sequence[records.Attempt]:
    """End what the dead servers of this node had; return the attempts as they are then.

    The store is open as a server of that node's scope.
    """

    def work(writer: port.Writer) -> Sequence[records.Attempt]:
        taken = writer.take_over(dead)
        return writer.record([_report(attempt, node, encoder, policy) for attempt in taken])

    (answer,) = store.write([work]).answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _report(
    attempt: records.ActiveAttempt, node: str, encoder: encoding.ResultEncoder, policy: Policy
) -> records.Report:
    claim, at = attempt.claim, policy.clock.now()
    is_cancelled = attempt.cancel_reason is not None
    event = Event.CANCELLED if is_cancelled else Event.LOST
    ended = encoding.EndedAttempt(
        key=claim.key,
        status=JobStatus.CANCELLED if is_cancelled else JobStatus.NODE_FAIL,
        function_hash=claim.spec.function_hash,
        created_at=claim.created_at,
        started_at=attempt.started_at,
        ended_at=at,
        exit_code=None,
        signal=None,
        output=None,
        reason=endings.cancelled(attempt.cancel_reason)
        if is_cancelled
        else f"its node {node} is gone",
        stderr_tail="",
    )
    delay_seconds = policy.retries.delay_seconds(
        event=event, exit_code=None, retries=claim.retries, chance=policy.chance()
    )
    return records.Report(
        key=claim.key,
        event=event,
        at=at,
        ending=reports.ending(ended, encoder),
        retry_after_seconds=delay_seconds,
    )
