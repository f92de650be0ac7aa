"""From an engine's fact to the report that the store takes: what it means, with all that is told.

Promises: of an attempt that was to be stopped, what never ran and what was lost count as cancelled,
for nothing of it runs; an exit that came before the stop keeps its own status. What may go better
the next time asks for its retry, unless it was to be stopped. Synchronous; called in a thread, for
outputs are read, hashed and stored here.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import structlog

from dshpc_server import errors, outage
from dshpc_server.batches import encoding, endings, intake
from dshpc_server.domain import lifecycle, retry
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.domain.lifecycle import Event
from dshpc_server.engine import port as engine
from dshpc_server.store import records

_OF_MACHINES = (JobStatus.NODE_FAIL, JobStatus.BOOT_FAIL)
_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """A fact about an attempt that has not ended, and what is known of that."""

    fact: engine.Fact
    claim: records.Claim
    cancel_reason: str | None
    """Why the attempt is to be stopped; None when it is not."""


class Reports:
    """Makes reports of facts."""

    def __init__(
        self,
        *,
        intake: intake.Intake,
        encoder: encoding.ResultEncoder,
        folder: Callable[[AttemptKey], pathlib.Path],
        retries: retry.Retries,
        chance: Callable[[], float],
    ) -> None:
        """`chance` gives a number from 0 to 1, another one each time; any thread may call it."""
        self._intake = intake
        self._encoder = encoder
        self._folder = folder
        self._retries = retries
        self._chance = chance

    def of_all(self, known: Sequence[News], waits: outage.Outage) -> Sequence[records.Report]:
        """The reports of these facts, in order, but for those that can only be made later.

        `waits` is told of those, each by its key.
        """
        made = []
        for news in known:
            try:
                made.append(self.of(news))
            except errors.UnavailableError as error:
                waits.failed(str(error), by=news.fact.key, kind=type(error).__name__)
        return made

    def of(self, news: News) -> records.Report:
        """The report of one fact. Raises errors.UnavailableError; then it can be made later."""
        fact = news.fact
        match fact:
            case engine.Started():
                return records.Report(
                    key=fact.key,
                    event=Event.STARTED,
                    at=fact.at,
                    started_at=fact.at,
                    engine_job_id=fact.engine_job_id,
                    node=fact.node,
                    packing=fact.packing,
                )
            case engine.Suspended():
                return records.Report(key=fact.key, event=Event.SUSPENDED, at=fact.at)
            case engine.Resumed():
                return records.Report(key=fact.key, event=Event.RESUMED, at=fact.at)
            case engine.NotStarted():
                return self._ended_early(fact, news, Event.NOT_STARTED)
            case engine.Lost():
                return self._ended_early(fact, news, Event.LOST)
            case engine.Exited():
                return self._exited(fact, news)

    def _exited(self, fact: engine.Exited, news: News) -> records.Report:
        claim = news.claim
        event = endings.event(fact)
        reason = _text(
            endings.reason(
                fact,
                timeout_seconds=claim.timeout_seconds,
                memory_bytes=claim.resources.memory_bytes,
                cancel_reason=news.cancel_reason,
            )
        )
        output = None
        if event is Event.SUCCEEDED:
            try:
                output = self._intake.output(fact.stdout)
            except intake.UnreadableOutputError as error:
                event, reason = Event.EXITED_NONZERO, f"Exit code 0, but {error}"
        ended = encoding.EndedAttempt(
            key=fact.key,
            status=_target(event),
            function_hash=claim.spec.function_hash,
            created_at=claim.created_at,
            started_at=fact.started_at,
            ended_at=fact.at,
            exit_code=fact.exit_code,
            signal=fact.signal,
            output=output,
            reason=reason,
            stderr_tail=self._intake.stderr_tail(fact.stderr),
            packing=fact.packing,
        )
        after = self._retry_after(news, event, fact.exit_code)
        return dataclasses.replace(
            self._ending(ended, event, after),
            engine_job_id=fact.engine_job_id,
            node=fact.node,
            usage=fact.usage,
            packing=fact.packing,
        )

    def _ended_early(
        self, fact: engine.NotStarted | engine.Lost, news: News, event: Event
    ) -> records.Report:
        reason = _text(fact.reason)
        if news.cancel_reason is not None:
            event, reason = Event.CANCELLED, endings.cancelled(news.cancel_reason)
        ended = encoding.EndedAttempt(
            key=fact.key,
            status=_target(event),
            function_hash=news.claim.spec.function_hash,
            created_at=news.claim.created_at,
            started_at=None,
            ended_at=fact.at,
            exit_code=None,
            signal=None,
            output=None,
            reason=reason,
            stderr_tail=self._intake.stderr_tail(self._folder(fact.key) / "stderr"),
        )
        return self._ending(ended, event, self._retry_after(news, event))

    def _retry_after(self, news: News, event: Event, exit_code: int | None = None) -> float | None:
        """When another attempt is to be made; None: not at all."""
        fact = news.fact
        is_permanent = isinstance(fact, engine.NotStarted) and fact.is_permanent
        if is_permanent or news.cancel_reason is not None:
            return None
        return self._retries.delay_seconds(
            event=event,
            exit_code=exit_code,
            retries=news.claim.retries,
            chance=self._chance(),
        )

    def _ending(
        self,
        ended: encoding.EndedAttempt,
        event: Event,
        retry_after_seconds: float | None,
    ) -> records.Report:
        return records.Report(
            key=ended.key,
            event=event,
            at=ended.ended_at,
            started_at=ended.started_at,
            ending=ending(ended, self._encoder),
            retry_after_seconds=retry_after_seconds,
        )


def ending(ended: encoding.EndedAttempt, encoder: encoding.ResultEncoder) -> records.Ending:
    """What the store keeps of an attempt that has ended."""
    output = ended.output
    return records.Ending(
        result=encoder.ended(ended),
        exit_code=ended.exit_code,
        signal=ended.signal,
        output_hash="" if output is None else output.output_hash,
        output_size_bytes=0 if output is None else output.size_bytes,
        output_is_inline=output is not None and output.text is not None,
        reason=ended.reason,
        stderr_tail=ended.stderr_tail,
    )


def cancelled_in_queue(
    attempt: records.Attempt, reason: str, encoder: encoding.ResultEncoder
) -> records.Ending:
    """What the store keeps of an attempt that never left the queue; it is as it is to be."""
    ended = encoding.EndedAttempt(
        key=attempt.key,
        status=JobStatus.CANCELLED,
        function_hash=attempt.function_hash,
        created_at=attempt.created_at,
        started_at=None,
        ended_at=attempt.ended_at or attempt.created_at,
        exit_code=None,
        signal=None,
        output=None,
        reason=endings.cancelled(reason),
        stderr_tail="",
    )
    return ending(ended, encoder)


def _text(reason: str) -> str:
    """What others said, as text: a path in it may hold bytes that are none."""
    return reason.encode(errors="replace").decode()


def _target(event: Event) -> JobStatus:
    target = lifecycle.target(JobStatus.RUNNING, event)
    if target is None:
        raise ValueError(f"{event} does not end an attempt")
    return target


def tell_end(attempt: records.Attempt, report: records.Report) -> None:
    """Tell the log how an attempt has ended, as it is in the store now."""
    ending = report.ending
    if ending is None:
        return
    ran = attempt.ended_at - attempt.started_at if attempt.ended_at and attempt.started_at else None
    _log.info(
        "attempt.ended",
        job_id=attempt.key.job_id,
        attempt=attempt.key.number,
        status=str(attempt.status),
        exit_code=ending.exit_code,
        signal=ending.signal,
        seconds=None if ran is None else _rounded(ran.total_seconds()),
        cpu_seconds=None if report.usage is None else _rounded(report.usage.cpu_seconds),
        output_bytes=ending.output_size_bytes,
        retry_after_seconds=_rounded(report.retry_after_seconds) if attempt.is_retried else None,
        # Why a machine would not have it; what others say of an end is theirs.
        reason=ending.reason if attempt.status in _OF_MACHINES else None,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
