"""A small content for tests of the content store, and what lies in its folder."""

import hashlib
import pathlib

DATA = b"some bytes"
HASH = hashlib.sha256(DATA).hexdigest()


def files(root: pathlib.Path) -> list[pathlib.Path]:
    """Everything in the store's folder but folders."""
    return [path for path in root.rglob("*") if not path.is_dir()]
