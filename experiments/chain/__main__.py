"""Command line: python -m experiments.chain --help."""

from experiments._command import main
from experiments.chain import EXPERIMENT

if __name__ == "__main__":
    main(EXPERIMENT)
