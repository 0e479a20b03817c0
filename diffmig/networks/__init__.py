"""Networks of the forecasters: LSTM, Elman and back-propagation networks, padded and masked to any
width."""

from diffmig.networks.cells import ACTIVATIONS, BPNN, LSTM, Elman, activation
from diffmig.networks.layouts import Layout, first_valid_year, init_network, predict
from diffmig.networks.widths import BUCKETS, bucket, glorot_uniform, num_weights, unit_mask

__all__ = [
    "ACTIVATIONS",
    "BPNN",
    "BUCKETS",
    "LSTM",
    "Elman",
    "Layout",
    "activation",
    "bucket",
    "first_valid_year",
    "glorot_uniform",
    "init_network",
    "num_weights",
    "predict",
    "unit_mask",
]
