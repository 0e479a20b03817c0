"""How much human capital does a region's spending build, and where does a rouble build most?

Command: python -m experiments.human_capital [--variant base|quick|tiny|working-age]
    [--data budget.csv --config.population population.csv]
Device: CPU, two cores suffice. Time on two cores, first start: base 41 s.
Expected (base): calibrated nu 0.0259 +- 0.0005 and initial factor 1.82 +- 0.03; 400 thousand RUB
    per inhabitant in 2018 (an anchor), growth fastest after 2013 (not fitted), balance closed to
    round-off.

Reproduces Vavilova, Ketova (2020): exact transport of health, education and culture along cohorts
from the paper's budget table, the investment network and its forecast to 2023, the claims ledger;
beyond it marginal values of every line and year, the cheapest way to a target, all assumptions
varied.
"""

from experiments._command import Experiment
from experiments.human_capital.config import VARIANTS, own_data
from experiments.human_capital.inputs import files, load
from experiments.human_capital.pages import write
from experiments.human_capital.study import run

EXPERIMENT = Experiment(
    name="human_capital",
    question="What has human capital cost and yielded, and where does a million build most?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
    files=files,
)
