"""How long Slurm is left alone."""

import pytest

from dshpc_server.engine.slurm import looking


@pytest.mark.parametrize(
    ("answer_seconds", "rest_seconds"), [(0.0, 0.0), (0.05, 0.45), (2.0, 18.0), (20.0, 30.0)]
)
def test_a_controller_that_answers_slowly_is_asked_less_often(
    answer_seconds: float, rest_seconds: float
) -> None:
    pace = looking.Pace(first_seconds=1.0, last_seconds=30.0)
    assert pace.rest_seconds(answer_seconds) == pytest.approx(rest_seconds)
