"""Base filters and rules by name, for series with and without a season."""

from diffmig import data, smoothing
from experiments.smoothing.config import Config

PLAIN = {
    model.name: model
    for model in (
        smoothing.NAIVE,
        smoothing.DRIFT,
        smoothing.SES,
        smoothing.HOLT,
        smoothing.DAMPED,
        smoothing.THETA,
        smoothing.TRIGG_LEACH,
    )
}
SEASONAL = ("seasonal-naive", "additive", "multiplicative")
FIRST = "b"  # short names of the primary selection and the primary weights
WEIGHTS = "inverse"


def base_models(config: Config, season: int) -> tuple[smoothing.Smoother, ...]:
    """The filters that `config` names, seasonal ones only with a season.

    Raises:
        DataError: an unknown name, or none left.
    """
    seasonal = {
        "seasonal-naive": smoothing.seasonal_naive,
        "additive": smoothing.holt_winters,
        "multiplicative": lambda m: smoothing.holt_winters(m, multiplicative=True),
    }
    unknown = [name for name in config.models if name not in (*PLAIN, *SEASONAL)]
    chosen = [name for name in config.models if season > 1 or name not in SEASONAL]
    if unknown or not chosen:
        what = f"unknown base models {unknown}" if unknown else "no base model without a season"
        cure = f"choose --config.models from {', '.join((*PLAIN, *SEASONAL))}"
        raise data.DataError([data.Problem(None, "models", None, what, cure)])
    return tuple(PLAIN[name] if name in PLAIN else seasonal[name](season) for name in chosen)


def rules(config: Config, season: int) -> tuple[smoothing.Rule, ...]:
    """The primary selection, the primary weights, then the other rules."""
    return (
        smoothing.b_rule(config.gamma),
        smoothing.inverse_rule(config.gamma, config.kappa),
        *([smoothing.b_rule(1.0)] if config.gamma < 1.0 else []),
        smoothing.cumulative_rule("squared"),
        smoothing.window_rule(max(season, 4), "percentage"),
        smoothing.own_gamma_rule(),
        smoothing.aggregation_rule(0.5),
        smoothing.equal_rule(),
    )
