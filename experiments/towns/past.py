"""What a change of a factor that has happened did to the balances."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import fit
from experiments.towns.inputs import Inputs
from experiments.towns.networks import with_level
from experiments.towns.outlook import Outlook


def past_factor(inputs: Inputs, ahead: Outlook, frozen: np.ndarray) -> int:
    """The free kept factor that has moved most since the first training year, in its spread."""
    values = inputs.factors[:, :, ahead.networks.kept]
    first = ahead.networks.problems[0].train[0]
    moved = np.abs(values[:, -1] - values[:, first]).mean(axis=0)
    spread = values.std(axis=(0, 1))
    return int(
        np.argmax(np.where(frozen | (spread == 0), -1.0, moved / np.maximum(spread, 1e-300)))
    )


def past_effect(inputs: Inputs, ahead: Outlook, number: int, factor: int) -> np.ndarray:
    """Model with the actual factors less the model had one of them stayed, persons, [member, town].

    Actual less no-decision path, the residual of the model kept in both: so only the model's answer
    to the factor counts.
    """
    networks = ahead.networks
    p, last = networks.problems[number], inputs.years.size - 1
    actual = inputs.factors[p.towns, last][:, networks.kept]
    stayed = actual.copy()
    stayed[:, factor] = inputs.factors[p.towns, p.train[0]][:, networks.kept[factor]]
    ensemble = networks.ensemble(number)
    both = [
        np.asarray(
            balances(
                ensemble,
                jnp.asarray(with_level(networks, inputs, p.towns, x, last)),
                jnp.asarray(inputs.scale[p.towns]),
            )
        )
        for x in (actual, stayed)
    ]
    return both[0] - both[1]


@jax.jit
def balances(ensemble: fit.NetworkEnsemble, x: Array, scale: Array) -> Array:
    """Persons, [member, town]."""
    out = fit.predict_ensemble(ensemble, x)
    return out * jnp.broadcast_to(scale, out.shape)
