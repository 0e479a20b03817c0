"""Feasibility bound: which pairs of MAPE and R2 on the same years can both be true.

With e_t the errors, m = MAPE / 100 and N years, N m = sum |e_t| / |y_t|. Cauchy-Schwarz on the
vectors |e_t| and 1 / |y_t| gives (N m)^2 <= (sum e_t^2) (sum 1 / y_t^2), so the squared error has a
least value for a given MAPE, and

    R2 = 1 - sum e_t^2 / sum (y_t - mean)^2 <= 1 - (N m)^2 / (sum 1 / y_t^2) / sum (y_t - mean)^2

with equality exactly where |e_t| is proportional to 1 / |y_t|. The actual values alone decide,
whatever the model.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from diffmig.evaluate._arrays import as_float, check_years, safe_sqrt
from diffmig.evaluate.printed import half_unit, parse_printed
from diffmig.programs import one_program


class PairCheck(NamedTuple):
    """A printed pair of MAPE and R2 against what the actual values allow.

    Attributes:
        r2_bound: largest R2 at the printed MAPE.
        r2_slack: how far that bound rises at the lower end of the MAPE's rounding interval.
        mape_bound: largest MAPE at the printed R2, percent; NaN for R2 > 1.
        mape_slack: how far that bound rises at the lower end of the R2's rounding interval.
        possible: the pair keeps within the bound, rounding allowed for.
        possible_about_training_mean: the same with R2 taken about the mean of the training years;
            None without them.
    """

    r2_bound: float
    r2_slack: float
    mape_bound: float
    mape_slack: float
    possible: bool
    possible_about_training_mean: bool | None

    @property
    def note(self) -> str:
        """The finding in words for the ledger; empty where the pair is possible."""
        if self.possible:
            return ""
        if self.possible_about_training_mean:
            return "under the printed formula; possible if R2 was taken about the training mean"
        return "MAPE and R2 cannot both be true on these years"


@one_program()
def r2_bound_given_mape(
    mape: ArrayLike, actual: ArrayLike, *, mean: ArrayLike | None = None
) -> Array:
    """Largest R2 that errors with the given MAPE can have.

    r2 <= 1 - (N * mape / 100)^2 / (sum_t 1 / actual_t^2) / (sum_t (actual_t - mean)^2)

    Args:
        mape: mean absolute percentage error, [...], percent, >= 0.
        actual: observed values of the evaluated years, [year], none 0, not all equal to `mean`.
        mean: reference level of R2, scalar; None takes the mean of `actual`.

    Returns:
        bound, [...]; attained by errors proportional to 1 / actual.

    Raises:
        ValueError: `actual` is not one series of at least 2 years.

    Source: Cauchy-Schwarz inequality, derived in the module's head.
    """
    mape, actual = as_float(mape, actual)
    weight, total = _sums(actual, mean)
    return 1 - (actual.shape[-1] * mape / 100) ** 2 / weight / total


@one_program()
def mape_bound_given_r2(
    r2: ArrayLike, actual: ArrayLike, *, mean: ArrayLike | None = None
) -> Array:
    """Largest MAPE that errors with the given R2 can have: the inverse of `r2_bound_given_mape`.

    mape <= 100 / N * sqrt((1 - r2) * (sum_t 1 / actual_t^2) * (sum_t (actual_t - mean)^2))

    Args:
        r2: coefficient of determination, [...], <= 1.
        actual: observed values of the evaluated years, [year], none 0.
        mean: reference level of R2, scalar; None takes the mean of `actual`.

    Returns:
        bound, [...], percent; NaN where r2 > 1.

    Raises:
        ValueError: `actual` is not one series of at least 2 years.

    Source: Cauchy-Schwarz inequality, derived in the module's head.
    """
    r2, actual = as_float(r2, actual)
    weight, total = _sums(actual, mean)
    return 100 / actual.shape[-1] * safe_sqrt((1 - r2) * weight * total)


def check_pair(
    mape: str, r2: str, actual: ArrayLike, *, training: ArrayLike | None = None
) -> PairCheck:
    """A printed MAPE and R2 of the same years, checked with room for the rounding of both.

    The pair is impossible only if the largest R2 at the smallest MAPE that rounds to the printed
    one stays below the smallest R2 that rounds to the printed one.

    Args:
        mape: percent, as printed, such as "5.48": the decimals count.
        r2: as printed.
        actual: observed values of the evaluated years, [year], none 0.
        training: values of the training years, [training year], for the more lenient R2 about their
            mean.

    Returns:
        PairCheck.

    Raises:
        ValueError: a text is not a number, or `actual` is not one series of at least 2 years.

    Source: Cauchy-Schwarz inequality, derived in the module's head.
    """
    printed_mape, printed_r2 = parse_printed(mape), parse_printed(r2)
    least_mape = max(float(printed_mape - half_unit(printed_mape)), 0.0)
    least_r2 = float(printed_r2 - half_unit(printed_r2))
    bound = float(r2_bound_given_mape(float(printed_mape), actual))
    generous = float(r2_bound_given_mape(least_mape, actual))
    mape_bound = float(mape_bound_given_r2(float(printed_r2), actual))
    possible_about_training_mean = None
    if training is not None:
        about = jnp.mean(as_float(training)[0])
        possible_about_training_mean = least_r2 <= float(
            r2_bound_given_mape(least_mape, actual, mean=about)
        )
    return PairCheck(
        r2_bound=bound,
        r2_slack=generous - bound,
        mape_bound=mape_bound,
        mape_slack=float(mape_bound_given_r2(least_r2, actual)) - mape_bound,
        possible=least_r2 <= generous,
        possible_about_training_mean=possible_about_training_mean,
    )


def _sums(actual: Array, mean: ArrayLike | None) -> tuple[Array, Array]:
    """sum 1 / y^2 and the sum of squared deviations."""
    check_years(actual, 2, "actual")
    if actual.ndim != 1:
        raise ValueError(
            f"actual: expected one series [year], got shape {actual.shape}; vmap over series"
        )
    level = jnp.mean(actual) if mean is None else jnp.asarray(mean, actual.dtype)
    return jnp.sum(actual**-2), jnp.sum((actual - jnp.broadcast_to(level, actual.shape)) ** 2)
