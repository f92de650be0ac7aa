"""Sending a batch's events, each with the token by which the stream can be resumed behind it."""

import contextlib
from collections.abc import AsyncGenerator

from dshpc_server import clock
from dshpc_server.batches import streaming
from dshpc_server.transport import batch_messages, edge, resume_tokens


class EventSender:
    """Sends the streams of batches."""

    def __init__(self, *, tokens: resume_tokens.ResumeTokens, clock: clock.Clock) -> None:
        self._tokens = tokens
        self._clock = clock

    async def send(
        self, events: AsyncGenerator[streaming.BatchEvent, None], call: edge.Call
    ) -> None:
        """Send every event of one batch, the first of which names it."""
        batch_id = ""
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, streaming.Accepted):
                    batch_id = event.batch_id
                token = self._tokens.token(batch_id, event.position)
                now = self._clock.now()
                await call.write(batch_messages.event_message(event, resume_token=token, at=now))
