"""Reading a batch file: text in YAML or JSON to plain JSON values.

Stricter than YAML: what two YAML versions read differently (`no`, `012`, `1:30`), dates, and keys
given twice are errors that name the line, so that nothing is sent that was not meant. Numbers are
read as in YAML 1.2: `1e-3` is a number.
"""

import json
import re
from typing import TypeAlias

import yaml

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

_TOO_DEEP = "nested too deeply"
_MAX_DEPTH = 100
_DATE = "!date"
_AMBIGUOUS = "!ambiguous"
_PLAIN: dict[str, tuple[str, str]] = {
    # tag: pattern (in either case), characters it may begin with
    "tag:yaml.org,2002:bool": (r"true|false", "tTfF"),
    "tag:yaml.org,2002:null": (r"~|null|", "~nN"),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:merge": (r"<<", "<"),
    _DATE: (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?", "0123456789"),
    _AMBIGUOUS: (
        r"yes|no|on|off|[-+]?(?:0[0-9_]+|0o[0-7]+|0b[01_]+|[0-9]+_[0-9_]+|[0-9]+(?::[0-5]?[0-9])+)",
        "-+0123456789yYnNoO",
    ),
}


class DocumentError(Exception):
    """The text is no document that can be sent; the message names the line where it is known."""


def load(text: str, *, is_json: bool) -> Json:
    """Return the document's value. `is_json`: do not try YAML."""
    try:
        if is_json or text.lstrip().startswith("{"):
            try:
                return _load_json(text)
            except json.JSONDecodeError as error:
                if is_json:
                    raise DocumentError(f"{error.lineno}:{error.colno}: {error.msg}") from error
        return _load_yaml(text)
    except RecursionError as error:
        raise DocumentError(_TOO_DEEP) from error


def compose(text: str) -> yaml.Node | None:
    """Return the text as a tree of nodes that know their lines. Raises DocumentError."""
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(str(error)) from error
    return node


def _load_json(text: str) -> Json:
    try:
        value: Json = json.loads(text, object_pairs_hook=_distinct)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise DocumentError(str(error)) from error
    return value


def _distinct(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members: dict[str, Json] = {}
    for key, value in pairs:
        if key in members:
            raise DocumentError(f"key {key!r} is given twice")
        members[key] = value
    return members


def _load_yaml(text: str) -> Json:
    try:
        value: Json = yaml.load(text, Loader=_Loader)  # noqa: S506  # a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_described(error)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(str(error).splitlines()[0]) from error
    return value


def _described(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = "" if mark is None else f"{mark.line + 1}:{mark.column + 1}: "
    return place + (error.problem or error.context or "not YAML")


_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[valid-type,misc]  # chosen at run time: C where built
    """The safe loader with the readings of `_PLAIN` and without keys given twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # PyYAML's own attribute

    _depth = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: object) -> None:
        """Count the levels on the way down: the C parser has no limit but its stack."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise RecursionError
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        """Count the levels on the way up."""
        self._depth -= 1
        super().ascend_resolver()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: FBT001, FBT002  # PyYAML's own signature
        """Build a mapping; its keys are text and distinct."""
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        mapping: dict[object, object] = super().construct_mapping(node, deep=deep)
        return mapping


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.tag != "tag:yaml.org,2002:str":
            raise _problem("a key must be text: put it in quotes", key)
        if key.value in seen:
            raise _problem(f"key {key.value!r} is given twice", key)
        seen.add(key.value)


def _problem(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _refuse_date(_: object, node: yaml.Node) -> None:
    raise _problem(f"{node.value} is a date, which JSON does not have: put it in quotes", node)


def _refuse_ambiguous(_: object, node: yaml.Node) -> None:
    raise _problem(
        f"{node.value} is read differently by different versions of YAML: write true, false or a "
        "plain number, or put it in quotes",
        node,
    )


for _tag, (_pattern, _first) in _PLAIN.items():
    _compiled = re.compile(f"(?:{_pattern})$", re.IGNORECASE)
    _Loader.add_implicit_resolver(_tag, _compiled, [*_first, ""] if "null" in _tag else [*_first])
_Loader.add_constructor(_DATE, _refuse_date)
_Loader.add_constructor(_AMBIGUOUS, _refuse_ambiguous)
