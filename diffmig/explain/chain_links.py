"""Links of the joined chain that no chapter has: production, one balance, migrants by age."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.migration import green


def production(
    productivity: ArrayLike, fixed_assets: Array, effective_labour: Array, capital_share: Array
) -> Array:
    """Product of fixed assets and of the human capital that works: Y = A K^a E^(1 - a).

    Args:
        productivity: A.
        fixed_assets: K, million, > 0.
        effective_labour: E = L H / N, human capital of the labour resources, million, > 0.
        capital_share: a, 1.

    Returns:
        Y, million per year; of degree 1 in K and E.

    Source: Cobb, Douglas, 1928, A theory of production, American Economic Review 18(1), with the
    human capital of labour in place of its number.
    """
    logs = capital_share * jnp.log(fixed_assets) + (1.0 - capital_share) * jnp.log(effective_labour)
    return jnp.asarray(productivity, logs.dtype) * jnp.exp(logs)


def balance_step(
    rate: Array,
    velocity: Array,
    target: Array,
    frequency: Array,
    damping_ratio: Array,
    step: float = 1.0,
) -> tuple[Array, Array, Array]:
    """Exact motion of one damped balance under a force that is constant during the step.

    q'' + 2 zeta w q' + w^2 q = w^2 q*
    x = q - q*:  x(h) = (G' + c G) x + G q',  q'(h) = G' q' - w^2 G x,  c = 2 zeta w
    mean of x = -(q'(h) - q'(0) + c (x(h) - x(0))) / (w^2 h)

    Args:
        rate, velocity: q and q' at the start.
        target: q*, the rate at rest under the force w^2 q*.
        frequency: w, rad/year, > 0.
        damping_ratio: zeta, >= 0; below 1 the balance swings.
        step: h, years.

    Returns:
        q and q' at the end of the step, and the mean of q over it.

    Notes:
        The mean comes from the integral of the equation itself, no quadrature. Differentiable, at
        critical damping too.

    Source: `migration.green`; variation of constants.
    """
    square = frequency**2
    damping = 2.0 * damping_ratio * frequency
    push, push_rate = green(square, damping, step)
    away = rate - target
    later = (push_rate + damping * push) * away + push * velocity
    speed = push_rate * velocity - square * push * away
    mean = -(speed - velocity + damping * (later - away)) / (square * step)
    return target + later, speed, target + mean


def rogers_castro(age: Array, peak_age: ArrayLike = 20.0) -> Array:
    """Intensity of migration by age: children with their parents, a peak of young adults, a base.

    m(x) = a1 e^{-alpha1 x} + a2 exp(-alpha2 (x - mu2) - e^{-lambda2 (x - mu2)}) + c

    Args:
        age: x, years.
        peak_age: mu2, years; the peak lies 3.5 years above it.

    Returns:
        m, 1, shape of `age`, up to a factor.

    Source: Rogers, Castro, 1981, Model migration schedules, IIASA RR-81-30, the standard schedule
    without a retirement peak: a1 = 0.02, alpha1 = alpha2 = 0.1, a2 = 0.06, lambda2 = 0.4,
    c = 0.003.
    """
    since = age - jnp.asarray(peak_age, age.dtype)
    young = 0.02 * jnp.exp(-0.1 * age)
    return young + 0.06 * jnp.exp(-0.1 * since - jnp.exp(-0.4 * since)) + 0.003
