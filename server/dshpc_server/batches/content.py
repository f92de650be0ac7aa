"""Content by hash, wherever it lies: files and long outputs on disk, short outputs in the store.

Promise: a hash that the service has told anybody is found here, as bytes or as a path, and the
content hashes to its name.
"""

import asyncio
import io
import pathlib
from collections.abc import Collection
from typing import BinaryIO

from dshpc_server.batches import encoding
from dshpc_server.files import content as files
from dshpc_server.store import committer


class Library:
    """Finds content in the content store and in the store's results."""

    def __init__(
        self,
        *,
        content: files.ContentStore,
        committer: committer.Committer,
        encoder: encoding.ResultEncoder,
    ) -> None:
        self._content = content
        self._committer = committer
        self._encoder = encoder

    async def missing(self, hashes: Collection[str]) -> list[str]:
        """Which of these are not stored, in the order asked, each once."""
        absent = await asyncio.to_thread(self._content.missing, hashes)
        if not absent:
            return []
        outputs = await self._committer.read(lambda store: store.find_outputs(absent))
        return [file_hash for file_hash in absent if file_hash not in outputs]

    async def path(self, file_hash: str) -> pathlib.Path | None:
        """Where the content lies, for a method to read; None when it is not stored.

        A short output is written to disk the first time it is wanted as an input.
        """
        found = self._content.find(file_hash)  # one stat: a hop to a thread costs ten times that
        if found is not None:
            return found
        output = await self._short_output(file_hash)
        if output is None:
            return None
        await asyncio.to_thread(self._content.put, output)
        return await asyncio.to_thread(self._content.find, file_hash)

    async def open(self, file_hash: str) -> BinaryIO | None:
        """Open the content for reading; None when it is not stored."""
        found = await asyncio.to_thread(self._content.find, file_hash)
        if found is not None:
            return await asyncio.to_thread(found.open, "rb")
        output = await self._short_output(file_hash)
        return None if output is None else io.BytesIO(output)

    async def _short_output(self, output_hash: str) -> bytes | None:
        result = await self._committer.read(lambda store: store.find_output(output_hash))
        return None if result is None else self._encoder.output(result)
