"""`dshpc files`: store and fetch files by the hash of their content."""

import pathlib
import re
import sys
from collections.abc import Sequence

from dshpc.cli import progress, terminal
from dshpc.cli.terminal import Output
from dshpc.client import Client
from dshpc.client import files as client_files

_HASH = re.compile(r"[0-9a-f]{64}")


def upload(client: Client, paths: Sequence[pathlib.Path], output: Output) -> None:
    """Store the files that the server lacks and write what became of each."""
    display = progress.chosen(wanted=None, is_quiet=False, is_stdout_shared=False)
    with display:
        uploaded = client.upload_missing(paths, display.uploading)
    table = terminal.new_table("hash", ">size", "", "path")
    for file in uploaded:
        if output is Output.JSON:
            terminal.json_line(
                {
                    "path": str(file.path),
                    "fileHash": file.file_hash,
                    "sizeBytes": str(file.size_bytes),  # 64 bits are text in proto3 JSON
                    "uploaded": file.uploaded,
                }
            )
        else:
            done = "uploaded" if file.uploaded else "stored before"
            size = terminal.size(file.size_bytes)
            table.add_row(file.file_hash, size, done, terminal.shown(str(file.path)))
    if output is Output.TABLE:
        terminal.console_on(sys.stdout).print(table, soft_wrap=True)


def download(client: Client, file_hash: str, path: pathlib.Path, output: Output) -> None:
    """Write content to a path, or into a folder under its hash."""
    # Only a hash may become a part of a path.
    if path.is_dir() and _HASH.fullmatch(file_hash):
        path /= file_hash
    size_bytes = client.download(file_hash, path)
    if output is Output.JSON:
        terminal.json_line({"path": str(path), "fileHash": file_hash, "sizeBytes": str(size_bytes)})
    else:
        terminal.note(f"{terminal.size(size_bytes)} in {path}")


def missing(client: Client, names: Sequence[str], output: Output) -> None:
    """Write the hashes that are not stored; each name is a hash or a local file."""
    paths: dict[str, str] = {}
    for name in names:
        is_hash = _HASH.fullmatch(name) is not None
        file_hash = name if is_hash else client_files.read(pathlib.Path(name)).file_hash
        paths[file_hash] = "" if is_hash else name
    for file_hash in client.find_missing(paths):
        path = paths.get(file_hash, "")
        if output is Output.JSON:
            terminal.json_line({"fileHash": file_hash} | ({"path": path} if path else {}))
        else:
            sys.stdout.write(f"{file_hash}  {terminal.safe(path)}".rstrip() + "\n")
