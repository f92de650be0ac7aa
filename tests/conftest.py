"""What holds for every test: nothing depends on the terminal, or machine, of whoever runs them."""

import gc
import os

import hypothesis

# Tables are as wide as this says; whoever runs the tests may have set it, and pytest-xdist does.
os.environ.pop("COLUMNS", None)

# No test is one of speed, and the machine may be busy. Every run tries other examples, as many as
# Hypothesis does by itself; `make properties` tries more.
hypothesis.settings.register_profile(
    "any machine", deadline=None, max_examples=int(os.environ.get("DSHPC_TEST_EXAMPLES", "100"))
)
hypothesis.settings.load_profile("any machine")

# What is collected stays to the end: a million objects, not to be looked through for garbage while
# they are made, nor again and again by the tests.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
