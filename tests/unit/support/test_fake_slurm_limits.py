"""What a fake Slurm allows: how long, how many, how much, and what it tells of."""

import pathlib

import pytest

from support import fake_slurm
from unit.support.test_fake_slurm import Site
