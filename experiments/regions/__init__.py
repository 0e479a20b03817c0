"""Do neural GRP forecasters beat naive ones across many regions?

Command: python -m experiments.regions [--variant base|quick|tiny] [--data my.csv --config.grp ...]
Device: CPU, two cores suffice.
"""

from experiments._command import Experiment
from experiments.regions.config import VARIANTS, own_data
from experiments.regions.pages import write
from experiments.regions.places import load
from experiments.regions.study import run

EXPERIMENT = Experiment(
    name="regions",
    question="Do neural GRP forecasters beat naive ones across many regions?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
)
