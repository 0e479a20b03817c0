"""What does one million RUB in each budget line and year do to the balance and to GRP by 2035?

Command: python -m experiments.chain [--variant base|quick|tiny]
Device: CPU, two cores suffice. Time: see the README.
Expected (base): gradients agree with central differences to 1e-6; one million of 2024 adds some
    tenths of a million to GRP of 2035; the balance moves by thousandths of a person.

A model exercise, not a forecast: spending, human capital, production, income, external force,
migration balance and people by age are joined into one chain on the bundled tables of the Udmurt
Republic and differentiated as one function. What no table tells is assumed, varied, and the share
of every assumption in the variance of the result is printed on the figure.
"""

from experiments._command import Experiment
from experiments.chain.config import VARIANTS, own_data
from experiments.chain.inputs import load
from experiments.chain.pages import write
from experiments.chain.study import run

EXPERIMENT = Experiment(
    name="chain",
    question=(
        "What does one million RUB in each budget line and year do to the balance and to GRP? "
        "(a model exercise)"
    ),
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
)
