"""Profile likelihoods: closed forms of a normal model, parameters that are not determined."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import fit

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 2))
X[:, 1] = 0.8 * X[:, 0] + 0.6 * X[:, 1]  # correlated: a profile is wider than a slice
Y = X @ [1.0, -0.5] + 0.3 * rng.normal(size=30)


def normal(theta):
    """Linear model with known noise 0.3: parameters are two slopes and an idle third."""
    residual = (jnp.asarray(Y) - jnp.asarray(X) @ theta[:2]) / 0.3
    return -0.5 * jnp.sum(residual**2) - 0.5 * theta[2] ** 2


def idle(theta):
    """Only the sum of the first two is determined."""
    return -0.5 * ((theta[0] + theta[1] - 1.0) / 0.1) ** 2


def test_profile_of_a_normal_model_is_its_parabola():
    best = np.append(np.linalg.lstsq(X, Y, rcond=None)[0], 0.0)
    sd = 0.3 * np.sqrt(np.diag(np.linalg.inv(X.T @ X)))
    grids = np.stack([best[a] + np.linspace(-4, 4, 41) * sd[a] for a in range(2)])
    found = fit.profile_likelihood(normal, jnp.asarray(best), jnp.asarray(grids))
    assert bool(found.settled.all())
    top = float(normal(jnp.asarray(best)))
    expected = top - 0.5 * ((grids - best[:2, None]) / sd[:, None]) ** 2
    np.testing.assert_allclose(found.log_likelihood, expected, atol=1e-5)
    np.testing.assert_allclose(found.low, best[:2] - 1.96 * sd, atol=0.02 * sd.max())
    np.testing.assert_allclose(found.high, best[:2] + 1.96 * sd, atol=0.02 * sd.max())
    assert bool(found.bounded_below.all() & found.bounded_above.all())
    np.testing.assert_allclose(found.argument[0, :, 0], grids[0])


def test_what_is_not_determined_has_no_end():
    grids = jnp.linspace(-3.0, 3.0, 13)[None]
    found = fit.profile_likelihood(idle, jnp.array([0.5, 0.5]), grids)
    np.testing.assert_allclose(found.log_likelihood, 0.0, atol=1e-6)
    assert not bool(found.bounded_below[0])
    assert not bool(found.bounded_above[0])
    assert float(found.low[0]) == -3.0
    assert float(found.high[0]) == 3.0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="grids"):
        fit.profile_likelihood(idle, jnp.zeros(2), jnp.zeros(3))
    with pytest.raises(ValueError, match="3 grid points"):
        fit.profile_likelihood(idle, jnp.zeros(2), jnp.zeros((1, 2)))
