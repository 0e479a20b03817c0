"""Command line: python -m experiments.sensitivity --help."""

from experiments._command import main
from experiments.sensitivity import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
