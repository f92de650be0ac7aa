"""BatchService: reading, following and changing batches."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

from dshpc.v1 import batch_service_pb2
from dshpc_server import clock, errors
from dshpc_server.batches import (
    disconnects,
    inlining,
    overview,
    results,
    retrying,
    showing,
    streaming,
    updating,
    watching,
    withdrawing,
)
from dshpc_server.domain.rejection import Violation
from dshpc_server.store import committer, port
from dshpc_server.transport import (
    answers,
    batch_events,
    batch_messages,
    batch_requests,
    edge,
    job_requests,
    limits,
    options,
    pages,
    request_names,
    resume_tokens,
    words,
)

W = TypeVar("W")


class BatchServicer:
    """Serves BatchService."""

    def __init__(
        self,
        *,
        overviews: overview.Overviews,
        watching: watching.Watching,
        showing: showing.Showing,
        committer: committer.Committer,
        inlining: inlining.Inlining,
        withdrawing: withdrawing.Withdrawing,
        disconnects: disconnects.Disconnects,
        retrying: retrying.Retrying,
        tokens: resume_tokens.ResumeTokens,
        max_wait_seconds: float,
        clock: clock.Clock,
    ) -> None:
        self._overviews = overviews
        self._watching = watching
        self._showing = showing
        self._committer = committer
        self._inlining = inlining
        self._withdrawing = withdrawing
        self._disconnects = disconnects
        self._retrying = retrying
        self._tokens = tokens
        self._events = batch_events.EventSender(tokens=tokens, clock=clock)
        self._max_wait_seconds = max_wait_seconds
        self._clock = clock

    async def get_batch(
        self, asked: batch_service_pb2.GetBatchRequest, call: edge.Call
    ) -> batch_service_pb2.GetBatchResponse:
        """Read one batch, at once or when it has changed."""

        def wait() -> overview.Wait:
            return batch_requests.wait(
                asked, self._tokens, self._max_wait_seconds, call.seconds_left
            )

        # Who waits for it has come back to it.
        is_followed = wait().seconds > 0
        with (
            self._disconnects.following(asked.batch_id) if is_followed else contextlib.nullcontext()
        ):
            found = await self._showing.answer(
                asked.batch_id, lambda: self._overviews.one(asked.batch_id, wait())
            )
        return batch_service_pb2.GetBatchResponse(batch=self._message(found))

    async def list_batches(
        self, asked: batch_service_pb2.ListBatchesRequest, call: edge.Call
    ) -> batch_service_pb2.ListBatchesResponse:
        """One page of the batches."""
        del call
        after = pages.batch_place(asked.page_token, "batches")
        limit = batch_requests.batches_per_page(asked.page_size)
        page = await self._overviews.page(after=after, limit=limit)
        now = self._clock.now()
        return batch_service_pb2.ListBatchesResponse(
            batches=[batch_messages.batch_message(each, as_of=now) for each in page.batches],
            next_page_token="" if page.last is None else pages.token(page.last, "batches"),
        )

    async def watch_batch(
        self, asked: batch_service_pb2.WatchBatchRequest, call: edge.Call
    ) -> None:
        """Tell the events of a batch, from the beginning or from where a token says."""
        after = None
        if asked.resume_token:
            after = self._tokens.position("resume_token", asked.resume_token, asked.batch_id)
        reporting = options.reporting(asked.stream)
        inline_bytes = options.max_inline_output_bytes("", asked)
        packing = streaming.Packing(
            encode=self._inlining.encoder(inline_bytes),
            rows_per_message=options.results_per_message(asked.stream),
            max_bytes=limits.DEFAULT_RESPONSE_BYTES,
            in_thread=self._inlining.reads_files(inline_bytes),
        )
        with self._disconnects.following(asked.batch_id):
            await self._showing.answer(
                asked.batch_id,
                lambda: self._events.send(
                    self._watching.events(asked.batch_id, after, reporting, packing), call
                ),
            )

    async def cancel_batch(
        self, asked: batch_service_pb2.CancelBatchRequest, call: edge.Call
    ) -> batch_service_pb2.CancelBatchResponse:
        """Withdraw rows of a batch."""
        del call
        reason = job_requests.reason(asked.reason)
        withdrawn = await self._showing.answer(
            asked.batch_id,
            lambda: self._withdrawing.withdraw(
                asked.batch_id, reason, withdrawing.Cause.ASKED, asked.indexes
            ),
        )
        return batch_service_pb2.CancelBatchResponse(
            batch=await self._now(asked.batch_id),
            cancel_requested=withdrawn.cancel_requested,
            detached=withdrawn.detached,
            already_terminal=withdrawn.already_terminal,
        )

    async def update_batch(
        self, asked: batch_service_pb2.UpdateBatchRequest, call: edge.Call
    ) -> batch_service_pb2.UpdateBatchResponse:
        """Change a batch's priority."""
        del call
        priority = options.priority("priority", asked.priority)
        await self._showing.answer(
            asked.batch_id,
            lambda: updating.set_priority(self._committer, asked.batch_id, priority),
        )
        return batch_service_pb2.UpdateBatchResponse(batch=await self._now(asked.batch_id))

    async def retry_batch(
        self, asked: batch_service_pb2.RetryBatchRequest, call: edge.Call
    ) -> batch_service_pb2.RetryBatchResponse:
        """Submit a new batch of the rows that did not complete."""
        del call
        name = request_names.of_retry(asked)
        batch_id = await self._showing.answer(
            asked.batch_id, lambda: self._retrying.retry(asked.batch_id, name)
        )
        return batch_service_pb2.RetryBatchResponse(batch=await self._now(batch_id))

    async def list_batch_results(
        self, asked: batch_service_pb2.ListBatchResultsRequest, call: edge.Call
    ) -> bytes:
        """One page of a batch's rows."""
        del call
        what = pages.batch_rows(asked.batch_id, asked.statuses, asked.outcomes)
        first_index = pages.index(asked.page_token, *what)
        max_rows = options.page_size(asked.page_size)
        wanted = results.Filter(
            statuses=_words("statuses", asked.statuses, words.STATUS_OF),
            outcomes=_words("outcomes", asked.outcomes, words.OUTCOME_OF),
        )
        encode = self._inlining.encoder(options.max_inline_output_bytes("", asked))

        def read(store: port.Reader) -> results.Page:
            return results.read_page(
                store,
                encode,
                asked.batch_id,
                first_index=first_index,
                max_rows=max_rows,
                max_bytes=limits.DEFAULT_RESPONSE_BYTES,
                wanted=wanted,
            )

        page = await self._showing.answer(asked.batch_id, lambda: self._committer.read(read))
        closing = batch_service_pb2.ListBatchResultsResponse()
        if page.next_index is not None:
            closing.next_page_token = pages.token(page.next_index, *what)
        return answers.list_batch_results(page.rows, closing)

    async def _now(self, batch_id: str) -> batch_service_pb2.Batch:
        """A batch as it stands."""
        return self._message(await self._overviews.one(batch_id, overview.Wait(seconds=0)))

    def _message(self, found: overview.Overview) -> batch_service_pb2.Batch:
        token = self._tokens.token(found.batch.batch_id, found.position)
        return batch_messages.batch_message(found, as_of=self._clock.now(), resume_token=token)


def _words(field: str, values: Sequence[int], meaning: Mapping[int, W]) -> list[W]:
    for index, value in enumerate(values):
        if value not in meaning:
            raise errors.InvalidRequestError(
                Violation(field=f"{field}[{index}]", description=f"{value} cannot be asked for")
            )
    return [meaning[value] for value in values]
