"""Command line: python -m experiments.towns --help."""

from experiments._command import main
from experiments.towns import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
