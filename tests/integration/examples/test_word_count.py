"""word_count agrees with a count by regular expression."""

import collections
import pathlib
import re

import pytest

from support import examples_runs as examples


@pytest.mark.parametrize(
    "file_name", ["iris.txt", "twenty_newsgroups.txt", "licences/statsmodels.txt"]
)
@pytest.mark.parametrize(
    "parameters",
    [
        {"top": 10, "minimum_length": 1, "ignore_case": True},
        {"top": 4, "minimum_length": 6, "ignore_case": False},
    ],
)
def test_words_are_those_of_a_regular_expression(
    file_name: str, parameters: dict[str, int]
) -> None:
    content = (examples.DATA / file_name).read_text()
    text = content.lower() if parameters["ignore_case"] else content
    words = re.findall(rf"(?<![A-Za-z0-9])[A-Za-z0-9]{{{parameters['minimum_length']},}}", text)
    counts = collections.Counter(words)
    ranking = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert examples.run("word_count", file_name, **parameters).answer == {
        "bytes": len(content.encode()),
        "distinct_words": len(counts),
        "lines": content.count("\n"),
        "top_words": [
            {"count": count, "word": word} for word, count in ranking[: parameters["top"]]
        ],
        "words": len(words),
    }


def test_a_text_without_words_has_none(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "blank.txt"
    path.write_text(" \n\n")
    answer = examples.run("word_count", path).answer
    assert answer == {"bytes": 3, "distinct_words": 0, "lines": 2, "top_words": [], "words": 0}


@pytest.mark.parametrize("top", [-1, 2.5, "many"])
def test_a_parameter_of_the_wrong_type_is_refused(top: object) -> None:
    run = examples.run("word_count", "iris.txt", top=top)
    assert (run.exit_code, run.output) == (78, "")
    assert run.log == "parameter 'top' is missing or of the wrong type\n"
