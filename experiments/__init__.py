"""Experiments: one question each. `python -m experiments.reproduce` runs them all."""

NAMES = ("grp", "regions")
