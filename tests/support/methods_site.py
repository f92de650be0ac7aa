"""A site's methods folder, written by tests, and a clock that moves when it is told to."""

import datetime
import json
import pathlib
from collections.abc import Mapping

from dshpc_server.methods import catalog, manifest, method

FIRST_MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
HELLO = "print('hello')\n"


class HandClock:
    """A clock whose hands a test moves."""

    def __init__(self) -> None:
        self.moment = FIRST_MOMENT

    def now(self) -> datetime.datetime:
        return self.moment

    def monotonic(self) -> float:
        return (self.moment - FIRST_MOMENT).total_seconds()

    def advance(self, seconds: float) -> None:
        self.moment += datetime.timedelta(seconds=seconds)


def document(name: str = "hello", **fields: object) -> dict[str, object]:
    """Return the smallest manifest, with these fields set."""
    return {"name": name, "command": "python3", "script_path": "main.py"} | fields


def parsed(**fields: object) -> method.Manifest:
    return manifest.parse(document() | fields, pathlib.Path("hello.json"))


def version(name: str = "hello", **fields: object) -> method.MethodVersion:
    """Return a method version that was never on disk."""
    base = parsed(name=name, **fields)
    return method.MethodVersion(
        **{field: getattr(base, field) for field in method.Manifest.__dataclass_fields__},
        function_hash="0" * 64,
        directory=pathlib.Path("/nowhere"),
        created_at=FIRST_MOMENT,
    )


class Site:
    """METHODS_DIR and SNAPSHOTS_DIR in a test's own folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.methods_dir = folder / "methods"
        self.snapshots_dir = folder / "snapshots"
        self.clock = HandClock()
        (self.methods_dir / "commands").mkdir(parents=True)

    def catalog(self) -> catalog.Catalog:
        """Return a new catalog, as a restarted server has it."""
        return catalog.Catalog(self.methods_dir, self.snapshots_dir, self.clock)

    def manifest_file(self, name: str) -> pathlib.Path:
        return self.methods_dir / "commands" / f"{name}.json"

    def scripts(self, name: str = "hello") -> pathlib.Path:
        return self.methods_dir / "scripts" / name

    def install(
        self, name: str = "hello", files: Mapping[str, str] | None = None, **fields: object
    ) -> None:
        """Write a manifest and its script files."""
        self.manifest_file(name).write_text(json.dumps(document(name, **fields)))
        for path, text in (files or {"main.py": HELLO}).items():
            file = self.scripts(name) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def loaded(site: Site) -> catalog.Catalog:
    """Return a new catalog that has loaded what there is."""
    methods = site.catalog()
    methods.load()
    return methods


def broken(report: catalog.LoadReport) -> dict[str, str]:
    """The manifests that were left out, and why."""
    return {each.file.name: each.reason for each in report.broken}
