"""What must change in a town that loses people, and by how much?

Command: python -m experiments.towns
    [--variant base|quick|tiny|arctic|counties] [--data my.csv --config.factors wage unemployment]
Device: CPU, two cores suffice. Time: see the README.
Expected (base, synthetic panel with known truth): clusters and factors that matter are found;
    accuracy as described falls a year later.

After Mishchenko, Krayushkin, Mezhov, Bianchi (2024), whose panel is not public: screening of
factors, autocorrelation, clusters, networks per cluster, retrospective and coming years, scenarios,
and the inverse question.
"""

from experiments._command import Experiment
from experiments._settlements import files
from experiments.towns.config import VARIANTS, own_data
from experiments.towns.inputs import load
from experiments.towns.pages import write
from experiments.towns.study import run

EXPERIMENT = Experiment(
    name="towns",
    question="What must change in a town that loses people, and by how much?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
    files=files,
)
