"""The repository speaks of itself alone: no trace of the machine it was written on."""

import re

from support import documents

# Put together here, so that this file does not hold what it looks for.
FOLDERS = "|".join(["work", "root", "home"])
PRIVATE_PATH = re.compile(rf"(?<![\w.:/~}}])/(?:{FOLDERS})/[\w.]")


def text_files() -> dict[str, str]:
    found = {}
    for path in documents.files():
        data = path.read_bytes()
        if b"\0" not in data:
            found[str(path.relative_to(documents.ROOT))] = data.decode(errors="replace")
    return found


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    files = text_files()
    assert len(files) > 20
    found = {
        f"{name}:{number}": line.strip()
        for name, text in files.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if PRIVATE_PATH.search(line)
    }
    assert found == {}


def test_the_search_finds_what_it_is_for() -> None:
    assert PRIVATE_PATH.search("see /" + "root/.profile")
    assert not PRIVATE_PATH.search("below artwork/main")


def test_what_is_made_here_is_ignored() -> None:
    ignored = documents.text(".gitignore").split()
    assert {"/.venv/", "/.tools", "/build/", "/data/", "/dist/"} <= set(ignored)
