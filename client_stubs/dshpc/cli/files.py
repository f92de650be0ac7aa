"""`dshpc files`: store and fetch files by the hash of their content."""

import itertools
import pathlib
import re
import sys
from collections.abc import Sequence

from dshpc.cli import exit_codes, failures, listing, progress, terminal, words
from dshpc.cli.terminal import Output
from dshpc.client import CallError, Client, ServerUnavailableError, TimedOutError
from dshpc.client import files as client_files
from dshpc.v1 import file_service_pb2

_MOST_PAGE_ROWS = 1_000
_HEADINGS = ("hash", ">size", "stored", "last used", "name")

_HASH = re.compile(r"[0-9a-f]{64}")


def upload(client: Client, paths: Sequence[pathlib.Path], output: Output) -> None:
    """Store the files that the server lacks and write what became of each."""
    display = progress.chosen(wanted=None, is_quiet=False, is_stdout_shared=False)
    try:
        with display:
            uploaded = client.upload_missing(paths, display.uploading)
    except KeyboardInterrupt:
        terminal.note("dshpc: interrupted; the same command again goes on where this one stopped")
        raise
    rows: list[listing.Row] = []
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
            rows.append((file.file_hash, size, done, str(file.path)))
    if rows:
        listing.show(("hash", ">size", "", "path"), rows)


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


def list_some(client: Client, output: Output, *, limit: int) -> None:
    """Write the newest files, at most `limit`."""
    files = client.files(page_size=min(limit + 1, _MOST_PAGE_ROWS))
    rows: list[listing.Row] = []
    for file in itertools.islice(files, limit):
        if output is Output.JSON:
            terminal.json_line(terminal.as_json(file))
            continue
        moments = (words.moment(file, name) for name in ("create_time", "last_used_time"))
        rows.append((file.file_hash, terminal.size(file.size_bytes), *moments, file.filename))
    has_more = next(files, None) is not None
    if rows:
        listing.show(_HEADINGS, rows)
    elif output is Output.TABLE:
        terminal.note("no files")
    if has_more:
        sys.stdout.flush()
        terminal.note(f"the newest {terminal.counted(limit, 'file')}; --limit shows more")


def show(client: Client, file_hash: str, output: Output) -> None:
    """Write what is known of one file."""
    file = client.file(file_hash)
    if output is Output.JSON:
        terminal.json_line(terminal.as_json(file))
        return
    terminal.print_pairs(
        {
            "hash": file.file_hash,
            "size": f"{terminal.size(file.size_bytes)} ({file.size_bytes} bytes)",
            "name": file.filename,
            "media_type": file.media_type,
            "stored": words.moment(file, "create_time"),
            "last_used": words.moment(file, "last_used_time"),
        }
    )


def delete(client: Client, file_hashes: Sequence[str], output: Output) -> int:
    """Remove files, write which are gone, and return the exit code."""
    exit_code = exit_codes.COMPLETED
    rows: list[listing.Row] = []
    try:
        for file_hash in dict.fromkeys(file_hashes):
            try:
                file = client.file(file_hash)
                client.delete_file(file_hash)
            except (ServerUnavailableError, TimedOutError):
                raise  # the others would fare no better
            except CallError as error:
                terminal.note(f"dshpc: {file_hash}: {failures.described(error)}")
                exit_code = exit_codes.NOT_COMPLETED
                continue
            if output is Output.JSON:
                terminal.json_line(_removed(file))
            else:
                size = terminal.size(file.size_bytes)
                rows.append((file.file_hash, size, "removed", file.filename))
    finally:
        if rows:
            listing.show(("hash", ">size", "", "name"), rows)
    return exit_code


def _removed(file: file_service_pb2.File) -> dict[str, object]:
    return {**terminal.as_json(file), "removed": True}
