"""Command line: python -m experiments.grp --help."""

from experiments._command import main
from experiments.grp import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
