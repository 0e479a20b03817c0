"""Anchors met by gradients, and how far the parameters may move."""

import jax.numpy as jnp
import numpy as np

from diffmig import fit
from diffmig import human_capital as hc
from tests.human_capital.conftest import case  # noqa: F401


def test_recovers_known_wear_and_start_through_the_solver(case):  # noqa: F811
    """Two facts of a region with known parameters give the parameters back."""
    truth = jnp.array([jnp.log(0.06), jnp.log(1.4)])

    def facts(x):
        parameters = case.parameters._replace(
            wear_rate=jnp.exp(x[0]) * jnp.ones(3), initial_factor=jnp.exp(x[1])
        )
        total = hc.human_capital(parameters, case.region).total
        return jnp.stack([total[-1], total[3] - total[1]])

    wanted = facts(truth)
    tolerance = jnp.array([0.01, 0.005]) * wanted[0]

    def residuals(x):
        return (facts(x) - wanted) / tolerance

    starts = jnp.log(jnp.array([[0.02, 1.0], [0.2, 2.0]]))
    found = fit.calibrate(residuals, starts)
    np.testing.assert_allclose(found.parameters, truth, atol=1e-6)
    assert found.converged
    assert found.met
    np.testing.assert_allclose(found.standard_error**2, np.diag(found.covariance), rtol=1e-12)
    # one standard error along an axis of the ellipse moves the facts by one tolerance
    values, vectors = np.linalg.eigh(found.covariance)
    for size, vector in zip(values, vectors.T, strict=True):
        moved = np.asarray(residuals(found.parameters + 1e-3 * np.sqrt(size) * vector))
        np.testing.assert_allclose(np.linalg.norm(moved), 1e-3, rtol=1e-2)


def test_anchors_that_contradict_each_other_are_not_met():
    def residuals(x):
        return jnp.stack([x[0] - 10.0, x[0] + 10.0])

    found = fit.calibrate(residuals, jnp.zeros((1, 1)))
    np.testing.assert_allclose(found.parameters, 0.0, atol=1e-6)
    assert not found.met


def test_parameters_that_no_anchor_sees_have_infinite_errors():
    def residuals(x):
        return jnp.stack([x[0] + x[1] - 1.0])

    found = fit.calibrate(residuals, jnp.zeros((1, 2)))
    assert np.isinf(found.standard_error).all()
