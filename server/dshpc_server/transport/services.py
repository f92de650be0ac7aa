"""All services of the contract, made of the parts of one server."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

from dshpc_server import clock
from dshpc_server.batches import (
    acceptance,
    cancelling,
    disconnects,
    inlining,
    logs,
    overview,
    polling,
    retrying,
    showing,
    simulation,
    watchers,
    watching,
    withdrawing,
)
from dshpc_server.batches import content as library
from dshpc_server.domain.job import AttemptKey, JobStatus
from dshpc_server.engine.port import Capacity, Waiting
from dshpc_server.files import content
from dshpc_server.methods import catalog
from dshpc_server.store import committer
from dshpc_server.transport import (
    batch_events,
    encoder,
    job_messages,
    limits,
    requests,
    resume_tokens,
    retries,
)
from dshpc_server.transport.servicers import batch, file, job, method, server, simulate


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What calls are answered with."""

    deployment_id: str
    store_name: str
    engine_name: str
    capacity: Callable[[], Capacity]
    waiting: Callable[[AttemptKey, JobStatus], Waiting]
    """What is known of an attempt that does not run yet; it may be asked in any thread."""
    catalog: catalog.Catalog
    content: content.ContentStore
    library: library.Library
    committer: committer.Committer
    watchers: watchers.Watchers
    acceptance: acceptance.Acceptance
    showing: showing.Showing
    cancelling: cancelling.Cancelling
    withdrawing: withdrawing.Withdrawing
    disconnects: disconnects.Disconnects
    folder: Callable[[AttemptKey], pathlib.Path]
    """Where an attempt's logs are."""
    encoder: encoder.MultiJobResultEncoder
    max_retries: int
    limits: limits.Limits
    clock: clock.Clock


def servicers(of: Parts) -> Mapping[str, object]:
    """Return what serves each service, by its short name."""
    rows = inlining.Inlining(
        encoder=of.encoder,
        library=of.library,
        inline_output_bytes=of.limits.inline_output_bytes,
    )
    reader = requests.RequestReader(of.limits)
    return {
        "JobService": _job(of, rows, reader),
        "BatchService": _batch(of, rows, reader),
        "FileService": file.FileServicer(
            content=of.content,
            library=of.library,
            committer=of.committer,
            limits=of.limits,
            clock=of.clock,
        ),
        "MethodService": method.MethodServicer(catalog=of.catalog),
        "ServerService": server.ServerServicer(
            engine_name=of.engine_name,
            store_name=of.store_name,
            capacity=of.capacity,
            limits=of.limits,
        ),
    }


def _batch(
    of: Parts,
    rows: inlining.Inlining,
    reader: requests.RequestReader,
) -> batch.BatchServicer:
    return batch.BatchServicer(
        overviews=overview.Overviews(committer=of.committer, watchers=of.watchers, clock=of.clock),
        watching=watching.Watching(committer=of.committer, watchers=of.watchers, clock=of.clock),
        showing=of.showing,
        committer=of.committer,
        inlining=rows,
        withdrawing=of.withdrawing,
        disconnects=of.disconnects,
        retrying=retrying.Retrying(
            committer=of.committer,
            acceptance=of.acceptance,
            read=retries.RetryReader(reader, max_attempts=of.limits.max_attempts).rows,
        ),
        tokens=resume_tokens.ResumeTokens(of.deployment_id),
        max_wait_seconds=of.limits.max_wait_seconds,
        clock=of.clock,
    )


def _job(
    of: Parts,
    rows: inlining.Inlining,
    reader: requests.RequestReader,
) -> job.JobServicer:
    return job.JobServicer(
        simulating=simulate.Simulating(
            simulation=simulation.Simulation(
                acceptance=of.acceptance,
                committer=of.committer,
                watchers=of.watchers,
                clock=of.clock,
            ),
            reader=reader,
            inlining=rows,
            committer=of.committer,
            events=batch_events.EventSender(
                tokens=resume_tokens.ResumeTokens(of.deployment_id), clock=of.clock
            ),
            clock=of.clock,
        ),
        polling=polling.Polling(committer=of.committer, watchers=of.watchers, clock=of.clock),
        cancelling=of.cancelling,
        logs=logs.Logs(committer=of.committer, watchers=of.watchers, folder=of.folder),
        committer=of.committer,
        max_wait_seconds=of.limits.max_wait_seconds,
        messages=job_messages.JobMessages(
            engine_name=of.engine_name,
            max_retries=of.max_retries,
            waiting=of.waiting,
        ),
    )
