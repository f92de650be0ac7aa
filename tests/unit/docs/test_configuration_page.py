"""docs/configuration.md lists every setting as it is, and what it shows works."""

import pathlib
import re
from typing import Any

import pytest

from dshpc_server import config
from support import documents

PAGE = "docs/configuration.md"
FIELDS = config.Settings.model_fields
ROW = re.compile(r"^\| `(\w+)` \| `(.*?)` \| `(.*?)` \| (.*?) \| (.*?) \|$", re.MULTILINE)
ROWS = {row[0]: row[1:] for row in ROW.findall(documents.text(PAGE))}


def shown(default: object) -> str:
    """How the page writes a default that is the same on every machine."""
    if default == "":
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    is_whole = isinstance(default, float) and default.is_integer()
    return f"`{int(default) if is_whole else default}`"  # type: ignore[call-overload]  # a float


def test_every_setting_has_one_row_and_nothing_else_has() -> None:
    listed = [row[0] for row in ROW.findall(documents.text(PAGE))]
    assert sorted(listed) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_flag_variable_default_and_meaning_are_those_of_the_setting(name: str) -> None:
    flag, variable, default, meaning = ROWS[name]
    assert flag == f"--{name.replace('_', '-')}"
    assert variable == f"DSHPC_{name.upper()}"
    assert meaning == FIELDS[name].description
    if FIELDS[name].default_factory is None:
        assert default == shown(FIELDS[name].default)
    else:
        assert "machine" in default


def test_the_file_on_the_page_is_read_as_it_stands(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FIELDS:
        monkeypatch.delenv(f"DSHPC_{name.upper()}", raising=False)
    (example,) = documents.blocks(PAGE, "toml")
    file = tmp_path / "example.toml"
    file.write_text(example)
    given: dict[str, Any] = config.load(file, {}).model_dump(exclude_unset=True)
    assert given.keys() == set(re.findall(r"^(\w+) =", example, re.MULTILINE))
