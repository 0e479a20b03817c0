"""Marginal values of spending: gradient, adjoint, finite change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffmig import explain
from diffmig import human_capital as hc
from tests.human_capital.conftest import case  # noqa: F401

model = jax.jit(hc.human_capital)
marginal_values = jax.jit(explain.marginal_values, static_argnums=2)


@pytest.mark.parametrize("at", [-1, 3, 0])
def test_gradient_equals_the_adjoint(case, at):  # noqa: F811
    values = marginal_values(case.parameters, case.region, at)
    np.testing.assert_allclose(values.gradient, values.adjoint, rtol=1e-12, atol=1e-15)
    later = np.arange(6) > at % 6
    assert (values.gradient[:, later] == 0).all()
    assert (values.gradient[:, ~later] >= 0).all()
    assert (values.gradient[:, ~later] > 0).any()


def test_gradient_is_the_effect_of_one_million_more(case):  # noqa: F811
    """H is linear in spending: the finite change is the gradient itself."""
    values = marginal_values(case.parameters, case.region, -1)
    start = model(case.parameters, case.region).nodes[0]
    for line, year in ((0, 0), (1, 2), (2, 5), (3, 4)):
        amounts = case.region.amounts.at[line, year].add(1.0)
        more = model(case.parameters, case.region._replace(amounts=amounts), start)
        change = more.total[-1] - values.total
        np.testing.assert_allclose(change, values.gradient[line, year], rtol=1e-9)


def test_elasticities_and_inherited_capital_make_up_the_whole(case):  # noqa: F811
    """H(T) = sum of gradient x spending + what the first profile and the newly born left."""
    values = marginal_values(case.parameters, case.region, -1)
    start = model(case.parameters, case.region).nodes[0]
    none = case.region._replace(amounts=jnp.zeros_like(case.region.amounts))
    inherited = model(case.parameters, none, start).total[-1]
    share = values.elasticity.sum() + inherited / values.total
    np.testing.assert_allclose(share, 1.0, rtol=1e-12)


def test_year_outside_is_named(case):  # noqa: F811
    with pytest.raises(ValueError, match="at: expected a row of 6 years"):
        explain.marginal_values(case.parameters, case.region, 6)
