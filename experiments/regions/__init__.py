"""Do neural GRP forecasters beat naive ones across many regions?

Command: python -m experiments.regions [--variant base|quick|tiny] [--data my.csv --config.grp ...]
Device: CPU, two cores suffice. Time on two cores, first start: base 40 s, quick 25 s; with cached
programs 28 s and 9 s.
Expected (base, 48 US states 1981-1986): "No"; median MAPE of the honest network 5.8 +- 0.4 %, of
the best baseline (drift) 4.72 %.

A file of your own has a row per place and year. The Russian regions of Rosstat, for example, have
neither labour nor capital stock; investment (then the years end in 2015), consumption, beds and
doctors stand in, and the volume index gives constant prices: --config.place-column region
--config.grp grp_mln_rub --config.volume-index grp_volume_index_pct --config.factors
gross_fixed_capital_mln_rub household_consumption_per_capita_rub hospital_beds_thousand
doctors_per_10000 --config.deflated gross_fixed_capital_mln_rub household_consumption_per_capita_rub
--config.aggregate is_federal_district.
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
