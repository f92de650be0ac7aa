"""Where in a batch file's text a place like `jobs[3].parameters` stands: its line and column."""

import re

import yaml

from dshpc.cli import documents, fields

_ITEM = re.compile(r"\[(\d+)\]")


def position(text: str, place: str) -> str:
    """Return `LINE:COLUMN` of a place, or of what is around it; nothing when it cannot be found."""
    try:
        node = documents.compose(text)
    except documents.DocumentError:  # not YAML, as some JSON: the place alone must do
        return ""
    if node is None or not place:
        return ""
    mark = _mark(node, place)
    return f"{mark.line + 1}:{mark.column + 1}"


def _mark(node: yaml.Node, place: str) -> yaml.Mark:
    """Walk down as far as the place goes and the document has it."""
    mark = node.start_mark
    left = place
    while left:
        if isinstance(node, yaml.MappingNode):
            found = _member(node, left)
        elif isinstance(node, yaml.SequenceNode):
            found = _item(node, left)
        else:
            break
        if found is None:
            break
        mark, node, left = found
    return mark


def _member(node: yaml.MappingNode, place: str) -> tuple[yaml.Mark, yaml.Node, str] | None:
    """Take the longest key that the place begins with: a key may hold dots."""
    found: tuple[yaml.Mark, yaml.Node, str] | None = None
    longest = 0
    for key, value in node.value:
        for name in (str(key.value), fields.own_name(str(key.value))):
            rest = place[len(name) :]
            is_whole = not rest or rest[0] in ".["
            if place.startswith(name) and is_whole and len(name) > longest:
                longest = len(name)
                found = key.start_mark, value, rest.removeprefix(".")
    return found


def _item(node: yaml.SequenceNode, place: str) -> tuple[yaml.Mark, yaml.Node, str] | None:
    number = _ITEM.match(place)
    if number is None or int(number[1]) >= len(node.value):
        return None
    item = node.value[int(number[1])]
    return item.start_mark, item, place[number.end() :].removeprefix(".")
