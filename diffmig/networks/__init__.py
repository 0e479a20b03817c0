"""Networks of the forecasters: LSTM, Elman and back-propagation networks, padded and masked to any
width; the multilayer perceptron; residual networks of time with their derivatives."""

from diffmig.networks.cells import ACTIVATIONS, BPNN, LSTM, Elman, activation
from diffmig.networks.layouts import Layout, first_valid_year, init_network, predict
from diffmig.networks.perceptron import (
    Perceptron,
    incoming_signal,
    layer_outputs,
    layer_weights,
    logistic,
    with_bias,
)
from diffmig.networks.residual import ResidualNetwork, residual_taylor, time_features
from diffmig.networks.widths import BUCKETS, bucket, glorot_uniform, num_weights, unit_mask

__all__ = [
    "ACTIVATIONS",
    "BPNN",
    "BUCKETS",
    "LSTM",
    "Elman",
    "Layout",
    "Perceptron",
    "ResidualNetwork",
    "activation",
    "bucket",
    "first_valid_year",
    "glorot_uniform",
    "incoming_signal",
    "init_network",
    "layer_outputs",
    "layer_weights",
    "logistic",
    "num_weights",
    "predict",
    "residual_taylor",
    "time_features",
    "unit_mask",
    "with_bias",
]
