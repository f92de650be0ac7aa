"""The manifests of a methods folder: METHODS_DIR/commands/*.json.

Promise: each is read and checked by itself, so a broken one hides no other. Two of one name are
both broken: nobody knows which was meant.
"""

import collections
import dataclasses
import pathlib
from typing import Any

from dshpc_server.methods import errors, manifest, method


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BrokenManifest:
    """Something that was left out of a load, or could not be taken up anew."""

    file: pathlib.Path
    reason: str
    is_unread: bool = False
    """The disk did not give it back, which says nothing about the method."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A manifest that could be read."""

    file: pathlib.Path
    document: dict[str, Any]
    """As it was written."""
    manifest: method.Manifest


def find(methods_dir: pathlib.Path) -> tuple[list[Found], list[BrokenManifest]]:
    """Read every manifest, each name at most once; MethodsDirError if the folder cannot be read."""
    found: dict[str, list[Found]] = collections.defaultdict(list)
    broken = []
    for file in _files(methods_dir):
        try:
            document = manifest.document(file)
            parsed = manifest.parse(document, file)
        except errors.ManifestError as error:
            is_unread = isinstance(error, errors.UnreadableError)
            broken.append(BrokenManifest(file=file, reason=error.reason, is_unread=is_unread))
        else:
            found[parsed.name].append(Found(file=file, document=document, manifest=parsed))
    for name, same in found.items():
        if len(same) > 1:
            files = ", ".join(one.file.name for one in same)
            reason = f"name '{name}' is in several manifests: {files}"
            broken += [BrokenManifest(file=one.file, reason=reason) for one in same]
    return [same[0] for same in found.values() if len(same) == 1], broken


def _files(methods_dir: pathlib.Path) -> list[pathlib.Path]:
    try:
        # An empty folder is a site without methods yet; a missing one is a mistake.
        commands = methods_dir / "commands"
        if commands not in methods_dir.iterdir():
            return []
        files = sorted(commands.iterdir())
    except OSError as error:
        raise errors.MethodsDirError(methods_dir, errors.reason(error)) from error
    return [file for file in files if file.suffix == ".json" and file.name[0] != "."]
