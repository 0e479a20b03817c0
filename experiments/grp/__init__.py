"""How will gross regional product develop, and can networks trained by searches tell?

Command: python -m experiments.grp [--variant quick] [--data my.csv --config.grp COLUMN] [--resume]
Device: CPU. Time: see the README. Expected: the paper's four impossible pairs of R2 and MAPE are
    flagged.
"""

from experiments._command import Experiment
from experiments.grp.config import VARIANTS, Config, own_data
from experiments.grp.pages import write
from experiments.grp.pipeline import Result, load, run

EXPERIMENT = Experiment(
    name="grp",
    question="How will gross regional product develop, and how well can that be known?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
)

__all__ = ["EXPERIMENT", "VARIANTS", "Config", "Result"]
