"""Tidy tables of quantities that belong to an output number and an input number."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

Labels = Sequence[Any] | None
Units = Mapping[Any, str] | None


def labels_of(labels: Labels, number: int, name: str) -> list[Any]:
    """`labels`, or 0, 1, ...

    Raises:
        ValueError: another number of labels.
    """
    if labels is None:
        return list(range(number))
    if len(labels) != number:
        raise ValueError(f"{name}: expected {number} labels, got {len(labels)}")
    return list(labels)


def input_rows(
    tree: Any, input_labels: Mapping[str, Sequence[Any]] | None
) -> list[tuple[str, list[Any]]]:
    """Name (path in the pytree, parts joined by ".") and labels of every leaf.

    Raises:
        ValueError: labels of another number, or of an input that is not there.
    """
    named = [
        (jax.tree_util.keystr(path, simple=True, separator="."), int(np.size(leaf)))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    given = input_labels or {}
    _known(given, [name for name, _ in named], "input_labels")
    return [
        (name, labels_of(given.get(name), size, f"input_labels[{name!r}]")) for name, size in named
    ]


def head(outputs: Sequence[Any], name: str, index: Sequence[Any]) -> dict[str, Any]:
    """First columns of one leaf: output, input, index; a row per output and input number."""
    return {
        "output": np.repeat(np.asarray(outputs), len(index)),
        "input": name,
        "index": np.tile(np.asarray(index), len(outputs)),
    }


def tidy_frame(
    names: Any,
    columns: Mapping[str, Any],
    output_columns: Mapping[str, Any],
    *,
    output_labels: Labels = None,
    input_labels: Mapping[str, Sequence[Any]] | None = None,
    input_units: Units = None,
    output_units: Units = None,
) -> pd.DataFrame:
    """One row per output number and input number.

    Args:
        names: pytree like the inputs, leaves [*in]; only names and shapes are read.
        columns: pytrees like the inputs by name of column, leaves [*out, *in].
        output_columns: arrays [*out] by name of column, at least one.
        output_labels, input_labels, input_units, output_units: as `sensitivity_frame`.

    Returns:
        DataFrame: output, input, index, `columns`, `output_columns` and units where given.
    """
    alone = {name: np.asarray(values).reshape(-1) for name, values in output_columns.items()}
    num_outputs = next(iter(alone.values())).size
    outputs = labels_of(output_labels, num_outputs, "output_labels")
    leaves = {name: jax.tree.leaves(tree) for name, tree in columns.items()}
    tables = []
    for number, (name, index) in enumerate(input_rows(names, input_labels)):
        made = head(outputs, name, index)
        made |= {key: np.asarray(parts[number]).reshape(-1) for key, parts in leaves.items()}
        made |= {key: np.repeat(values, len(index)) for key, values in alone.items()}
        tables.append(pd.DataFrame(made))
    return with_units(pd.concat(tables, ignore_index=True), input_units, output_units)


def with_units(
    frame: pd.DataFrame,
    input_units: Units,
    output_units: Units,
    *,
    inputs: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """`frame` with columns of units; without those of which nothing is given.

    Args:
        frame: with columns "output" and "input".
        input_units: unit by name of the input; missing names stay empty.
        output_units: unit by label of the output; missing labels stay empty.
        inputs: column of names -> column of units; None: input -> input_unit.

    Raises:
        ValueError: a unit of an input or output that is not there.
    """
    inputs = inputs or {"input": "input_unit"}
    if input_units is not None:
        known = [name for column in inputs for name in frame[column]]
        _known(input_units, known, "input_units")
        for column, unit in inputs.items():
            frame = frame.assign(**{unit: [input_units.get(n, "") for n in frame[column]]})
    if output_units is not None:
        _known(output_units, frame["output"].tolist(), "output_units")
        frame = frame.assign(output_unit=[output_units.get(n, "") for n in frame["output"]])
    return frame


def _known(given: Mapping[Any, Any], known: Sequence[Any], words: str) -> None:
    missing = [name for name in given if name not in set(known)]
    if missing:
        raise ValueError(
            f"{words}: {missing} are not there; expected some of {list(dict.fromkeys(known))}"
        )
