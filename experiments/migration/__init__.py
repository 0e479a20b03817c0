"""What force drives migration balances, and can the data tell?

Command: python -m experiments.migration
    [--variant base|quick|tiny|net|counties|arctic] [--data my.csv --config.coordinates places.csv]
Device: CPU, two cores suffice. Time: see the README.
Expected (base): known force missed by 12 to 13 % (smoother) and 15 +- 2 % (spline, penalised
    network); on US states strengths at their limits, one year ahead no better than the last value.

After Zakharov, Kovantsev, Boukhanovsky (2025): balances as coordinates of a Lagrangian system on
springs of distance and similarity, an external force by a physics-informed network, its exact
counterparts, what the data determine, regression of the force, Shapley shares, scenarios.
"""

from experiments._command import Experiment
from experiments._settlements import files
from experiments.migration.config import VARIANTS, own_data
from experiments.migration.inputs import load
from experiments.migration.pages import write
from experiments.migration.study import run

EXPERIMENT = Experiment(
    name="migration",
    question="What force drives migration balances, and can the data tell?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
    files=files,
)
