"""Command line: python -m experiments.human_capital --help."""

from experiments._command import main
from experiments.human_capital import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
