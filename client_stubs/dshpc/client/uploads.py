"""Uploads: what to send, how far it is, and what to do when it was cut off.

Promise: content is stored whole or not at all, under the hash it had when it was read first. An
upload that was cut off goes on at the byte that the server names; when what it goes on from turns
out wrong, it starts afresh once.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import grpc

from dshpc.client import errors, files, retries
from dshpc.v1 import file_service_pb2, file_service_pb2_grpc

HASHES_PER_CALL = 10_000
"""Hashes of one FindMissingFiles call: 660 kB."""
ASK_FIRST_BYTES = 8 << 20
"""From this size on, what came of an upload by an earlier program is asked for."""

_PROGRESS_INTERVAL_SECONDS = 0.1
_CUT_OFF = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED})


def questions(file_hashes: Iterable[str]) -> Iterator[file_service_pb2.FindMissingFilesRequest]:
    """Yield the requests that ask for all of these hashes, each once."""
    distinct = list(dict.fromkeys(file_hashes))
    for start in range(0, len(distinct), HASHES_PER_CALL):
        hashes = distinct[start : start + HASHES_PER_CALL]
        yield file_service_pb2.FindMissingFilesRequest(file_hashes=hashes)


class Plan:
    """Which of several contents must be sent, equal ones once; tells how far that is."""

    def __init__(
        self,
        sources: Sequence[files.Source],
        missing: Iterable[str],
        on_progress: files.OnProgress | None,
    ) -> None:
        lacking = frozenset(missing)
        to_send = {source.file_hash: source for source in sources if source.file_hash in lacking}
        self.to_send = tuple(to_send.values())
        self.hashes = frozenset(to_send)
        self._bytes_total = sum(source.size_bytes for source in self.to_send)
        self._on_progress = on_progress
        self._files_done = 0
        self._bytes_before = 0

    def sent(self, sent_bytes: int) -> None:
        """Tell that this much of the current content is sent."""
        if self._on_progress is not None:
            self._on_progress(
                files.UploadProgress(
                    files_done=self._files_done,
                    files_total=len(self.to_send),
                    bytes_done=self._bytes_before + sent_bytes,
                    bytes_total=self._bytes_total,
                )
            )

    def stored(self, source: files.Source) -> None:
        """Tell that the current content is stored."""
        self._files_done += 1
        self._bytes_before += source.size_bytes
        self.sent(0)


class Upload:
    """One content on its way, over as many calls as it takes.

    What goes wrong while reading is kept: gRPC may read in a thread of its own, where it would be
    lost.
    """

    def __init__(self, source: files.Source, policy: retries.RetryPolicy) -> None:
        self.source = source
        self.must_ask = source.size_bytes >= ASK_FIRST_BYTES
        """Whether GetUpload comes before the next call."""
        self._backoff = retries.Backoff(policy, from_the_start=True)
        self._offset_bytes = 0
        self._sent_bytes = 0
        self._most_committed_bytes = 0
        self._may_start_afresh = True
        self._failure: Exception | None = None

    @property
    def sent_bytes(self) -> int:
        """Bytes sent so far, less than all of them."""
        return min(self._sent_bytes, max(self.source.size_bytes - 1, 0))

    def question(self) -> file_service_pb2.GetUploadRequest:
        """Return the request that asks how far it is."""
        return file_service_pb2.GetUploadRequest(file_hash=self.source.file_hash)

    def committed(self, answer: file_service_pb2.GetUploadResponse) -> None:
        """Go on from what the server has."""
        self.must_ask = False
        self._offset_bytes = min(answer.committed_bytes, self.source.size_bytes)
        if self._offset_bytes > self._most_committed_bytes:
            self._most_committed_bytes = self._offset_bytes
            self._backoff.progressed()

    def messages(self) -> Iterator[file_service_pb2.UploadFileRequest]:
        """Yield the header and the chunks; stop early when the content is not what was hashed."""
        self._sent_bytes = self._offset_bytes
        yield self._header()
        digest = hashlib.sha256()
        try:
            with self.source.open() as content:
                content.seek(self._offset_bytes)
                for chunk in files.pieces(content):
                    digest.update(chunk)
                    self._sent_bytes += len(chunk)
                    if self._sent_bytes > self.source.size_bytes:
                        break
                    yield file_service_pb2.UploadFileRequest(chunk=chunk)
        except OSError as error:
            self._failure = error
            return
        # Of the rest of a content the server alone can tell, and refuses it if it is wrong.
        is_whole = not self._offset_bytes
        if is_whole and digest.hexdigest() != self.source.file_hash:
            self._failure = self.source.changed()

    def raise_if_unreadable(self) -> None:
        """Raise what went wrong while reading, if anything did."""
        if self._failure is not None:
            raise self._failure

    def pause_seconds(self, error: errors.CallError) -> float:
        """Return how long to wait before going on; raises what cannot be mended by that."""
        self.raise_if_unreadable()
        if error.code in _CUT_OFF:
            self.must_ask = True
            return self._backoff.pause_seconds(error)
        is_refused = error.code is grpc.StatusCode.INVALID_ARGUMENT
        if is_refused and self._offset_bytes and self._may_start_afresh:
            self._may_start_afresh = False
            self._offset_bytes = 0
            return 0.0
        raise error

    def _header(self) -> file_service_pb2.UploadFileRequest:
        return file_service_pb2.UploadFileRequest(
            header=file_service_pb2.UploadHeader(
                file_hash=self.source.file_hash,
                size_bytes=self.source.size_bytes,
                write_offset=self._offset_bytes,
                filename=self.source.filename,
            )
        )


class Sending:
    """One call of an upload. Reads the content in a thread of gRPC's own.

    Of a synchronous channel, also for asyncio: there, a message that is written while the server
    ends the call replaces the server's answer by an internal error (grpc#36066).
    """

    def __init__(self, stub: file_service_pb2_grpc.FileServiceStub, upload: Upload) -> None:
        self._upload = upload
        self._call = stub.UploadFile.future(upload.messages())

    def is_done(self) -> bool:
        """Wait a moment; whether the call has ended, well or badly."""
        with contextlib.suppress(grpc.FutureTimeoutError):
            self._call.exception(timeout=_PROGRESS_INTERVAL_SECONDS)
            return True
        return False

    def finish(self) -> None:
        """Raise what the call that is done failed with, or what reading failed with."""
        self._call.result()
        self._upload.raise_if_unreadable()

    def leave(self) -> None:
        """End the call, if it has not ended."""
        self._call.cancel()
