"""`--download`: the outputs of completed jobs as files, named after the batch's own configs.

A file's name comes from this side's batch file, never from the server, and holds no characters but
letters, digits, dot, dash and underscore.
"""

import pathlib
import re
from collections.abc import Sequence

from dshpc.cli.batch import Row
from dshpc.client import Client, DshpcError, files
from dshpc.v1 import types_pb2

_MAX_NAME_CHARACTERS = 200


def names(rows: Sequence[Row]) -> list[str]:
    """Return a distinct file name for each row of the answer: its config_id, else its index.

    Rows of a sweep have their number in it behind the config_id.
    """
    taken: set[str] = set()
    found: list[str] = []
    of_rows = ((row, number) for row in rows for number in range(row.count))
    for index, (row, number) in enumerate(of_rows):
        name = re.sub(r"[^A-Za-z0-9._-]", "_", row.config_id)[:_MAX_NAME_CHARACTERS]
        name = re.sub(r"^\.", "_", name)
        if name and row.is_sweep:
            name = f"{name}.{number}"
        name = name or str(index)
        # File systems that ignore case are why names are compared without it.
        while name.lower() in taken:
            name = f"{name}-{index}"
        taken.add(name.lower())
        found.append(f"{name}.out")
    return found


class Outputs:
    """Writes outputs into a folder: inline ones as they come, the others at the end."""

    def __init__(self, client: Client, folder: pathlib.Path, rows: Sequence[Row]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._client = client
        self.folder = folder
        self._names = names(rows)
        self._waiting: list[tuple[pathlib.Path, str]] = []
        self.written = 0

    def take(self, result: types_pb2.MultiJobResult) -> None:
        """Write a completed row's output, or keep it for `finish`."""
        if result.new_status != types_pb2.JOB_STATUS_COMPLETED:
            return
        if not 0 <= result.index < len(self._names):
            raise DshpcError(f"the server answered a row that was not asked for: {result.index}")
        path = self.folder / self._names[result.index]
        if not result.HasField("output"):
            self._waiting.append((path, result.output_hash))
            return
        files.write(path, [result.output.encode()], file_hash=result.output_hash)
        self.written += 1

    def finish(self) -> None:
        """Download what did not come inline."""
        for path, file_hash in self._waiting:
            self._client.download(file_hash, path)
            self.written += 1
        self._waiting.clear()
