"""Command line: python -m experiments.migration --help."""

from experiments._command import main
from experiments.migration import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
