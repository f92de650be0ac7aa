"""Every RPC the server has, asked with bytes: what no ordinary client would send can be sent.

The list comes from the descriptors, so a new RPC is in it without a word here.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import grpc
from google.protobuf import descriptor
from google.rpc import status_pb2

from dshpc_server.transport import health, reflection, server

DETAILS_KEY = "grpc-status-details-bin"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rpc:
    """One RPC: its path, and its messages."""

    path: str
    method: descriptor.MethodDescriptor

    @property
    def name(self) -> str:
        """What tests are named by: the service's last word and the method's name."""
        return self.path.lstrip("/").replace("/", ".")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a call ended, or how far it was followed."""

    code: grpc.StatusCode
    text: str
    status: status_pb2.Status
    """With the details; empty when there are none."""
    answers: Sequence[bytes]

    @property
    def told(self) -> str:
        """Everything a client gets to see, with what is not text escaped."""
        details = "".join(repr(detail.value) for detail in self.status.details)
        return "".join([self.text, self.status.message, details, *map(repr, self.answers)])


def _rpcs() -> list[Rpc]:
    services = [(each.full_name, each) for each in (*server.SERVICES.values(), health.SERVICE)]
    services += [(name, reflection.SERVICE) for name in reflection.NAMES]
    return [
        Rpc(path=f"/{name}/{method.name}", method=method)
        for name, service in services
        for method in service.methods
    ]


RPCS = _rpcs()
BY_NAME = {rpc.method.name: rpc for rpc in RPCS}
"""By the method's name alone, which is unique but for reflection's two versions."""


def ask(
    channel: grpc.Channel, rpc: Rpc, *sent: bytes, timeout: float = 30, most_answers: int = 3
) -> Ended:
    """Make a call with these bytes; of a stream, follow so many answers and leave it then."""
    call = _begun(channel, rpc, sent, timeout)
    answers: list[bytes] = []
    try:
        if not rpc.method.server_streaming:
            answers.append(call.result())
        else:
            for answer in call:
                answers.append(answer)
                if len(answers) == most_answers:
                    break
    except grpc.RpcError as error:
        return _ended(cast("grpc.Call", error), answers)
    finally:
        call.cancel()
    return Ended(code=grpc.StatusCode.OK, text="", status=status_pb2.Status(), answers=answers)


def _begun(channel: Any, rpc: Rpc, sent: Sequence[bytes], timeout: float) -> Any:  # noqa: ANN401 - four kinds of call, of bytes
    method = rpc.method
    if method.client_streaming and method.server_streaming:
        return channel.stream_stream(rpc.path)(iter(sent), timeout=timeout)
    if method.client_streaming:
        return channel.stream_unary(rpc.path).future(iter(sent), timeout=timeout)
    (request,) = sent
    if method.server_streaming:
        return channel.unary_stream(rpc.path)(request, timeout=timeout)
    return channel.unary_unary(rpc.path).future(request, timeout=timeout)


def _ended(error: grpc.Call, answers: Sequence[bytes]) -> Ended:
    metadata = dict(error.trailing_metadata() or ())
    return Ended(
        code=error.code(),
        text=str(error.details()),
        status=status_pb2.Status.FromString(metadata.get(DETAILS_KEY, b"")),
        answers=answers,
    )
