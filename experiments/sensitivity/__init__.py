"""Do gradients say what matters? Five models, one study: gradient, cost, Sobol indices, ranks.

Command: python -m experiments.sensitivity [--variant base|quick|tiny]
Device: CPU, two cores suffice. Time: see the README.
Expected (base): every gradient agrees with central differences to better than 1e-5; rankings by
    gradient and by total Sobol index agree where a model is near linear over its box.

The same steps for GRP by its factors, human capital by budget lines and years, a state's migration
balance by factors, stiffness, damping and distances, a smoothing forecast by every observation, and
a town's balance by its factors. A study of the models, not a forecast.
"""

from experiments._command import Experiment
from experiments.sensitivity.config import VARIANTS, own_data
from experiments.sensitivity.pages import write
from experiments.sensitivity.study import load, run

EXPERIMENT = Experiment(
    name="sensitivity",
    question="Do gradients say what matters, and what do they cost?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
)
