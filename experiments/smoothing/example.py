"""The paper's example, the mean wage in the Kharkiv region, recomputed from what is printed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffmig import data, smoothing

# SES starts from the printed forecast of period 15, Holt from the level and trend of period 14
# solved back from the printed columns: all pairs in [5495.2741, 5495.2862] x [141.7536, 141.7683]
# agree with the print.
ALPHA, BETA = 0.9, 0.7
SES_START, HOLT_LEVEL, HOLT_TREND = 5481.47, 5495.28, 141.76
TRAINING_MAPE = (5.39, 4.69)  # printed; ranks the two models before the first error
GAMMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ACTUAL_25 = 7789.0  # UkrStat, as printed


class Example(NamedTuple):
    """Rows 15 to 24 and the forecast of 25.

    Attributes:
        periods: 15 ... 24.  actual: UAH, [period].
        fitted: one-step forecasts of "SES" and "Holt", UAH, [period].
        forecast: of period 25, by model.
        percent: absolute percentage errors by model, [period].
        chosen: model with the smaller error of each row, picked in hindsight, [period].
        rules: one-step MAPE of honest rules, percent, by name.
        bounds: lowest and highest MAPE that any choice between the two columns can have.
        influence: change of the forecast of period 25 per unit of each value, by model, [period].
    """

    periods: np.ndarray
    actual: np.ndarray
    fitted: dict[str, np.ndarray]
    forecast: dict[str, float]
    percent: dict[str, np.ndarray]
    chosen: np.ndarray
    rules: dict[str, float]
    bounds: tuple[float, float]
    influence: dict[str, np.ndarray]

    def mape(self, model: str) -> float:
        return float(self.percent[model].mean())


def run_example() -> Example:
    """Both filters, the honest rules and the hindsight choice."""
    table = data.load_wage_example()
    rows = table[table["period"] <= 24]
    y = data.to_device(rows["actual"].to_numpy(np.float64))
    none = jnp.zeros((1,))
    filters = {
        "SES": (smoothing.SES, (ALPHA,), SES_START, 0.0),
        "Holt": (smoothing.HOLT, (ALPHA, BETA), HOLT_LEVEL, HOLT_TREND),
    }
    fitted, forecast, influence = {}, {}, {}
    for name, (smoother, weights, level, trend) in filters.items():
        params = jnp.asarray(weights)
        start = smoothing.Start(jnp.asarray(level), jnp.asarray(trend), none)

        def next_value(
            y: jax.Array,
            smoother: smoothing.Smoother = smoother,
            params: jax.Array = params,
            start: smoothing.Start = start,
        ) -> jax.Array:
            state = smoothing.run_filter(smoother, params, y, None, start).state
            return smoother.predict(params, state, 1)[0]

        fitted[name] = np.asarray(smoothing.run_filter(smoother, params, y, None, start).fitted)
        forecast[name] = float(next_value(y))
        influence[name] = np.asarray(jax.grad(next_value)(y))
    actual = np.asarray(y)
    percent = {name: 100 * np.abs(actual - made) / actual for name, made in fitted.items()}
    both = np.stack([percent["SES"], percent["Holt"]])
    return Example(
        periods=rows["period"].to_numpy(),
        actual=actual,
        fitted=fitted,
        forecast=forecast,
        percent=percent,
        chosen=np.where(both[1] < both[0], "Holt", "SES"),
        rules=_honest_rules(actual, fitted),
        bounds=(float(both.min(axis=0).mean()), float(both.max(axis=0).mean())),
        influence=influence,
    )


def _honest_rules(actual: np.ndarray, fitted: dict[str, np.ndarray]) -> dict[str, float]:
    """MAPE of rules that see errors up to the row before; the first row by the training MAPE."""
    rules = (
        *[smoothing.b_rule(gamma) for gamma in GAMMAS],
        smoothing.inverse_rule(0.1),
        smoothing.inverse_rule(1.0),
        smoothing.cumulative_rule("percentage"),
        smoothing.equal_rule(),
    )
    y = jnp.asarray(actual)
    errors = jnp.stack([y - jnp.asarray(fitted[name]) for name in ("SES", "Holt")], axis=1)
    prior = jnp.asarray(TRAINING_MAPE)
    observed = jnp.ones(y.shape, bool)
    after = smoothing.rule_weights(rules, errors[..., None], y[:, None], observed[:, None], prior)
    before = smoothing.first_weights(rules, errors[0][:, None], prior)
    weights = jnp.concatenate([before[None], after[:-1]])[..., 0]
    made = jnp.sum(weights * errors[:, None], axis=2)
    mape = 100 * jnp.mean(jnp.abs(made) / y[:, None], axis=0)
    return {rule.name: float(value) for rule, value in zip(rules, mape, strict=True)}
