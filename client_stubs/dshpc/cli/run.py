"""`dshpc run`: a batch file in, results out.

Order of things: read the file, upload what the server lacks, ask, write results as they come.
"""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Callable, Sequence

from dshpc.cli import following, outputs, terminal
from dshpc.cli.batch import Batch
from dshpc.client import Client
from dshpc.v1 import types_pb2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The options of `dshpc run`."""

    shown: following.Options = dataclasses.field(default_factory=following.Options)
    waits: bool = True
    download_folder: pathlib.Path | None = None


def run(
    client: Client,
    batch: Batch,
    options: Options,
    *,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Run a batch and return the exit code."""
    return _Run(client, batch, options, monotonic).result()


class _Run:
    """One run of the command."""

    def __init__(
        self, client: Client, batch: Batch, options: Options, monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._batch = batch
        self._waits = options.waits
        folder = options.download_folder
        self._following = following.Following(
            client,
            options.shown,
            written=None if folder is None else outputs.Outputs(client, folder, batch.rows),
            ends_with_us=batch.cancel_on_disconnect,
            monotonic=monotonic,
        )

    def result(self) -> int:
        """Do it all."""
        return self._following.result(self._ask)

    def _ask(self) -> None:
        configs = self._configs()
        self._following.begin()
        if not self._waits:
            self._resolve(configs)
            return
        self._following.follow(
            self._client.stream(
                configs,
                options=self._batch.options(),
                display_name=self._batch.display_name,
                reporting=self._following.reporting(),
                on_pause=self._following.paused,
            )
        )

    def _configs(self) -> list[types_pb2.JobConfig]:
        """Upload what is missing and return what is sent."""
        uploaded = self._client.upload_missing(
            self._batch.paths(), self._following.display.uploading
        )
        sent = {file.file_hash: file.size_bytes for file in uploaded if file.uploaded}
        if sent:
            size = terminal.size(sum(sent.values()))
            self._following.note(f"uploaded {terminal.counted(len(sent), 'file')} ({size})")
        hashes = {file.path: file.file_hash for file in uploaded}
        return [row.config(hashes) for row in self._batch.rows]

    def _resolve(self, configs: Sequence[types_pb2.JobConfig]) -> None:
        """Ask without waiting for jobs."""
        answer = self._client.run(
            configs, options=self._batch.options(), display_name=self._batch.display_name
        )
        token = answer.next_page_token
        rest = self._client.results(answer.batch_id, page_token=token) if token else ()
        results = itertools.chain(answer.results, rest)
        self._following.take_all(answer.batch_id, answer.statistics, results)
