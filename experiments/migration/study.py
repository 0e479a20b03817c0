"""The experiment as one function of its inputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from diffmig import fit
from diffmig import migration as mg
from experiments.migration.config import Config
from experiments.migration.dynamics import fit_dynamics, parameters_of, place_stiffness
from experiments.migration.explanation import Explanation, explain_force
from experiments.migration.fits import SMOOTHER, Fits, fit_all
from experiments.migration.identification import Identification, identify
from experiments.migration.inputs import Inputs
from experiments.migration.outlook import Outlook, look_ahead
from experiments.migration.recovery import Recovery, recover
from experiments.migration.scenarios import Scenario, scenarios
from experiments.migration.skill import Skill, skill
from experiments.migration.system import MOST_PLACES, System, build_system


class Result(NamedTuple):
    """Everything that the report shows; None where it was not asked for or has no data."""

    inputs: Inputs
    system: System
    parameters: mg.Parameters
    dynamics: fit.LatentForceFit
    stiffness: Array | mg.Modes
    fits: Fits
    recovery: Recovery | None
    identification: Identification | None
    skill: Skill | None
    outlook: Outlook
    explanation: Explanation | None
    scenario: Scenario | None


def run(
    config: Config, inputs: Inputs, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None
) -> Result:
    """Known truth, strengths, force, what is determined, forecasts, explanation, scenarios."""
    names = ("recovery", "fits", "surrogates", "skill", "explanation")
    keys = {name: jax.random.fold_in(key, number) for number, name in enumerate(names)}
    recovery = recover(config, keys["recovery"], mesh) if config.synthetic else None
    system = build_system(config, inputs, inputs.rate)
    dynamics = fit_dynamics(config, system, inputs.rate)
    stiffness = place_stiffness(system, dynamics)
    fits = fit_all(config, inputs, system, dynamics, stiffness, keys["fits"], mesh)
    identification = None
    if len(inputs.places) <= MOST_PLACES:
        identification = identify(
            config, inputs, system, dynamics, keys["surrogates"], stage_fn, mesh
        )
    explanation = explain_force(
        config, inputs, keys["explanation"], fits.estimates[SMOOTHER], stiffness,
        jnp.asarray(dynamics.damping), mesh,
    )  # fmt: skip
    return Result(
        inputs=inputs,
        system=system,
        parameters=parameters_of(system, dynamics),
        dynamics=dynamics,
        stiffness=stiffness,
        fits=fits,
        recovery=recovery,
        identification=identification,
        skill=skill(config, inputs, keys["skill"]),
        outlook=look_ahead(config, inputs, system, dynamics),
        explanation=explanation,
        scenario=None
        if explanation is None
        else scenarios(config, inputs, explanation, stiffness, dynamics.damping),
    )
