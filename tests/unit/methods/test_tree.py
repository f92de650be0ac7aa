"""The hash of a method: what changes it, what does not, and that it is what it always was."""

import hashlib
import os
import pathlib
import random
import socket

import hypothesis
import pytest
from hypothesis import strategies

from dshpc_server.methods import errors, tree
from support import methods_site

MANIFEST = methods_site.parsed(
    command="python3 -u", version="1.0.0", script_path="main.py", environment="python:3.12"
)
NAMES = ["a", "b", "main.py", "lib/a", "lib/b", "lib/deep/a", "é"]
FILES = strategies.dictionaries(strategies.sampled_from(NAMES), strategies.binary(max_size=8)).map(
    lambda files: {"main.py": b""} | files
)


def write(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


@pytest.fixture
def script(tmp_path: pathlib.Path) -> pathlib.Path:
    return write(tmp_path / "script", {"main.py": b"print(1)\n", "lib/part.py": b"x = 1\n"})


def hash_of(folder: pathlib.Path) -> str:
    return tree.function_hash(folder, MANIFEST)


def test_the_recipe_never_changes(script: pathlib.Path) -> None:
    (script / "run.sh").write_bytes(b"")
    (script / "run.sh").chmod(0o755)
    fields = [
        b"dshpc-function-1",
        *(b"2", b"python3", b"-u"),
        *(b"main.py", b"1.0.0", b"python:3.12"),
        *(b"lib/part.py", b"-", b"x = 1\n"),
        *(b"main.py", b"-", b"print(1)\n"),
        *(b"run.sh", b"x", b""),
    ]
    framed = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    golden = "2eb51b051561ddce2beb7eebf0bec4abfd7855fb4ea7f2e6571ad00bc7cb9ba9"
    assert hashlib.sha256(framed).hexdigest() == golden
    assert hash_of(script) == golden


def test_renaming_a_file_changes_the_hash(script: pathlib.Path) -> None:
    before = hash_of(script)
    (script / "lib/part.py").rename(script / "lib/part2.py")
    assert hash_of(script) != before


def test_moving_bytes_from_one_file_to_the_next_changes_the_hash(script: pathlib.Path) -> None:
    before = hash_of(script)
    write(script, {"lib/part.py": b"x = 1", "main.py": b"\nprint(1)\n"})
    assert hash_of(script) != before


def test_moving_bytes_from_the_name_to_the_contents_changes_the_hash(
    tmp_path: pathlib.Path,
) -> None:
    one = write(tmp_path / "one", {"main.py": b"", "a": b"bc"})
    other = write(tmp_path / "other", {"main.py": b"", "ab": b"c"})
    assert hash_of(one) != hash_of(other)


def test_the_execute_bit_changes_the_hash_and_other_bits_do_not(script: pathlib.Path) -> None:
    before = hash_of(script)
    (script / "main.py").chmod(0o600)
    assert hash_of(script) == before
    (script / "main.py").chmod(0o744)
    assert hash_of(script) != before


def test_hidden_files_count(script: pathlib.Path) -> None:
    before = hash_of(script)
    write(script, {".settings": b"1"})
    assert hash_of(script) != before


def test_compiled_files_and_empty_folders_do_not_count(script: pathlib.Path) -> None:
    before = hash_of(script)
    write(script, {"lib/__pycache__/part.cpython-311.pyc": b"\0"})
    (script / "empty/inner").mkdir(parents=True)
    assert hash_of(script) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "python3"},
        {"command": "python3-u"},
        {"version": "1.0.1"},
        {"environment": ""},
        {"version": "1.0.0python", "environment": ":3.12"},
        {"script_path": "lib/part.py"},
    ],
)
def test_what_the_manifest_says_about_running_changes_the_hash(
    script: pathlib.Path, fields: dict[str, object]
) -> None:
    standard = {"command": "python3 -u", "version": "1.0.0", "environment": "python:3.12"}
    assert tree.function_hash(script, methods_site.parsed(**standard | fields)) != hash_of(script)


def test_what_it_says_to_people_does_not(script: pathlib.Path) -> None:
    other = methods_site.parsed(
        name="another",
        command="python3  -u",
        version="1.0.0",
        environment="python:3.12",
        description="other words",
        timeout_seconds=3,
        expected_seconds=2,
    )
    assert tree.function_hash(script, other) == hash_of(script)


@hypothesis.given(one=FILES, other=FILES)
def test_two_trees_have_one_hash_only_if_they_are_equal(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    first, second = write(folder / "one", one), write(folder / "other", other)
    assert (hash_of(first) == hash_of(second)) == (one == other)


@hypothesis.given(files=FILES, seed=strategies.randoms(use_true_random=False))
def test_the_order_in_which_files_were_made_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    shuffled = list(files.items())
    seed.shuffle(shuffled)
    first, second = write(folder / "one", files), write(folder / "other", dict(shuffled))
    assert hash_of(first) == hash_of(second)


def test_a_script_that_is_missing_is_told(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "script", {"other.py": b""})
    with pytest.raises(errors.TreeError, match=r"script 'main\.py' is missing"):
        hash_of(tmp_path / "script")


def test_a_script_folder_that_is_missing_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.TreeError, match=r"script folder .* is missing"):
        hash_of(tmp_path / "script")


def test_a_script_folder_that_is_a_link_is_refused(
    script: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "link").symlink_to(script)
    with pytest.raises(errors.TreeError, match="is a symbolic link"):
        hash_of(tmp_path / "link")


@pytest.mark.parametrize("target", ["/etc/passwd", "main.py", "lib", "nowhere"])
def test_a_link_inside_is_refused_wherever_it_leads(script: pathlib.Path, target: str) -> None:
    (script / "lib/link").symlink_to(target)
    with pytest.raises(errors.TreeError, match="'lib/link' is a symbolic link"):
        hash_of(script)


def test_a_fifo_is_refused_and_not_waited_for(script: pathlib.Path) -> None:
    os.mkfifo(script / "pipe")
    with pytest.raises(errors.TreeError, match="'pipe' is neither a file nor a folder"):
        hash_of(script)


def test_a_socket_is_refused(script: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(script)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        with pytest.raises(errors.TreeError, match="'s' is neither a file nor a folder"):
            hash_of(script)


def test_a_fifo_put_in_the_place_of_a_listed_file_is_not_waited_for(
    script: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tree.paths(script)
    (script / "main.py").unlink()
    os.mkfifo(script / "main.py")
    monkeypatch.setattr(tree, "paths", lambda _: listed)
    with pytest.raises(errors.TreeError, match=r"'main\.py' is not a regular file"):
        hash_of(script)


def test_a_file_that_grows_while_it_is_read_is_told(
    script: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.read

    def read_while_growing(descriptor: int, size: int) -> bytes:
        with (script / "main.py").open("ab") as file:
            file.write(b"#" if file.tell() < 100 else b"")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", read_while_growing)
    with pytest.raises(errors.TreeError, match=r"'main\.py' changed while it was read"):
        hash_of(script)


def test_a_copy_has_the_hash_and_is_read_only(script: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (script / "run.sh").write_bytes(b"exit\n")
    (script / "run.sh").chmod(0o700)
    write(script, {"__pycache__/main.pyc": b"\0"})
    (script / "empty").mkdir()

    copied = tmp_path / "copy"
    tree.copy(script, copied)

    assert hash_of(copied) == hash_of(script)
    modes = {
        str(path.relative_to(copied)): path.stat().st_mode & 0o777 for path in copied.rglob("*")
    }
    assert modes == {"lib": 0o555, "lib/part.py": 0o444, "main.py": 0o444, "run.sh": 0o555}
    assert copied.stat().st_mode & 0o777 == 0o555
