"""Count the words of every text in a folder, and put the outputs into another.

python examples/clients/folder.py TEXTS OUTPUTS [HOST:PORT]

Run it again after a text has changed: only that one is uploaded and counted.
"""
# ruff: noqa: T201 - what it prints is what it is for

import pathlib
import sys

from dshpc import client
from dshpc.v1 import types_pb2


def main(texts: str, outputs: str, target: str = "127.0.0.1:50051") -> int:
    """Return 1 if a job has not completed."""
    paths = sorted(pathlib.Path(texts).glob("*.txt"))
    folder = pathlib.Path(outputs)
    folder.mkdir(parents=True, exist_ok=True)
    with client.Client(target) as dshpc:
        uploaded = dshpc.upload_missing(paths, shown)
        print(f"{sum(file.uploaded for file in uploaded)} of {len(uploaded)} texts uploaded")
        batch = dshpc.run_each(
            [
                types_pb2.JobConfig(method_name="word_count", file_hash=file.file_hash)
                for file in uploaded
            ],
            # Outputs are wanted as files, whatever their size.
            options=types_pb2.BatchOptions(max_inline_output_bytes=0),
        )
        failed = 0
        for row in batch:
            name = paths[row.index].stem  # `index` is the place in the request
            if row.new_status == types_pb2.JOB_STATUS_COMPLETED:
                size_bytes = dshpc.download(row.output_hash, folder / f"{name}.json")
                print(f"{name}: {size_bytes} bytes ({row.message})")
            else:
                failed += 1
                print(f"{name}: {row.message}: {row.error.message}", file=sys.stderr)
    return 1 if failed else 0


def shown(progress: client.UploadProgress) -> None:
    """Tell how far the upload is, on one line."""
    end = "\n" if progress.files_done == progress.files_total else ""
    print(f"\r{progress.bytes_done:,} of {progress.bytes_total:,} bytes", end=end, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
