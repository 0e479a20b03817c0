"""From a panel with one place to the series that the forecasters are trained on."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffmig import data, explain, fit
from experiments.grp.config import Config


class Economy(NamedTuple):
    """One region on the years of data and forecast.

    Attributes:
        place: its name.
        bases: price bases, in the order of the leading axis: "current" and (with a price index or a
            column) "comparable".
        years: [year], data then forecast years.
        num_training, num_data: number of training years, of years with data.
        factor_names: factors in the order of the columns.
        index_factor: column of the price index among the factors, or None.
        observed: every base with actual factors to the last data year, then forecast ones (AR(1),
            `ar1_rule`).
        printed: the same with AR(1) in levels for every factor after the data, as the paper has it.
        ex_ante: every base with factors forecast from the last training year on.
        factor_status: how each factor is forecast after the data and after the training years,
            text.
    """

    place: str
    bases: tuple[str, ...]
    years: np.ndarray
    num_training: int
    num_data: int
    factor_names: tuple[str, ...]
    index_factor: int | None
    observed: fit.Series
    printed: fit.Series
    ex_ante: fit.Series
    factor_status: dict[str, str]

    @property
    def grp(self) -> np.ndarray:
        """Actual GRP, [base, data year]."""
        return np.asarray(self.observed.grp)[:, : self.num_data]

    @property
    def validation(self) -> slice:
        return slice(self.num_training, self.num_data)


def make_economy(
    config: Config, panel: data.Panel, as_printed: data.Panel | None = None
) -> Economy:
    """Series of the only place of `panel` in every price basis.

    `as_printed` has the factors with their misprints, for what is run as described.

    Raises:
        DataError: columns are missing, or too few years on either side of the last training year.
    """
    config = with_defaults(config, panel)
    first, last = int(panel.years[0]), int(panel.years[-1])
    num_training, num_data = config.last_training_year - first + 1, len(panel.years)
    if num_training < 8 or not config.last_training_year < last < config.last_forecast_year:
        raise _error(
            f"years {first}-{last} do not fit training to {config.last_training_year} and a "
            f"forecast to {config.last_forecast_year}: at least 8 training years, 1 later and 1 "
            "forecast year",
            "set --config.last-training-year and --config.last-forecast-year",
        )
    horizon = config.last_forecast_year - last
    years = np.arange(first, config.last_forecast_year + 1)
    names = config.factors
    history, misprinted = (
        np.stack([data.variable(source, name)[0] for name in names], axis=1)
        for source in (panel, as_printed or panel)
    )

    def extended(known: np.ndarray, rule: bool) -> tuple[np.ndarray, np.ndarray]:
        ahead = len(years) - len(known)
        known_years = years[: len(known)]
        path = explain.ar1_scenario(known, known_years, names, ahead)
        in_logs = np.zeros(len(names), bool)
        if rule:
            in_logs = (np.asarray(path.status) == 1) & (known > 0).all(axis=0)
            chosen = [name for name, log in zip(names, in_logs, strict=True) if log]
            path = explain.ar1_scenario(known, known_years, names, ahead, log_difference=chosen)
        return np.concatenate([known, np.asarray(path.values)]), in_logs

    observed, logs_after_data = extended(history, rule=True)
    printed, _ = extended(misprinted, rule=False)
    ex_ante, logs_after_training = extended(history[:num_training], rule=True)

    grp = {"current": data.variable(panel, config.grp)[0]}
    if config.grp_comparable:
        grp["comparable"] = data.variable(panel, config.grp_comparable)[0]
    elif config.price_index:
        grp["comparable"] = data.to_comparable_prices(
            grp["current"], data.variable(panel, config.price_index)[0], panel.years, last
        )
    index_factor = names.index(config.price_index) if config.price_index in names else None
    if config.price_index and index_factor is None:
        raise _error(
            f"the price index {config.price_index!r} is not among the factors {names}",
            "add it to --config.factors",
        )

    def series(factors: np.ndarray) -> fit.Series:
        prices = (
            factors[:, index_factor] if index_factor is not None else np.full(len(years), 100.0)
        )
        index = [prices if base == "current" else np.full(len(years), 100.0) for base in grp]
        levels = [np.concatenate([level, np.repeat(level[-1], horizon)]) for level in grp.values()]
        stacked: list[Array] = [
            jnp.asarray(np.stack(rows)) for rows in (levels, [factors] * len(grp), index)
        ]
        return fit.Series(*stacked)

    words = {
        True: "AR(1) of log differences (root in levels not below 1)",
        False: "AR(1) in levels",
    }
    return Economy(
        place=panel.places[0],
        bases=tuple(grp),
        years=years,
        num_training=num_training,
        num_data=num_data,
        factor_names=names,
        index_factor=index_factor,
        observed=series(observed),
        printed=series(printed),
        ex_ante=series(ex_ante),
        factor_status={
            name: f"after the data: {words[bool(a)]}; after the training years: {words[bool(b)]}"
            for name, a, b in zip(names, logs_after_data, logs_after_training, strict=True)
        },
    )


def with_defaults(config: Config, panel: data.Panel) -> Config:
    """`config` with empty columns and years filled in from the panel, its columns checked."""
    last = int(panel.years[-1])
    wanted = [
        c for c in (config.grp, config.grp_comparable, config.price_index, *config.factors) if c
    ]
    missing = [c for c in wanted if c not in panel.names]
    if missing:
        raise _error(
            f"columns {missing} are missing; there are {list(panel.names)}",
            "name yours with --config.grp, --config.grp-comparable, --config.price-index and "
            "--config.factors ('' and no names: none)",
        )
    others = (config.grp, config.grp_comparable)
    factors = config.factors or tuple(name for name in panel.names if name not in others)
    if not factors:
        raise _error("there is no factor column", "add at least one, capital or labour say")
    return replace(
        config,
        factors=factors,
        last_training_year=config.last_training_year or last - 6,
        last_forecast_year=config.last_forecast_year or last + 7,
    )


def _error(what: str, cure: str) -> data.DataError:
    return data.DataError([data.Problem(None, None, None, what, cure)])


def first_years(finals: fit.Task, num_years: int) -> fit.Task:
    """One fold, [task, 1, ...], of the first `num_years`: later ones have no weight in a search."""
    return jax.tree.map(
        lambda leaf: leaf[:, None, :num_years] if leaf.ndim > 1 else leaf[:, None], finals
    )
