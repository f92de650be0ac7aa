"""What a method is: its manifest as a value, and a loaded version that completes parameters.

Promise: a `MethodVersion` never changes, and its parameters are completed and checked the same way
however often and from whatever thread.
"""

import copy
import dataclasses
import datetime
import pathlib
from collections.abc import Mapping
from typing import Any

import jsonschema

from dshpc_server.domain.identity import Json
from dshpc_server.domain.rejection import Violation
from dshpc_server.methods import errors

TYPES = ("string", "boolean", "integer", "number", "array", "object")
MAX_VIOLATIONS = 20
_MAX_SHOWN_CHARACTERS = 64
# Values of exactly these Python types are valid beyond doubt, which spares most rows the validator
# (22 us for four parameters, 2 s for a request of 100,000). Whatever else comes, it decides.
_PLAIN_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter that a manifest declares."""

    name: str
    type: str
    """One of `TYPES`."""
    description: str
    required: bool
    default: Json
    """None unless has_default; must not be changed by who reads it."""
    has_default: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredResources:
    """What a manifest says a run needs; None where it says nothing."""

    cpus: int | None = None
    memory_bytes: int | None = None
    gpus: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What the administrator wrote about a method, read and checked."""

    name: str
    version: str
    """For people, and part of the hash; empty when not given."""
    description: str
    command: tuple[str, ...]
    """The command's words, at least one."""
    script_path: str
    """Relative POSIX path inside the script folder."""
    parameters: tuple[Parameter, ...]
    inputs: tuple[str, ...]
    """Names of the input files; the first is INPUT_PATH."""
    resources: DeclaredResources
    timeout_seconds: float | None
    expected_seconds: float | None
    """How long a run takes, as far as the administrator knows; None when not said."""
    environment: str
    """Names the software environment, and is part of the hash; empty when not given."""
    deterministic: bool
    """Whether the same inputs and parameters give the same output; true when not given."""

    @property
    def accepts_any(self) -> bool:
        """Whether any parameters are accepted, because none is declared."""
        return not self.parameters

    def parameter_schema(self) -> dict[str, Any]:
        """Return the JSON schema (Draft 2020-12) that a job's parameters are checked against.

        It holds for what a client sends as well as after defaults are filled in: what has a default
        is never asked for.
        """
        schema: dict[str, Any] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
        }
        if self.accepts_any:
            return schema
        return schema | {
            "properties": {p.name: _parameter_schema(p) for p in self.parameters},
            "required": [p.name for p in self.parameters if p.required and not p.has_default],
            "additionalProperties": False,
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MethodVersion(Manifest):
    """A manifest that was loaded together with its script folder."""

    function_hash: str
    """See `methods.tree`."""
    directory: pathlib.Path
    """The read-only snapshot of the script folder."""
    created_at: datetime.datetime
    """When this name was first loaded with this hash."""
    _validator: Any = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validator = jsonschema.Draft202012Validator(self.parameter_schema())
        object.__setattr__(self, "_validator", validator)

    def complete(self, parameters: Mapping[str, Json]) -> dict[str, Json]:
        """Return these parameters with the defaults filled in; raise ParameterError if unfit.

        Numbers are expected as `domain.identity.normal_number` gives them. Neither the argument
        nor a default is changed or shared with the answer at the top level.
        """
        if self.accepts_any:
            return dict(parameters)
        completed = {p.name: copy.deepcopy(p.default) for p in self.parameters if p.has_default}
        completed.update(parameters)
        if not self._plainly_fit(completed):
            violations = self._violations(completed)
            if violations:
                raise errors.ParameterError(violations)
        return completed

    def _plainly_fit(self, completed: Mapping[str, Json]) -> bool:
        known = 0
        for parameter in self.parameters:
            if parameter.name in completed:
                known += 1
                if type(completed[parameter.name]) not in _PLAIN_TYPES[parameter.type]:
                    return False
            elif parameter.required:
                return False
        return known == len(completed)

    def _violations(self, completed: Mapping[str, Json]) -> tuple[Violation, ...]:
        # Values are not repeated: they may be long, and they may be secret.
        found = list(self._validator.iter_errors(completed))
        wrong = {error.absolute_path[0] for error in found if error.absolute_path}
        violations = []
        for p in self.parameters:
            if p.required and p.name not in completed:
                violations.append(_violation(p.name, "is required"))
            elif p.name in wrong:
                violations.append(_violation(p.name, f"is not of type {p.type}"))
        unknown = completed.keys() - {p.name for p in self.parameters}
        violations += [
            _violation(name, f"is not a parameter of method '{self.name}'")
            for name in sorted(unknown)
        ]
        return _at_most(violations)


def _parameter_schema(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.type}
    if parameter.description:
        schema["description"] = parameter.description
    if parameter.has_default:
        schema["default"] = copy.deepcopy(parameter.default)
    return schema


def _violation(name: str, description: str) -> Violation:
    # The name may be the client's own: it is kept short and free of control characters.
    shown = name[: _MAX_SHOWN_CHARACTERS + 1]
    if not shown.isprintable():
        shown = ascii(shown)[1:-1]
    if len(shown) > _MAX_SHOWN_CHARACTERS:
        shown = shown[:_MAX_SHOWN_CHARACTERS] + "…"
    return Violation(field=f"parameters.{shown}", description=description)


def _at_most(violations: list[Violation]) -> tuple[Violation, ...]:
    if len(violations) <= MAX_VIOLATIONS:
        return tuple(violations)
    more = len(violations) - MAX_VIOLATIONS
    last = Violation(field="parameters", description=f"has {more} more violations")
    return (*violations[:MAX_VIOLATIONS], last)
