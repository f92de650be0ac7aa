"""Folders whose names last."""

import os
import pathlib


def fsync(folder: pathlib.Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make(folder: pathlib.Path) -> None:
    """Make a folder, durably, unless it is there; on failure it is not."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    try:
        fsync(folder.parent)
    except OSError:
        folder.rmdir()
        raise
