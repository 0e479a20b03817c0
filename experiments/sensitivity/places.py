"""The models of places: a state's migration balance through the motion, a town's by networks."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike

from diffmig import explain, fit
from diffmig import migration as mg
from experiments.migration import config as migration_config
from experiments.migration import inputs as migration_inputs
from experiments.migration.system import kernel_length
from experiments.sensitivity.config import Config
from experiments.sensitivity.models import Model, around
from experiments.towns import config as town_config
from experiments.towns import inputs as town_inputs
from experiments.towns.explanation import seen
from experiments.towns.networks import final_problems, input_names, train_networks
from experiments.towns.structure import find_structure


def migration(config: Config, key: Array) -> Model:
    """Balance of the state that loses most people, some years ahead."""
    choices = migration_config.BASE
    known = migration_inputs.load(None, choices)
    rate, x = known.rate, known.features
    place = int(known.balance.mean(axis=1).argmin())
    distances = np.asarray(mg.distance_matrix(known.latitude, known.longitude))
    near = np.argsort(distances[place])[1 : config.neighbours + 1]
    length = kernel_length(choices, known)
    eye = np.eye(len(known.places))

    @jax.jit
    def stiffness(strength: Array, confinement: Array, between: Array) -> Array:
        own = jnp.asarray(distances).at[place, near].set(between).at[near, place].set(between)
        return strength * mg.laplacian(mg.exponential_kernel(own, length)) + confinement * eye

    k = np.asarray(stiffness(config.distance[1], config.confinement[1], distances[place, near]))
    # f = q'' + c q' + K q by central differences of the yearly rates: years 1 ... n - 2
    swing = rate[:, 2:] - 2 * rate[:, 1:-1] + rate[:, :-2]
    drift = 0.5 * (rate[:, 2:] - rate[:, :-2])
    force = swing + config.damping[1] * drift + k @ rate[:, 1:-1]
    method = fit.ridge()
    params = fit.fit_regression(key, method, x[:, :-2], force)  # factors of the year before

    def explained(factors: ArrayLike) -> Array:
        return fit.predict_regression(method, params, factors)

    unseen = force - np.asarray(explained(x[:, :-2]))
    rest = unseen.mean(axis=1)
    ahead = np.asarray(explained(x[:, -1])) + rest
    velocity = rate[:, -1] - rate[:, -2]

    def output(inputs: dict[str, Array]) -> Array:
        columns = jnp.stack([inputs[name] for name in known.feature_names])
        own = explained(columns) + inputs["own_force"]
        pushes = jnp.broadcast_to(ahead[:, None], (ahead.size, config.horizon))
        pushes = pushes.at[place].set(own)
        rows = jnp.asarray(rate[:, -1]), jnp.asarray(velocity)
        made = mg.propagate(
            stiffness(inputs["stiffness"], inputs["confinement"], inputs["distance"]),
            inputs["damping"],
            *rows,
            explain.yearly_force(pushes),
        )
        return made.balance[place, -1] * known.scale[place]

    spread = unseen.std()
    strengths = {
        "stiffness": config.distance, "confinement": config.confinement, "damping": config.damping
    }  # fmt: skip
    unexplained = np.full(config.horizon, rest[place])
    between = {"distance": distances[place, near]}
    low_km, high_km = around(between, config.spread)
    points, low, high = (
        {name: np.asarray(ends[at]) for name, ends in strengths.items()} for at in (1, 0, 2)
    )
    points |= between | {"own_force": unexplained}
    low |= low_km | {"own_force": unexplained - spread}
    high |= high_km | {"own_force": unexplained + spread}
    for j, name in enumerate(known.feature_names):
        points[name] = x[place, -1, j]
        low[name], high[name] = x[:, :, j].min(), x[:, :, j].max()
    points, low, high = jax.device_put((points, low, high))
    last = int(known.years[-1])
    return Model(
        name="migration",
        output=f"balance of {known.places[place]} {config.horizon} years after {last}",
        unit="persons a year",
        model_fn=output,
        inputs=points,
        box=explain.InputBox(low, high),
        labels={
            "distance": [known.places[i] for i in near],
            "own_force": [f"year {h + 1}" for h in range(config.horizon)],
        },
        units={
            "stiffness": "1/year^2", "confinement": "1/year^2", "damping": "1/year",
            "distance": "km", "own_force": "per mille/year^3", "birth_rate": "per mille",
            "death_rate": "per mille", "log_population": "1",
        },
        note="damped motion of all states; strengths are assumed (the migration experiment "
        "estimates them), the force by central differences of the rates, its explained part by "
        "ridge regression on the factors of the year before; box: range of the factors over all "
        "states and years, one standard deviation of the unexplained force, distances to the "
        f"nearest states {config.spread:.0%} up and down",
        source=known.source,
    )  # fmt: skip


def town(config: Config, key: Array, stage_fn: fit.RunStage, mesh: Mesh | None) -> Model:
    """Balance of the town that loses most per head, by what its networks see."""
    choices = replace(
        town_config.VARIANTS["tiny"], hidden=config.hidden, starts=config.starts,
        max_steps=config.max_steps,
    )  # fmt: skip
    known = town_inputs.load(None, choices)
    keys = dict(zip(("clusters", "networks"), jax.random.split(key), strict=True))
    structure = find_structure(choices, known, known.years.size, keys["clusters"])
    problems = final_problems(structure, choices.honest_years)
    networks = train_networks(
        choices, known, structure, problems, keys["networks"], stage_fn, mesh,
        name="sensitivity-town",
    )  # fmt: skip
    chosen = int(known.rate[:, -1].argmin())
    number = next(n for n, p in enumerate(problems) if chosen in p.towns)
    problem, last = problems[number], known.years.size - 1
    ensemble, names = networks.ensemble(number), input_names(networks, known)
    rows = np.concatenate([seen(networks, known, problem.towns, t) for t in problem.train])
    point = seen(networks, known, np.array([chosen]), last)[0]

    def named(values: np.ndarray) -> dict[str, Array]:
        return {name: jnp.asarray(values[j]) for j, name in enumerate(names)}

    def output(inputs: dict[str, Array]) -> Array:
        columns = jnp.stack([inputs[name] for name in names])
        return jnp.mean(fit.predict_ensemble(ensemble, columns)) * known.scale[chosen]

    units = dict(zip(known.names, known.units, strict=True)) | {"past level": known.unit}
    return Model(
        name="town",
        output=f"balance of {known.towns[chosen]} in {known.years[-1]}",
        unit="persons a year",
        model_fn=output,
        inputs=named(point),
        box=explain.InputBox(
            named(np.minimum(rows.min(axis=0), point)), named(np.maximum(rows.max(axis=0), point))
        ),
        labels={},
        units={name: units[name] for name in names},
        note=f"mean of {choices.keep} networks of its cluster; box: the range of every input over "
        "the cluster's training rows",
        source=known.source,
    )
