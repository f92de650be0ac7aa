"""Messages of a client stream, one by one: what is worked on is nobody else's to keep."""

import weakref
from typing import Any

from dshpc_server.transport import parsing


class Thing:
    """A message, or its bytes, that a test can see go."""


async def test_of_a_client_stream_nothing_is_held_while_a_message_is_worked_on() -> None:
    seen: list[weakref.ref[Thing]] = []

    def made() -> Any:  # noqa: ANN401 - in the place of bytes, and of a message
        thing = Thing()
        seen.append(weakref.ref(thing))
        return thing

    async def read() -> Any:  # noqa: ANN401 - in the place of a message
        return made() if len(seen) < 4 else None

    messages = 0
    async for message in parsing.each(read, lambda _: made()):
        messages += 1
        del message
        assert [ref() for ref in seen] == [None] * 2 * messages
    assert messages == 2
