"""What holds for every test: nothing depends on the terminal of whoever runs them."""

import os

# Tables are as wide as this says; whoever runs the tests may have set it, and pytest-xdist does.
os.environ.pop("COLUMNS", None)
