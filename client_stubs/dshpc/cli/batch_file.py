"""Reading a batch file: what is to be run, over which local files.

    display_name: two methods over some tables
    files: {clinic: data/2024/clinic.csv}
    jobs:
      - {method: count_lines, file: clinic}
    matrix:
      - {method: column_stats, files: [clinic, "*.csv"], parameters: [{bins: 5}, {bins: 10}]}

A matrix is every file with every one of its parameters, in that order; its rows are named
METHOD/FILE_STEM/NUMBER. `files` gives names to paths, which are relative to the batch file.
"""

import collections
import dataclasses
import glob
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping

from google.protobuf import duration_pb2

from dshpc.cli import batch_options, documents, fields, policies
from dshpc.cli.batch import DEFAULT_INPUT, Batch, Row, Source
from dshpc.cli.documents import Json
from dshpc.cli.fields import BatchFileError
from dshpc.v1 import types_pb2

MAX_ROWS = 1_000_000
"""Stops a matrix that was not meant; the server's own limit is lower."""

_BATCH = batch_options.KNOWN | {"files", "jobs", "matrix", "options"}
_NEEDS = frozenset({"method", "function_hash", "parameters", "timeout", "resources", "cache"})
_JOB = _NEEDS | {"config_id", "file", "file_hash", "inputs"}
_MATRIX = _NEEDS | {"files"}
_RESOURCES = frozenset({"cpus", "memory", "gpus"})


def read(name: str) -> Batch:
    """Read a batch file, or stdin for `-`. Raises BatchFileError, which names file and place."""
    if name == "-":
        shown, folder = "stdin", pathlib.Path()
        content = sys.stdin.buffer.read()
    else:
        shown, folder = name, pathlib.Path(name).parent
        try:
            content = pathlib.Path(name).read_bytes()
        except OSError as error:
            raise BatchFileError(shown, error.strerror or "cannot be read") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BatchFileError(shown, "is not UTF-8 text") from error
    try:
        return parse(text, folder=folder, is_json=name.endswith(".json"))
    except BatchFileError as error:
        raise BatchFileError(shown, str(error)) from error


def parse(text: str, *, folder: pathlib.Path, is_json: bool = False) -> Batch:
    """Read a batch file's text. Raises BatchFileError, which names the place."""
    try:
        document = documents.load(text, is_json=is_json)
    except documents.DocumentError as error:
        raise BatchFileError("", str(error)) from error
    top = fields.members("", document, _BATCH)
    if not top.keys() & {"jobs", "matrix"}:
        raise BatchFileError("", "nothing to run: give 'jobs' or 'matrix'")
    return batch_options.read(top, rows=_named(_Reader(folder, top).rows()))


def _named(rows: Iterable[tuple[str, Row]]) -> tuple[Row, ...]:
    """Number the names of a matrix; refuse a job's name that is taken."""
    places: dict[str, str] = {}
    numbers: collections.Counter[str] = collections.Counter()
    found: list[Row] = []
    for place, row in rows:
        if len(found) == MAX_ROWS:
            raise BatchFileError(place, f"the batch has more than {MAX_ROWS} jobs")
        name = row.config_id
        if place.startswith("matrix"):
            while name == row.config_id or name in places:
                numbers[row.config_id] += 1
                name = f"{row.config_id}/{numbers[row.config_id]}"
        elif name in places:
            raise BatchFileError(f"{place}.config_id", f"{name!r} already names {places[name]}")
        if name:
            places[name] = place
        found.append(row if name == row.config_id else dataclasses.replace(row, config_id=name))
    return tuple(found)


class _Reader:
    """Reads rows; knows the files that have a name, and the paths that were looked at."""

    def __init__(self, folder: pathlib.Path, top: Mapping[str, Json]) -> None:
        self._folder = folder
        self._top = top
        self._known: dict[str, Source] = {}
        named = top.get("files", {})
        if not isinstance(named, dict):
            raise BatchFileError("files", "must be a mapping of names to files")
        # In two steps: a name does not stand for another name.
        self._known = {name: self._source(f"files.{name}", named[name]) for name in named}

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield each row with its place in the file."""
        for name, read in (("jobs", self._job), ("matrix", self._matrix)):
            if name in self._top:
                for number, item in enumerate(fields.items(name, self._top[name])):
                    place = f"{name}[{number}]"
                    for row in read(place, item):
                        yield place, row

    def _job(self, place: str, value: Json) -> Iterator[Row]:
        job = fields.members(place, value, _JOB)
        config_id = ""
        if "config_id" in job:
            config_id = fields.text(f"{place}.config_id", job["config_id"])
        row = dataclasses.replace(
            _needs(place, job), config_id=config_id, inputs=self._inputs(place, job)
        )
        if "parameters" in job:
            parameters = fields.parameters(f"{place}.parameters", job["parameters"])
            row = dataclasses.replace(row, parameters=parameters)
        yield row

    def _inputs(self, place: str, job: Mapping[str, Json]) -> dict[str, Source]:
        given = [name for name in ("file", "file_hash", "inputs") if name in job]
        if len(given) > 1:
            raise BatchFileError(f"{place}.{given[1]}", f"not together with '{given[0]}'")
        if "file" in job:
            return {DEFAULT_INPUT: self._file(f"{place}.file", job["file"])}
        if "file_hash" in job:
            return {DEFAULT_INPUT: fields.file_hash(f"{place}.file_hash", job["file_hash"])}
        inputs = job.get("inputs", {})
        if not isinstance(inputs, dict):
            raise BatchFileError(f"{place}.inputs", "must be a mapping of names to files")
        return {
            name: self._source(f"{place}.inputs.{name}", source) for name, source in inputs.items()
        }

    def _source(self, place: str, value: Json) -> Source:
        if not isinstance(value, dict):
            return self._file(place, value)
        reference = fields.members(place, value, frozenset({"file_hash"}))
        return fields.file_hash(f"{place}.file_hash", reference.get("file_hash"))

    def _file(self, place: str, value: Json) -> Source:
        name = fields.text(place, value)
        if name not in self._known:
            path = self._folder / name
            if not path.is_file():
                problem = "is not a file" if path.exists() else "no such file"
                raise BatchFileError(place, f"{problem}: {path}")
            self._known[name] = path
        return self._known[name]

    def _matrix(self, place: str, value: Json) -> Iterator[Row]:
        matrix = fields.members(place, value, _MATRIX)
        needs = _needs(place, matrix)
        sets = fields.items(f"{place}.parameters", matrix.get("parameters", [{}]))
        structs = [
            fields.parameters(f"{place}.parameters[{number}]", parameters)
            for number, parameters in enumerate(sets)
        ]
        for source in self._files(place, matrix):
            name = needs.method_name if source is None else f"{needs.method_name}/{_stem(source)}"
            inputs = {} if source is None else {DEFAULT_INPUT: source}
            for struct in structs:
                yield dataclasses.replace(needs, config_id=name, inputs=inputs, parameters=struct)

    def _files(self, place: str, matrix: Mapping[str, Json]) -> Iterator[Source | None]:
        if "files" not in matrix:
            yield None
            return
        for number, item in enumerate(fields.items(f"{place}.files", matrix["files"])):
            item_place = f"{place}.files[{number}]"
            if isinstance(item, str) and self._is_pattern(item):
                yield from self._matches(item_place, item)
            else:
                yield self._source(item_place, item)

    def _is_pattern(self, name: str) -> bool:
        if name in self._known or not any(sign in name for sign in "*?["):
            return False
        return not (self._folder / name).is_file()

    def _matches(self, place: str, pattern: str) -> list[pathlib.Path]:
        # As in a shell, a star does not match hidden files; Path.glob does.
        names = sorted(glob.glob(pattern, root_dir=self._folder, recursive=True))  # noqa: PTH207  # see above
        found = [path for name in names if (path := self._folder / name).is_file()]
        if not found:
            raise BatchFileError(place, f"no file matches {pattern}")
        return found


def _needs(place: str, members: Mapping[str, Json]) -> Row:
    """Read what jobs and matrices share."""
    if "method" not in members:
        raise BatchFileError(place, "'method' is missing")
    timeout = None
    if "timeout" in members:
        timeout = duration_pb2.Duration()
        seconds = fields.seconds(f"{place}.timeout", members["timeout"])
        timeout.FromNanoseconds(round(seconds * 1e9))
    function_hash, cache = "", None
    if "function_hash" in members:
        function_hash = fields.file_hash(f"{place}.function_hash", members["function_hash"])
    if "cache" in members:
        cache = policies.read_cache(f"{place}.cache", members["cache"])
    return Row(
        method_name=fields.text(f"{place}.method", members["method"]),
        function_hash=function_hash,
        cache=cache,
        timeout=timeout,
        resources=_resources(f"{place}.resources", members.get("resources")),
    )


def _resources(place: str, value: Json) -> types_pb2.Resources | None:
    if value is None:
        return None
    given = fields.members(place, value, _RESOURCES)
    return types_pb2.Resources(
        cpus=fields.count(f"{place}.cpus", given.get("cpus", 0)),
        memory_bytes=fields.size_bytes(f"{place}.memory", given.get("memory", 0)),
        gpus=fields.count(f"{place}.gpus", given.get("gpus", 0)),
    )


def _stem(source: Source) -> str:
    """Return a short name for a source; a config_id has 256 bytes."""
    if isinstance(source, str):
        return source[:12]
    return source.stem.encode(errors="replace")[:120].decode(errors="ignore")
