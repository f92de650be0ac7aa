"""BatchService: reading batches, and changing them."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from dshpc.v1 import batch_service_pb2
from dshpc_server import errors
from dshpc_server.batches import inlining, results, updating
from dshpc_server.domain.rejection import Violation
from dshpc_server.store import committer
from dshpc_server.transport import (
    answers,
    batch_messages,
    edge,
    limits,
    options,
    pages,
    unserved,
    words,
)

W = TypeVar("W")


class BatchServicer:
    """Serves BatchService."""

    def __init__(self, *, committer: committer.Committer, inlining: inlining.Inlining) -> None:
        self._committer = committer
        self._inlining = inlining

    async def get_batch(self, asked: batch_service_pb2.GetBatchRequest, call: edge.Call) -> bytes:
        """Not served yet."""
        del asked, call
        raise unserved.refusal("batch_id")

    async def list_batches(
        self, asked: batch_service_pb2.ListBatchesRequest, call: edge.Call
    ) -> bytes:
        """Not served yet."""
        del asked, call
        raise unserved.refusal("page_token")

    async def watch_batch(
        self, asked: batch_service_pb2.WatchBatchRequest, call: edge.Call
    ) -> None:
        """Not served yet."""
        del asked, call
        raise unserved.refusal("batch_id")

    async def cancel_batch(
        self, asked: batch_service_pb2.CancelBatchRequest, call: edge.Call
    ) -> bytes:
        """Not served yet."""
        del asked, call
        raise unserved.refusal("batch_id")

    async def update_batch(
        self, asked: batch_service_pb2.UpdateBatchRequest, call: edge.Call
    ) -> batch_service_pb2.UpdateBatchResponse:
        """Change a batch's priority."""
        del call
        priority = options.priority("priority", asked.priority)
        batch = await updating.set_priority(self._committer, asked.batch_id, priority)
        return batch_service_pb2.UpdateBatchResponse(batch=batch_messages.batch_message(batch))

    async def retry_batch(
        self, asked: batch_service_pb2.RetryBatchRequest, call: edge.Call
    ) -> bytes:
        """Not served yet."""
        del asked, call
        raise unserved.refusal("batch_id")

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
        page = await self._committer.read(
            lambda store: results.read_page(
                store,
                encode,
                asked.batch_id,
                first_index=first_index,
                max_rows=max_rows,
                max_bytes=limits.DEFAULT_RESPONSE_BYTES,
                wanted=wanted,
            )
        )
        closing = batch_service_pb2.ListBatchResultsResponse()
        if page.next_index is not None:
            closing.next_page_token = pages.token(page.next_index, *what)
        return answers.list_batch_results(page.rows, closing)


def _words(field: str, values: Sequence[int], meaning: Mapping[int, W]) -> list[W]:
    for index, value in enumerate(values):
        if value not in meaning:
            raise errors.InvalidRequestError(
                Violation(field=f"{field}[{index}]", description=f"{value} cannot be asked for")
            )
    return [meaning[value] for value in values]
