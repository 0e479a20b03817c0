"""Command line: python -m experiments.smoothing --help."""

from experiments._command import main
from experiments.smoothing import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
