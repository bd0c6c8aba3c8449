"""Figures of the archive, as ratios against what a user would use otherwise. `make bench` runs them all."""
