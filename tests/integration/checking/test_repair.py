"""What can be repaired is repaired, and then nothing is wrong; the rest is left as it is."""

import contextlib
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server import disk
from dshpc_server.checking import repair
from dshpc_server.store.sql import deleting
from support import checked_damage, checked_site, site
from support import store_values as v
from support.checked_site import Site

LONG_HASH = site.hash_of(checked_site.LONG_OUTPUT)
INPUT_HASH = site.hash_of(checked_site.INPUT)


def repaired(
    made: Site, lives: Callable[[pathlib.Path], bool] = lambda _: False
) -> list[tuple[str, repair.Outcome]]:
    """Repair what is wrong; the rule and what became of it, one after the other."""
    with contextlib.closing(made.open()) as store:
        repairing = repair.Repair(
            store,
            made.data_dir,
            without_output=checked_site.ENCODER.without_output,
            lives=lives,
        )
        done = [
            (finding.rule.name, repairing.repair(finding)) for finding in made.check(store).run()
        ]
        # What runs waits for a server: that is not repaired.
        assert all(not outcome.is_repaired for rule, outcome in done if rule == "owner_lives")
        store.leave()
        return [(rule, outcome) for rule, outcome in done if rule != "owner_lives"]


def only(made: Site) -> repair.Outcome:
    """What became of the one thing that was wrong."""
    ((_, outcome),) = repaired(made)
    return outcome


def is_right(made: Site) -> bool:
    return made.broken() <= {"owner_lives"}


def answer(made: Site, name: str) -> int | None:
    """The attempt that answers for a job."""
    with made.by_hand() as connection:
        found = connection.execute(
            "SELECT answering_attempt FROM jobs WHERE job_id = ?", [made.job_id(name)]
        )
        ((number,),) = found.fetchall()
        return None if number is None else int(number)


def recorded(made: Site) -> dict[str, int]:
    """The size of recorded content by its hash."""
    with made.by_hand() as connection:
        return dict(connection.execute("SELECT file_hash, size_bytes FROM files").fetchall())


def test_where_nothing_is_wrong_nothing_is_done(made: Site) -> None:
    assert repaired(made) == []
    assert not (made.data_dir / repair.QUARANTINE).exists()


def test_damaged_content_is_put_away_and_its_job_has_no_answer_any_more(made: Site) -> None:
    checked_damage.damage_content(made)
    assert answer(made, "kept") == 1
    outcome = only(made)
    assert outcome.is_repaired
    assert outcome.what.startswith(f"moved to quarantine/{LONG_HASH} and forgotten; ")
    assert (made.data_dir / "quarantine" / LONG_HASH).read_bytes() == b"another output"
    assert answer(made, "kept") is None
    assert recorded(made) == {INPUT_HASH: len(checked_site.INPUT)}
    assert is_right(made)


class DiedError(BaseException):
    """A process that is killed runs nothing more."""


@pytest.mark.parametrize("moment", ["before it is moved", "after it is moved", "before the end"])
def test_a_repair_that_dies_while_it_puts_content_away_keeps_it(
    made: Site, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    checked_damage.damage_content(made)

    def die(*_: object) -> None:
        raise DiedError

    def die_after_the_move(folder: pathlib.Path) -> None:
        if (folder / LONG_HASH).exists():
            raise DiedError

    with monkeypatch.context() as patched:
        if moment == "before it is moved":
            patched.setattr(pathlib.Path, "rename", die)
        elif moment == "after it is moved":
            patched.setattr(disk, "fsync_folder", die_after_the_move)
        else:
            patched.setattr(deleting, "forget_file", die)
        with pytest.raises(DiedError):
            repaired(made)
    quarantined = made.data_dir / "quarantine" / LONG_HASH
    is_moved = moment != "before it is moved"
    assert quarantined.exists() == is_moved
    # Nothing is marked: the next server would end a deletion, and remove it for good.
    rule = "content_is_there" if is_moved else "content_is_its_hash"
    assert made.broken() - {"owner_lives"} == {rule}
    assert only(made).is_repaired
    assert quarantined.read_bytes() == b"another output"
    assert answer(made, "kept") is None
    assert is_right(made)


def test_content_that_is_damaged_again_lies_beside_the_first_in_the_quarantine(made: Site) -> None:
    for number in range(2):
        path = made.data_dir / "files" / "ab" / "cd" / f"abcd{'0' * 60}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
        path.chmod(0o444)
        assert only(made).is_repaired
    kept = sorted((made.data_dir / "quarantine").iterdir())
    assert [(path.name, path.read_text()) for path in kept] == [
        (f"abcd{'0' * 60}", "0"),
        (f"abcd{'0' * 60}.2", "1"),
    ]


def test_damaged_content_that_lies_whole_in_a_result_is_put_away_and_still_answers(
    made: Site,
) -> None:
    output_hash = made.files.put(checked_site.OUTPUT)
    path = made.content(checked_site.OUTPUT)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    path.chmod(0o444)
    outcome = only(made)
    assert outcome.what == f"moved to quarantine/{output_hash}; it lies whole in a result"
    assert answer(made, "inline") == 1
    assert is_right(made)


def test_damaged_content_that_a_job_needs_is_left(made: Site) -> None:
    path = made.content(checked_site.INPUT)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    path.chmod(0o444)
    outcome = only(made)
    assert not outcome.is_repaired
    assert outcome.what.startswith(f"file '{INPUT_HASH}' is needed by job '")
    assert outcome.what.endswith("; cancel that first")
    assert path.exists()
    assert made.broken() == {"content_is_its_hash", "owner_lives"}


def test_the_record_of_lost_content_is_forgotten(made: Site) -> None:
    checked_damage.lose_content(made)
    assert only(made).is_repaired
    assert answer(made, "kept") is None
    assert is_right(made)


def test_content_without_a_record_gets_one(made: Site) -> None:
    file_hash = checked_damage.add_content(made)
    assert only(made).is_repaired
    assert recorded(made)[file_hash] == len(b"nobody knows of this")
    assert is_right(made)


def test_an_answer_without_a_record_gets_one_or_is_lost(made: Site) -> None:
    with made.by_hand() as connection:
        connection.execute("DELETE FROM files WHERE file_hash = ?", [LONG_HASH])
    # The first puts right what the second would have.
    assert [(rule, outcome.is_repaired) for rule, outcome in repaired(made)] == [
        ("answer_has_a_record", True)
    ]
    assert recorded(made)[LONG_HASH] == len(checked_site.LONG_OUTPUT)
    assert is_right(made)
    with made.by_hand() as connection:
        connection.execute("DELETE FROM files WHERE file_hash = ?", [LONG_HASH])
    made.content(checked_site.LONG_OUTPUT).unlink()
    assert only(made).is_repaired
    assert answer(made, "kept") is None
    assert is_right(made)


def test_a_deletion_that_was_begun_is_finished(made: Site) -> None:
    with contextlib.closing(made.open()) as store:
        assert v.write(
            store,
            lambda writer: writer.delete_file(LONG_HASH, checked_site.ENCODER.without_output),
        )
        store.leave()
    assert made.broken() == {"deletion_is_finished", "owner_lives"}
    assert only(made).is_repaired
    assert not made.content(checked_site.LONG_OUTPUT).exists()
    assert LONG_HASH not in recorded(made)
    assert is_right(made)


@pytest.mark.parametrize(
    "damage",
    [
        checked_damage.change_size,
        checked_damage.make_writable,
        checked_damage.leave_an_upload,
        checked_damage.leave_a_folder,
    ],
)
def test_what_costs_nothing_is_put_right(made: Site, damage: Callable[[Site], str]) -> None:
    damage(made)
    assert only(made).is_repaired
    assert is_right(made)


def test_a_folder_that_a_process_is_in_is_left(made: Site) -> None:
    name = checked_damage.leave_a_folder(made)
    ((rule, outcome),) = repaired(made, lambda folder: folder == made.data_dir / name)
    assert (rule, outcome.is_repaired) == ("folder_is_of_an_attempt", False)
    assert outcome.what == "a process of it runs"
    assert (made.data_dir / name).is_dir()


@pytest.mark.parametrize("name", ["ix_files_used", "uq_attempts_active", "uq_attempts_chain"])
def test_an_index_that_is_missing_is_made_again(made: Site, name: str) -> None:
    with made.by_hand() as connection:
        connection.execute(f"DROP INDEX {name}")
    assert only(made).is_repaired
    assert is_right(made)


def test_an_index_that_rows_stand_against_is_left(made: Site) -> None:
    with made.by_hand() as connection:
        connection.execute("DROP INDEX uq_attempts_active")
        connection.execute(
            "UPDATE attempts SET status = 'RUNNING', ended_at = NULL, result = NULL"
            " WHERE job_id = ? AND number = 1",
            [made.job_id("resubmitted")],
        )
    outcomes = dict(repaired(made))
    assert outcomes["index_is_there"].what == "there are rows that it does not allow"
    assert not any(outcome.is_repaired for outcome in outcomes.values())


def test_what_a_server_sees_to_is_left_to_it_and_told_so(made: Site) -> None:
    with contextlib.closing(made.open()) as store:
        repairing = repair.Repair(
            store,
            made.data_dir,
            without_output=checked_site.ENCODER.without_output,
            lives=lambda _: False,
        )
        (finding,) = [each for each in made.check(store).run() if each.rule.name == "owner_lives"]
        assert repairing.repair(finding) == repair.Outcome(
            is_repaired=False, what="the next server that can take it over sees to it"
        )


def test_what_would_have_to_be_guessed_is_left(made: Site) -> None:
    with made.by_hand() as connection:
        connection.execute(
            "UPDATE jobs SET parameters_json = '{}' WHERE job_id = ?", [made.job_id("kept")]
        )
    outcome = only(made)
    assert outcome == repair.Outcome(is_repaired=False, what="this cannot be repaired safely")
    assert made.broken() == {"job_id_is_its_hash", "owner_lives"}


def test_every_rule_with_a_repair_is_one(made: Site) -> None:
    with contextlib.closing(made.open(read_only=True)) as store:
        rules = made.check(store).rules()
        repairing = repair.Repair(store, made.data_dir, without_output=bytes, lives=lambda _: False)
    assert repairing.rules < rules.keys()
