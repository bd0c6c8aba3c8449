"""Figures of the archive, as ratios against what a user would use otherwise. `make bench` runs them all."""

import os

os.environ["TEST_FORKS"] = "no"  # processes as in production: what forked ones share would not count as their memory
