"""Command line: python -m experiments.regions --help."""

from experiments._command import main
from experiments.regions import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
