"""Uploads to a content store, whole or cut, of one small content."""

import hashlib
import pathlib

from dshpc_server.files import content, receipt

DATA = bytes(range(250))
HASH = hashlib.sha256(DATA).hexdigest()
WRONG = DATA[::-1]
DEADLINE_SECONDS = 30.0


def incoming(root: pathlib.Path) -> list[str]:
    """What is in the folder of what is coming."""
    return [path.name for path in (root / "incoming").iterdir()]


def receive(store: content.ContentStore, offset: int = 0) -> receipt.Receipt:
    """Begin an upload, or go on with one."""
    return store.receive(HASH, len(DATA), offset)


def cut(store: content.ContentStore, data: bytes, offset: int = 0) -> None:
    """Upload these bytes, and no more."""
    with receive(store, offset) as coming:
        coming.write(data)


def finish(store: content.ContentStore, offset: int) -> bool:
    """Send all from there on; whether it had been stored before."""
    with receive(store, offset) as coming:
        coming.write(DATA[offset:])
        return coming.commit()
