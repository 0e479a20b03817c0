"""Experiments: one question each. `python -m experiments.reproduce` runs them all."""

from typing import Literal, get_args

Name = Literal[
    "grp", "regions", "human_capital", "migration", "smoothing", "towns", "chain", "sensitivity"
]
NAMES: tuple[Name, ...] = get_args(Name)
