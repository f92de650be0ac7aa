"""Read one manifest file.

Promise: what comes out is complete and fit to run, or there is a `ManifestError` that names the
file and the reason. Manifests of existing sites load unchanged: keys that are not known are passed
over, and the older words for types (`float`, `int`, `bool`, `list`, `dict`) are understood.

    {"name": …, "description": …, "version": …, "command": "python3 -u", "script_path": "main.py",
     "parameters": [{"name": …, "description": …, "type": …, "required": …, "default": …}],
     "inputs": [{"name": …}], "resources": {"cpus": …, "memory_bytes" | "memory_mb": …, "gpus": …},
     "timeout_seconds": …, "expected_seconds": …, "environment": …, "deterministic": …}

Needed are name, command and script_path. `null` counts as not given everywhere, so a default of
`null` is no default. The name in the manifest counts, not the file's.
"""

import json
import pathlib
import re
import shlex
import stat
from collections.abc import Mapping
from typing import Any

import jsonschema

from dshpc_server import disk
from dshpc_server.domain import identity
from dshpc_server.methods import errors, fields, method

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_NAME_BYTES = 128
# Ten years: what a deadline can be reckoned with on every clock.
MAX_TIMEOUT_SECONDS = 10 * 365 * 24 * 3600
MAX_DEFAULT_DEPTH = 16
"""A default is told to clients as a protobuf message, which they read 100 levels deep. A level of
objects takes three, and what is around a default eleven."""
_OLDER_TYPES = {
    "float": "number",
    "int": "integer",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
_INPUT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_DEFAULT_INPUTS = ("input",)
_BYTES_PER_MB = 1024 * 1024


def read(file: pathlib.Path) -> method.Manifest:
    """Read and check a manifest file."""
    return parse(document(file), file)


def document(file: pathlib.Path) -> dict[str, Any]:
    """Read a manifest file as JSON, unchecked but for being an object.

    UnreadableError when the disk does not give it back.
    """
    try:
        value = json.loads(_text(file), parse_constant=_refuse_constant)
    except OSError as error:
        kind = errors.ManifestError if isinstance(error, disk.ABSENT) else errors.UnreadableError
        raise kind(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise errors.ManifestError(file, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise errors.ManifestError(file, "is not a JSON object")
    return value


def parse(manifest: Mapping[str, Any], file: pathlib.Path) -> method.Manifest:
    """Check a manifest that was read before; `file` is for the reason only."""
    try:
        return method.Manifest(
            name=_name(manifest),
            version=fields.optional(manifest, "version", str, ""),
            description=fields.optional(manifest, "description", str, ""),
            command=_command(manifest),
            script_path=_script_path(manifest),
            parameters=_parameters(manifest),
            inputs=_inputs(manifest),
            resources=_resources(manifest),
            timeout_seconds=_seconds(manifest, "timeout_seconds"),
            expected_seconds=_seconds(manifest, "expected_seconds"),
            environment=fields.optional(manifest, "environment", str, ""),
            deterministic=fields.optional(manifest, "deterministic", bool, default=True),
        )
    except fields.InvalidError as error:
        raise errors.ManifestError(file, str(error)) from error


def is_name(name: str) -> bool:
    """Whether a method may be called so. It names a folder: never hidden, never another's."""
    fits = name.isprintable() and name == name.strip() and len(name.encode()) <= MAX_NAME_BYTES
    return fits and bool(name) and not name.startswith(".") and "/" not in name


def _text(file: pathlib.Path) -> str:
    # Asked before it is opened: opening a FIFO would wait for a writer.
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > MAX_MANIFEST_BYTES:
        raise ValueError(f"it is larger than {MAX_MANIFEST_BYTES} bytes")
    return file.read_text(encoding="utf-8-sig")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _name(manifest: Mapping[str, Any]) -> str:
    name = fields.needed(manifest, "name", str)
    if not is_name(name):
        raise fields.InvalidError(
            f"name {name[:MAX_NAME_BYTES]!r} is not one: at most {MAX_NAME_BYTES} bytes, printable,"
            " no '/', no '.' or space in front"
        )
    return name


def _command(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    command = fields.needed(manifest, "command", str)
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise fields.InvalidError(f"command cannot be split into words: {error}") from error
    if not words or not words[0]:
        raise fields.InvalidError("command names no program")
    return words


def _script_path(manifest: Mapping[str, Any]) -> str:
    script_path = pathlib.PurePosixPath(fields.needed(manifest, "script_path", str))
    if script_path.is_absolute() or ".." in script_path.parts or not script_path.parts:
        raise fields.InvalidError("script_path must name a file inside the script folder")
    return str(script_path)


def _parameters(manifest: Mapping[str, Any]) -> tuple[method.Parameter, ...]:
    entries = fields.optional(manifest, "parameters", list, [])
    parameters = tuple(_parameter(entry) for entry in entries)
    fields.refuse_repeated("parameter", [parameter.name for parameter in parameters])
    return parameters


def _parameter(entry: object) -> method.Parameter:
    if not isinstance(entry, dict):
        raise fields.InvalidError("each of parameters must be an object")
    name = fields.needed(entry, "name", str)
    try:
        declared_type = fields.needed(entry, "type", str)
        default = entry.get("default")
        parameter = method.Parameter(
            name=name,
            type=_OLDER_TYPES.get(declared_type, declared_type),
            description=fields.optional(entry, "description", str, ""),
            required=fields.optional(entry, "required", bool, default=False),
            default=default,
            has_default=default is not None,
        )
        _check_parameter(parameter)
    except fields.InvalidError as error:
        raise fields.InvalidError(f"parameter {name!r}: {error}") from error
    return parameter


def _check_parameter(parameter: method.Parameter) -> None:
    if parameter.type not in method.TYPES:
        raise fields.InvalidError(
            f"type {parameter.type!r} is none of {', '.join((*method.TYPES, *_OLDER_TYPES))}"
        )
    if not parameter.has_default:
        return
    if not jsonschema.Draft202012Validator({"type": parameter.type}).is_valid(parameter.default):
        raise fields.InvalidError(f"the default is not of type {parameter.type}")
    try:
        identity.canonical(parameter.default)
    except (ValueError, RecursionError) as error:
        raise fields.InvalidError(f"the default has no canonical form: {error}") from error
    if _depth(parameter.default) > MAX_DEFAULT_DEPTH:
        raise fields.InvalidError(f"the default is nested deeper than {MAX_DEFAULT_DEPTH} levels")


def _depth(value: identity.Json) -> int:
    """How many lists and objects are inside one another at the most."""
    depth, level = 0, [value]
    while nested := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [
            inner
            for each in nested
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def _inputs(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    entries = manifest.get("inputs")
    if entries is None:
        return _DEFAULT_INPUTS
    names = tuple(_input(entry) for entry in fields.needed(manifest, "inputs", list))
    # Each becomes INPUT_FILE_<NAME> in capitals.
    fields.refuse_repeated("input", [name.upper() for name in names])
    return names


def _input(entry: object) -> str:
    name = fields.needed(entry, "name", str) if isinstance(entry, dict) else entry
    if not isinstance(name, str) or not _INPUT_NAME.fullmatch(name):
        raise fields.InvalidError(
            f"input {name!r} is not a name: a letter, then at most 63 letters, digits or '_'"
        )
    return name


def _resources(manifest: Mapping[str, Any]) -> method.DeclaredResources:
    declared = fields.optional(manifest, "resources", dict, {})
    cpus = fields.integer_from(1, declared, "cpus")
    memory_bytes = fields.integer_from(1, declared, "memory_bytes")
    memory_mb = fields.integer_from(1, declared, "memory_mb")
    if memory_mb is not None:
        if memory_bytes is not None:
            raise fields.InvalidError("resources: give memory_bytes or memory_mb, not both")
        memory_bytes = memory_mb * _BYTES_PER_MB
    gpus = fields.integer_from(0, declared, "gpus")
    return method.DeclaredResources(cpus=cpus, memory_bytes=memory_bytes, gpus=gpus)


def _seconds(manifest: Mapping[str, Any], name: str) -> float | None:
    value = manifest.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value <= MAX_TIMEOUT_SECONDS:
        raise fields.InvalidError(f"{name} must be a number above 0, at most {MAX_TIMEOUT_SECONDS}")
    return float(value)
