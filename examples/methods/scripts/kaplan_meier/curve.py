"""The survival curve: a step down at each time when somebody had the event."""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody who was followed until `end`, to the event or out of sight."""

    end: float
    had_event: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The curve from `time` on; `at_risk` counts those followed until then at least."""

    time: float
    at_risk: int
    survival: float
    standard_error: float


START = Step(time=-math.inf, at_risk=0, survival=1.0, standard_error=0.0)


def estimate(persons: Sequence[Person]) -> list[Step]:
    """Return the steps in order of time, with Greenwood's standard errors."""
    events: dict[float, int] = {}
    for person in persons:
        if person.had_event:
            events[person.end] = events.get(person.end, 0) + 1
    steps: list[Step] = []
    survival, variance = 1.0, 0.0
    for time in sorted(events):
        at_risk = sum(person.end >= time for person in persons)
        left = at_risk - events[time]
        survival *= left / at_risk
        # Once nobody is left, survival is zero for certain.
        variance = variance + events[time] / (at_risk * left) if left else 0.0
        error = survival * math.sqrt(variance)
        steps.append(Step(time=time, at_risk=at_risk, survival=survival, standard_error=error))
    return steps


def at(steps: Sequence[Step], time: float) -> Step:
    """Return the step that holds at a time."""
    taken = [step for step in steps if step.time <= time]
    return taken[-1] if taken else START


def median(steps: Sequence[Step]) -> Step | None:
    """Return the first step at which half or fewer survive."""
    return next((step for step in steps if step.survival <= 0.5), None)
