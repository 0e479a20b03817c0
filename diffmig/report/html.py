"""One self-contained HTML file from run folders: answers, the ledger, then every run."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffmig.report.files import check_name, write_atomic
from diffmig.report.ledger import join_ledgers
from diffmig.report.run_folder import PARTIAL

MAX_ROWS = 200  # of a table shown in full; the parquet has the rest


def render_report(
    run_folders: Sequence[Path], out: Path, title: str, intro: str | Sequence[str] = ()
) -> Path:
    """Write `<out>/report.html` and the joined `<out>/ledger.csv` from run folders, and nothing but
    these.

    The file needs no network, no script and no other file. Everything in it that comes from a run
    is escaped.

    Args:
        run_folders: folders written by `open_run`, in the order of the report.
        out: folder of the report.
        title: heading.
        intro: paragraphs below it.

    Returns:
        Path of the HTML file.

    Raises:
        ValueError: a folder is no run folder, or a file in it cannot be read; the message names it.
    """
    import jinja2

    from diffmig.evaluate import VERDICTS, ledger_totals

    runs = [
        _read_run(Path(folder), f"run-{number}") for number, folder in enumerate(run_folders, 1)
    ]
    ledger = join_ledgers(run_folders, out)
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("diffmig.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters["number"] = format_number
    html = templates.get_template("report.html").render(
        title=title,
        intro=[intro] if isinstance(intro, str) else list(intro),
        runs=runs,
        totals=ledger_totals(ledger).reset_index().to_dict("records") if len(ledger) else [],
        verdicts=VERDICTS,
        ledger={
            paper: rows.to_dict("records") for paper, rows in ledger.groupby("paper", sort=False)
        },
    )
    path = Path(out) / "report.html"
    write_atomic(path, html.encode())
    return path


def format_number(value: Any) -> str:
    """Text of a cell: fractions with four significant digits, a dash for nothing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if value == 0 or math.isinf(value):
        text = {0.0: "0", math.inf: "∞", -math.inf: "-∞"}[value]
    elif not 1e-4 <= abs(value) < 1e7:
        text = f"{value:.3e}"
    else:
        text = f"{value:.{max(3 - math.floor(math.log10(abs(value))), 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def _read_run(folder: Path, anchor: str) -> dict[str, Any]:
    config = _read_json(folder / "config.json")
    if not isinstance(config, dict) or not {"experiment", "variant"} <= set(config):
        raise ValueError(f"{folder}: expected a run folder with config.json, as open_run writes it")
    metrics = _read_json(folder / "metrics.json") or {}
    not_finite = metrics.pop("not_finite", {})
    flat = {
        path: not_finite.get(path, value)
        for path, value in _flatten(metrics)
        if path not in ("question", "answer", "answer_figure", "details")
    }
    sections = [
        _read_section(folder, section) for section in _read_json(folder / "contents.json") or []
    ]
    shown = metrics.get("answer_figure")
    return {
        "anchor": anchor,
        "name": f"{config['experiment']}, {config['variant']}",
        "folder": folder.name,
        "finished": not folder.name.endswith(PARTIAL),
        "question": metrics.get("question", config["experiment"]),
        "answer": metrics.get("answer", "no answer was written"),
        "details": metrics.get("details", ""),
        "converged": _converged(metrics.get("converged")),
        "metrics": flat,
        "config": json.dumps(config, indent=2, ensure_ascii=False),
        "environment": json.dumps(
            _read_json(folder / "environment.json"), indent=2, ensure_ascii=False
        ),
        "sections": sections,
        "figure": next((s for s in sections if s["kind"] == "figure" and s["name"] == shown), None),
    }


def _read_section(folder: Path, section: dict[str, Any]) -> dict[str, Any]:
    try:
        # The name, not a stored path, says which file is meant: nothing outside the folder is read.
        name = check_name(section["name"], "name")
        if section["kind"] == "figure":
            png = (folder / "figures" / f"{name}.png").read_bytes()
            encoded = base64.b64encode(png).decode()
            return {**section, "png": encoded, "file": f"figures/{name}.parquet"}
        if section["kind"] == "table":
            file = f"tables/{name}.parquet"
            shown = _read_table(folder / file) if section["show"] else {}
            return {**section, **shown, "file": file}
        return section
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{folder}: a section of contents.json cannot be read: {error}") from None


def _read_table(path: Path) -> dict[str, Any]:
    import pandas as pd

    frame = pd.read_parquet(path)
    head = frame.head(MAX_ROWS).astype(object)
    return {
        "columns": list(frame.columns),
        "rows": head.where(head.notna(), None).to_dict("records"),
        "numeric": {
            name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name].dtype)
        },
        "num_rows": len(frame),
    }


def _read_json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None


def _flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves with dotted paths, as `not_finite` names them; lists of plain values stay whole."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if any(isinstance(item, list | Mapping) for item in value):
            yield from _flatten({str(row): item for row, item in enumerate(value)}, path)
        else:
            yield path, ", ".join(format_number(item) for item in value)
    else:
        yield path, value


def _converged(value: Any) -> bool:
    """Whether nothing says otherwise: no False and no share below 1, here or inside."""
    if isinstance(value, Mapping | list):
        return all(map(_converged, value.values() if isinstance(value, Mapping) else value))
    return not (isinstance(value, bool | int | float) and value < 1)
