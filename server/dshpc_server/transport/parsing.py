"""From the bytes of a request to its message: what cannot be parsed is INVALID_ARGUMENT.

gRPC's own way of parsing would answer UNKNOWN, with text from inside. What has too many entries is
refused before it is parsed.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeAlias

from google.protobuf import descriptor, message, message_factory

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from dshpc_server.transport import counting, known

Parse: TypeAlias = Callable[[bytes], message.Message]


def parser(method: descriptor.MethodDescriptor, *, max_entries: int, refuse_unknown: bool) -> Parse:
    """Return what parses a request of this RPC, with or without fields nobody here knows."""
    request_class = message_factory.GetMessageClass(method.input_type)

    def parse(request: bytes) -> message.Message:
        counting.refuse_too_many(request, method.input_type, max_entries)
        try:
            parsed = request_class.FromString(request)
        except message.DecodeError as error:
            raise errors.InvalidRequestError(
                Violation(field="", description=f"not a {method.input_type.full_name}")
            ) from error
        if refuse_unknown:
            known.refuse_unknown("", parsed)
        return parsed

    return parse


async def each(
    read: Callable[[], Awaitable[bytes | None]], parse: Parse
) -> AsyncGenerator[message.Message, None]:
    """Parse the messages of a client stream. Nothing is begun before the first is asked for.

    While one is worked on, neither it nor its bytes are held here: of fifty uploads that stand
    still with a chunk of 1 MiB that was 50 MiB.
    """
    while (request := await read()) is not None:
        parsed = [parse(request)]
        del request
        yield parsed.pop()
