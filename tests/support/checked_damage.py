"""Damage to files that breaks the rules of what lies on disk, one after the other."""

import datetime
import os
import shutil
from collections.abc import Callable

from dshpc_server import deployment
from support import checked_site, site
from support.checked_site import Site


def damage_content(made: Site) -> str:
    path = made.content(checked_site.LONG_OUTPUT)
    path.chmod(0o600)
    path.write_bytes(b"another output")
    path.chmod(0o444)
    return path.name


def lose_content(made: Site) -> str:
    made.content(checked_site.LONG_OUTPUT).unlink()
    return site.hash_of(checked_site.LONG_OUTPUT)


def lose_an_input(made: Site) -> str:
    """Nothing is recorded of it either, as if it had been deleted."""
    with made.by_hand() as connection:
        connection.execute("DELETE FROM files WHERE filename = 'a.csv'")
    made.content(checked_site.INPUT).unlink()
    return made.job_id("pending")


def add_content(made: Site) -> str:
    return made.files.put(b"nobody knows of this")


def change_size(made: Site) -> str:
    with made.by_hand() as connection:
        connection.execute("UPDATE files SET size_bytes = 1 WHERE filename = 'a.csv'")
    return site.hash_of(checked_site.INPUT)


def make_writable(made: Site) -> str:
    made.content(checked_site.INPUT).chmod(0o644)
    return site.hash_of(checked_site.INPUT)


def misplace(made: Site) -> str:
    (made.data_dir / "files" / "ab").mkdir(exist_ok=True)
    (made.data_dir / "files" / "ab" / "a\nb").write_text("?")
    return "files/ab/a\\nb"


def misplace_a_link(made: Site) -> str:
    path = made.content(b"elsewhere")
    path.parent.mkdir(parents=True)
    path.symlink_to(made.content(checked_site.INPUT))
    return path.name


def leave_an_upload(made: Site) -> str:
    path = made.data_dir / "files" / "incoming" / "tmpabc"
    path.write_bytes(b"the first of it")
    old = (made.clock.now() - datetime.timedelta(days=1, seconds=1)).timestamp()
    os.utime(path, (old, old))
    return "files/incoming/tmpabc"


def lose_a_folder(made: Site) -> str:
    made.folder("running").rmdir()
    return made.job_id("running")


def leave_a_folder(made: Site) -> str:
    return f"attempts/{made.folder('running', 2).relative_to(made.data_dir / 'attempts')}"


def damage_a_record(made: Site) -> str:
    record = made.data_dir / "methods" / "versions" / "echo" / f"{'0' * 64}.json"
    record.write_text("{")
    return f"method echo version {'0' * 64}"


def lose_a_version(made: Site) -> str:
    job_id = made.job_id("pending")
    shutil.rmtree(made.data_dir / "methods" / "versions" / "echo")
    return job_id


def damage_a_snapshot(made: Site) -> str:
    tree = made.data_dir / "methods" / "trees" / made.function_hash()
    (tree / "main.sh").chmod(0o644)
    (tree / "main.sh").write_text("echo something else")
    return made.function_hash()


def take_the_folder_of_another(made: Site) -> str:
    """Nothing of the store is in it; that is not told file by file."""
    made.content(checked_site.LONG_OUTPUT).unlink()
    (made.data_dir / deployment.NAME).write_text(f"{'e' * 32}\n")
    return "e" * 32


def bar_the_way_to_records(made: Site) -> str:
    """Neither what is there nor what is not can be told: the way leads round and round."""
    job_id = made.job_id("pending")
    records = made.data_dir / "methods" / "versions" / "echo"
    shutil.rmtree(records)
    records.symlink_to(records)
    return job_id


BREAKING: list[tuple[str, Callable[[Site], str]]] = [
    ("content_is_its_hash", damage_content),
    ("content_is_there", lose_content),
    ("input_is_stored", lose_an_input),
    ("version_is_known", lose_a_version),
    ("content_is_recorded", add_content),
    ("size_is_recorded", change_size),
    ("content_is_read_only", make_writable),
    ("content_has_its_place", misplace),
    ("content_has_its_place", misplace_a_link),
    ("upload_is_recent", leave_an_upload),
    ("folder_is_there", lose_a_folder),
    ("folder_is_of_an_attempt", leave_a_folder),
    ("version_is_readable", damage_a_record),
    ("snapshot_is_its_hash", damage_a_snapshot),
    ("disk_answers", bar_the_way_to_records),
    ("folder_is_of_the_store", take_the_folder_of_another),
]
"""The rule, and what breaks it; that returns the name by which the check is to tell of it."""
