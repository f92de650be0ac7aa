"""missing_values agrees with a count by the csv module."""

import csv
import pathlib

import pytest

from support import examples_runs as examples


@pytest.mark.parametrize("file_name", ["co2.csv", "fertility.csv", "statecrime.csv", "wine.csv"])
def test_every_column_is_counted_as_the_csv_module_reads_it(file_name: str) -> None:
    with (examples.DATA / file_name).open(newline="") as file:
        header, *rows = csv.reader(file)
    answer = examples.run("missing_values", file_name).answer
    assert answer["columns"] == [
        {"missing": sum(row[i] == "" for row in rows), "name": name}
        for i, name in enumerate(header)
    ]
    assert answer["complete_rows"] == sum(all(row) for row in rows)
    assert answer["rows"] == len(rows)


def test_only_incomplete_columns_can_be_asked_for() -> None:
    answer = examples.run("missing_values", "co2.csv", only_incomplete=True).answer
    assert answer["columns"] == [{"missing": 59, "name": "co2"}]


def test_quoted_cells_may_hold_commas_quotes_and_line_ends(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "notes.csv"
    record = '"one, ""two""","three\nfour",NA\r\n'
    path.write_text('\ufeffa,"b ""b""",c\\d\r\n' + record * 6 + ",,\r\n" * 5, newline="")
    answer = examples.run("missing_values", path).answer
    assert answer == {
        "columns": [
            {"missing": 5, "name": "a"},
            {"missing": 5, "name": 'b "b"'},
            {"missing": 11, "name": "c\\d"},
        ],
        "complete_rows": 0,
        "min_cell_count": 5,
        "rows": 11,
    }


def test_a_small_count_is_hidden_with_what_would_tell_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "blood.csv"
    path.write_text("pressure,pulse\n" + "120,60\n" * 9 + "NA,61\n")
    answer = examples.run("missing_values", path).answer
    assert answer["columns"][0] == {"missing": None, "name": "pressure"}
    assert answer["complete_rows"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1\n", "row 1 has 1 cells, the header has 2\n"),
        ("", "the data have no header line\n"),
        ('a,b\n1,"2\n', "a quoted cell has no end\n"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: pathlib.Path, content: str, message: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(content)
    run = examples.run("missing_values", path)
    assert (run.exit_code, run.output, run.log) == (78, "", message)
