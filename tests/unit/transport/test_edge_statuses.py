"""Statuses over a real connection: the largest arrive every time, and none can upset a terminal."""

import asyncio
import urllib.parse

import grpc
import pytest

from dshpc_server import errors
from dshpc_server.domain.rejection import Violation
from support import transport_edge as t

EMOJI = "\N{PILE OF POO}" * 3000
LARGEST = [
    errors.NotFoundError("file", EMOJI),
    errors.InvalidRequestError(*[Violation(field=EMOJI, description=EMOJI)] * 20),
    errors.InUseError("file", EMOJI, user=EMOJI),
    errors.LimitExceededError(EMOJI[:256], maximum=1, actual=2),
]


@pytest.mark.parametrize("error", LARGEST, ids=lambda error: type(error).__name__)
async def test_the_largest_status_arrives_every_time(error: errors.DshpcError) -> None:
    async def failing(*_: object) -> None:
        raise error

    async with t.serving(find_missing_files=failing) as served:
        calls = [t.error_of(served.files.FindMissingFiles(t.hashes())) for _ in range(90)]
        ends = await asyncio.gather(*calls)
    assert len({end.code() for end in ends}) == 1
    assert ends[0].code() is not grpc.StatusCode.INTERNAL
    for end in ends:
        assert t.details_of(end).details
        assert len(urllib.parse.quote(str(end.details()))) <= 1024 + 2 * 100


async def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    async def failing(*_: object) -> None:
        raise errors.NotFoundError("method", "a\x1b[2J\u202e\nb é")

    async with t.serving(find_missing_files=failing) as served:
        end = await t.error_of(served.files.FindMissingFiles(t.hashes()))
    assert end.details() == r"method 'a\x1b[2J\u202e\nb é' not found"
