"""A methods folder for tests: small bash methods whose jobs do what a test needs.

`hold` runs until the test lets it go, so that no test depends on how fast a machine is.
"""

import hashlib
import json
import os
import pathlib

SCRIPTS = {
    "echo": 'cat -- "$1"',
    "parameters": 'cat -- "$2"',
    "exit": 'echo leaving >&2; exit "$(tr -dc 0-9 < "$2")"',
    "hold": 'cat -- "$(cat -- "$1")"',
    "fail_once": 'marker=$(cat -- "$1"); [ -e "$marker" ] || { : > "$marker"; exit 1; }',
    # Each run adds a line to the file that its input names, and says so if it was not alone.
    "tally": 'tally=$(cat -- "$1"); mkdir -- "$tally.lock" || echo beside >> "$tally"; '
    'echo run >> "$tally"; rmdir -- "$tally.lock"; exit "$(tr -dc 0-9 < "$2")"',
    # The same; the first run fails, later ones wait at the gate beside the tally.
    "recover": 'tally=$(cat -- "$1"); echo run >> "$tally"; '
    '[ "$(wc -l < "$tally")" -gt 1 ] || exit 3; cat -- "$tally.gate"',
    "big": 'head -c "$(tr -dc 0-9 < "$2")" /dev/zero | tr "\\0" x',
    "die": 'kill -s "$(tr -dc A-Z < "$2")" $$',
}


def write(folder: pathlib.Path) -> pathlib.Path:
    """Write the methods; the methods folder."""
    methods_dir = folder / "methods"
    for name, script in SCRIPTS.items():
        install(methods_dir, name, script)
    install(methods_dir, "no_input", 'echo "input: $1"', inputs=[])
    install(
        methods_dir,
        "two_inputs",
        'cat -- "$INPUT_FILE_LEFT" "$INPUT_FILE_RIGHT"',
        inputs=[{"name": "left"}, {"name": "right"}],
    )
    install(
        methods_dir,
        "declared",
        'cat -- "$2"',
        parameters=[
            {"name": "bins", "type": "integer", "required": True, "default": 10},
            {"name": "label", "type": "string", "required": True},
            {"name": "scale", "type": "float", "required": False},
        ],
    )
    return methods_dir


def install(methods_dir: pathlib.Path, name: str, script: str, **fields: object) -> None:
    """Write one bash method."""
    code = methods_dir / "scripts" / name / "main.sh"
    code.parent.mkdir(parents=True, exist_ok=True)
    code.write_text(script + "\n")
    manifest = methods_dir / "commands" / f"{name}.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(
        json.dumps({"name": name, "command": "bash", "script_path": "main.sh"} | fields)
    )


class Gate:
    """Holds jobs of the method `hold`: each reads from a FIFO until it is opened."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        os.mkfifo(path)

    @property
    def content(self) -> bytes:
        """What to upload as the input of a job that waits at this gate."""
        return os.fsencode(self._path)

    def open(self, output: bytes = b"let go\n") -> None:
        """Let the one job that waits (or will) go on, with this output."""
        with self._path.open("wb") as fifo:
            fifo.write(output)


class Tally:
    """Counts the runs of jobs of the methods `tally` and `recover`, outside the service."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.gate = Gate(path.with_name(f"{path.name}.gate"))

    @property
    def content(self) -> bytes:
        """What to upload as the input of the job that is counted."""
        return os.fsencode(self._path)

    @property
    def runs(self) -> int:
        """How often the job has run. Never two at a time, or this fails."""
        lines = self._path.read_text().split() if self._path.exists() else []
        assert set(lines) <= {"run"}, lines
        return len(lines)


def hash_of(content: bytes) -> str:
    """The name of some content."""
    return hashlib.sha256(content).hexdigest()
