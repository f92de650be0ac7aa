"""What holds for every test: nothing depends on the terminal of whoever runs them."""

import gc
import os

# Tables are as wide as this says; whoever runs the tests may have set it, and pytest-xdist does.
os.environ.pop("COLUMNS", None)

# What is collected stays to the end: a million objects, not to be looked through for garbage while
# they are made, nor again and again by the tests.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
