"""Which policy a group of towns calls for, and which towns may become strongholds: rules on
forecasts of the migration balance, stated so that they can be argued with."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

POLICIES = ("stimulating", "compensatory", "shift work")


@dataclass(frozen=True)
class PolicyConfig:
    """Thresholds of the two rules; every one is a choice.

    Attributes:
        stimulating_loss: greatest loss of a cluster for a stimulating policy, residents per 1000
            and year.
        shift_loss: loss from which on a cluster is for shift work, same unit; between the two:
            compensatory measures.
        stronghold_balance: a stronghold's balance is above it in every year, persons/year.
    """

    stimulating_loss: float = 8.0
    shift_loss: float = 12.0
    stronghold_balance: float = 0.0

    def __post_init__(self) -> None:
        if not self.stimulating_loss < self.shift_loss:
            raise ValueError(
                "expected stimulating_loss < shift_loss, got "
                f"{self.stimulating_loss} and {self.shift_loss}"
            )


class Policy(NamedTuple):
    """Policy by cluster.

    Attributes:
        clusters: labels, [cluster], ascending.
        town_loss: mean yearly loss by migration, [..., town], per 1000 residents; NaN where the
            population is not known.
        loss: median of its towns, [..., cluster].
        policy: int8, [..., cluster], index into `POLICIES`.
    """

    clusters: np.ndarray
    town_loss: np.ndarray
    loss: np.ndarray
    policy: np.ndarray


def cluster_policy(
    balance: ArrayLike, population: ArrayLike, cluster: ArrayLike, config: PolicyConfig
) -> Policy:
    """Policy of every cluster by the loss that is forecast for its towns.

    loss_i = -1000 mean_t balance_it / population_i;  loss of a cluster = median over its towns
    stimulating: loss <= stimulating_loss; shift work: loss >= shift_loss; compensatory: between

    Args:
        balance: forecast, [..., town, year], persons/year, + is a gain, finite; an axis of members
            in front shows how sure the policy is.
        population: [town], persons, > 0; NaN where not known: such towns do not count.
        cluster: label of every town, [town], integers.
        config: thresholds.

    Returns:
        Policy.

    Raises:
        ValueError: shapes, values that are not finite, a cluster without any known population.

    Notes:
        The paper gives its clusters 1, 2, 3 the policies in this order and says why in words only:
        cluster 1 is "more stable", cluster 3 "the most difficult". Its printed forecasts support
        that order: median losses of 4.7, 9.9 and 13.4 per 1000 (7.2, 9.9, 13.4 where Zhanaozen and
        Tekeli are read as thousands), and means or losses in persons stand in the same order. They
        do not support the borders. Two borders between three medians can always be found; 14 % of
        random clusters of the same sizes stand in this order, and 3 % get these policies. Single
        towns deserve the policy of their cluster in half of the cases only. By a rank test cluster
        2 differs neither from 1 nor from 3 (p = .3 and .2); without Aksai or without Balkhash it
        would be stimulated.

    Source: Mishchenko et al., 2024, section on proposals; thresholds of diffmig.
    """
    forecast, residents = np.asarray(balance, float), np.asarray(population, float)
    labels = np.asarray(cluster)
    if forecast.ndim < 2 or not forecast.shape[-2:-1] == residents.shape == labels.shape:
        raise ValueError(
            "expected balance [..., town, year], population [town] and cluster [town], got "
            f"{forecast.shape}, {residents.shape} and {labels.shape}"
        )
    _check_forecast(forecast)
    known = ~np.isnan(residents)
    if not (residents[known] > 0).all() or not np.isfinite(residents[known]).all():
        raise ValueError("population: expected values > 0, in persons; NaN where not known")
    clusters = np.unique(labels)
    empty = [label for label in clusters.tolist() if not known[labels == label].any()]
    if empty:
        raise ValueError(f"population: no town of cluster {empty[0]} has one, so it has no loss")
    town_loss = -1000.0 * forecast.mean(axis=-1) / residents
    loss = np.stack(
        [np.median(town_loss[..., (labels == label) & known], axis=-1) for label in clusters],
        axis=-1,
    )
    policy = np.where(loss >= config.shift_loss, 2, loss > config.stimulating_loss)
    return Policy(clusters, town_loss, loss, policy.astype(np.int8))


def strongholds(balance: ArrayLike, config: PolicyConfig) -> np.ndarray:
    """True where a town gains people by migration in every forecast year, [..., town].

    Args:
        balance: forecast, [..., town, year], persons/year, finite.
        config: `stronghold_balance`.

    Raises:
        ValueError: values that are not finite, or no year.

    Source: Mishchenko et al., 2024, section on proposals: towns for which growth is forecast "may
    become stronghold settlements"; that every year counts is a reading of diffmig.
    """
    forecast = np.asarray(balance, float)
    _check_forecast(forecast)
    return np.all(forecast > config.stronghold_balance, axis=-1)


def _check_forecast(forecast: np.ndarray) -> None:
    if not forecast.size or not np.isfinite(forecast).all():
        raise ValueError(
            f"balance: expected finite forecasts in at least one year, got shape {forecast.shape} "
            f"with {int((~np.isfinite(forecast)).sum())} values missing; leave such towns out"
        )
