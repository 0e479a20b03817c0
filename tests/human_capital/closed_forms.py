"""Closed forms of h_t + h_tau = -nu h + f on ages [0, T_m), with zero data unless said.

m = min(t, tau) is the time a cohort has been exposed. H is the integral over age.
Source: method of characteristics; the numbers printed here were computed independently.
"""

import numpy as np

LAST_AGE = 100.0


def constant_h(t, tau, nu, sigma):
    """h = (sigma / nu)(1 - e^{-nu m})."""
    return sigma / nu * -np.expm1(-nu * np.minimum(t, tau))


def constant_total(t, nu, sigma):
    """H = (sigma/nu)[t - (1 - e^{-nu t})/nu + (T_m - t)(1 - e^{-nu t})]."""
    reached = -np.expm1(-nu * t)
    return sigma / nu * (t - reached / nu + (LAST_AGE - t) * reached)


def bracket_h(t, tau, nu, sigma, a, b):
    """h = (sigma/nu)(e^{-nu(tau - u)} - e^{-nu(tau - l)}), l = max(a, tau - m), u = min(b, tau)."""
    low, high = np.maximum(a, tau - np.minimum(t, tau)), np.minimum(b, tau)
    inside = np.exp(-nu * (tau - high)) - np.exp(-nu * (tau - low))
    return np.where(high > low, sigma / nu * inside, 0.0)


def bracket_total(t, nu, sigma, a, b):
    """H = (sigma (b - a)/nu)(1 - e^{-nu t}) for t <= T_m - b."""
    return sigma * (b - a) / nu * -np.expm1(-nu * t)


def growing_h(t, tau, nu, sigma, g):
    """Source sigma e^{gt}: h = sigma e^{gt} (1 - e^{-c m}) / c, c = nu + g; m where c = 0."""
    c, m = nu + g, np.minimum(t, tau)
    return sigma * np.exp(g * t) * (m if c == 0 else -np.expm1(-c * m) / c)


def growing_total(t, nu, sigma, g):
    """H = (sigma e^{gt}/c)[t - (1 - e^{-ct})/c + (T_m - t)(1 - e^{-ct})]."""
    c = nu + g
    reached = -np.expm1(-c * t)
    return sigma * np.exp(g * t) / c * (t - reached / c + (LAST_AGE - t) * reached)


WAVE = {"length": 0.04, "frequency": 0.7, "level": 10.0}


def wave_h(t, tau):
    """Manufactured: h = C + cos(w t) tau e^{-l tau}."""
    return WAVE["level"] + np.cos(WAVE["frequency"] * t) * tau * np.exp(-WAVE["length"] * tau)


def wave_total(t):
    """Its integral over ages 0 to 100."""
    rate, end = WAVE["length"], LAST_AGE
    moment = (1 - (1 + rate * end) * np.exp(-rate * end)) / rate**2
    return WAVE["level"] * end + np.cos(WAVE["frequency"] * t) * moment
