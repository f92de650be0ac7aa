"""The files that a batch file names: paths relative to it, patterns, and names it gives to them."""

import glob
import pathlib

from dshpc.cli import fields
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError
from dshpc.cli.sweeps import Source


class LocalFiles:
    """Knows the files that have a name, and the paths that were looked at."""

    def __init__(self, folder: pathlib.Path, named: Json) -> None:
        self._folder = folder
        self._known: dict[str, Source] = {}
        if not isinstance(named, dict):
            raise BatchFileError("files", "must be a mapping of names to files")
        # In two steps: a name does not stand for another name.
        self._known = {name: self.source(f"files.{name}", named[name]) for name in named}

    def source(self, place: str, value: Json) -> Source:
        """Return one file: a name, a path, or `{file_hash: HASH}`."""
        if not isinstance(value, dict):
            return self._file(place, value)
        reference = fields.members(place, value, frozenset({"file_hash"}))
        return fields.file_hash(f"{place}.file_hash", reference.get("file_hash"))

    def sources(self, place: str, value: Json) -> list[Source]:
        """Return files: those of a list, in which patterns are, or of one pattern alone."""
        if isinstance(value, str):
            return self.matches(place, value)
        found: list[Source] = []
        for number, item in enumerate(fields.items(place, value)):
            inner = f"{place}[{number}]"
            if isinstance(item, str):
                found += self.matches(inner, item)
            else:
                found.append(self.source(inner, item))
        return found

    def matches(self, place: str, name: str) -> list[Source]:
        """Return what a pattern stands for, sorted; a name that is none stands for its file."""
        if not self.is_pattern(name):
            return [self._file(place, name)]
        # As in a shell, a star does not match hidden files; Path.glob does.
        names = sorted(glob.glob(name, root_dir=self._folder, recursive=True))  # noqa: PTH207  # see above
        found: list[Source] = [path for n in names if (path := self._folder / n).is_file()]
        if not found:
            raise BatchFileError(place, f"no file matches {name}")
        return found

    def is_pattern(self, name: str) -> bool:
        """Whether a name is a pattern: a file that is called so comes first."""
        if name in self._known or not any(sign in name for sign in "*?["):
            return False
        return not (self._folder / name).is_file()

    def _file(self, place: str, value: Json) -> Source:
        name = fields.text(place, value)
        if name not in self._known:
            path = self._folder / name
            if not path.is_file():
                problem = "is not a file" if path.exists() else "no such file"
                raise BatchFileError(place, f"{problem}: {path}")
            self._known[name] = path
        return self._known[name]


def short_name(source: Source, *, with_suffix: bool) -> str:
    """Return a short name for a source; a config_id has 256 bytes."""
    if isinstance(source, str):
        return source[:12]
    name = source.name if with_suffix else source.stem
    return name.encode(errors="replace")[:120].decode(errors="ignore")
