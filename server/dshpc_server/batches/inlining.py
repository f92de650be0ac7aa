"""What of its output a row carries: rows are encoded with outputs up to the length that was asked.

The store's results hold outputs up to the server's own limit; a shorter limit takes some out, a
longer one fetches some from the content store. Synchronous; where files are read, for a thread.
"""

import functools
from collections.abc import Callable

from dshpc_server.batches import content, encoding
from dshpc_server.domain.job import JobStatus
from dshpc_server.store import records


class Inlining:
    """Makes row encoders; see `batches.encoding` for what a row's answer is."""

    def __init__(
        self,
        *,
        encoder: encoding.ResultEncoder,
        library: content.Library,
        inline_output_bytes: int,
    ) -> None:
        """`inline_output_bytes` is the longest output that the store's results hold."""
        self._encoder = encoder
        self._library = library
        self._inline_output_bytes = inline_output_bytes

    def reads_files(self, max_bytes: int | None) -> bool:
        """Whether an encoder with this limit may read files."""
        return max_bytes is not None and max_bytes > self._inline_output_bytes

    def encoder(
        self, max_bytes: int | None, *, validates: bool = False
    ) -> Callable[[records.Row], bytes]:
        """Return what encodes a row with its output inline up to `max_bytes`.

        None is the server's own limit. `validates` marks rows as what would happen.
        """
        change = None
        if max_bytes is not None and max_bytes != self._inline_output_bytes:
            read = _nothing
            if self.reads_files(max_bytes):
                read = functools.partial(self._library.text, max_bytes=max_bytes)
            change = functools.partial(self._encoder.with_output, max_bytes=max_bytes, read=read)

        def encode(row: records.Row) -> bytes:
            completed = row.status is JobStatus.COMPLETED
            encoded = encoding.encoded_row(row, self._encoder, change if completed else None)
            if validates and row.rejection is None:
                encoded += self._encoder.validation(row.outcome)
            return encoded

        return encode


def _nothing(output_hash: str) -> str | None:
    # A short output that no result holds is no text.
    del output_hash
    return None
