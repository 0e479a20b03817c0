"""The report says what the run folders say: escaped, self-contained, with every doubt marked."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffmig.evaluate import Claim, Evidence, Row, ledger_frame
from diffmig.report import draw_bars, join_ledgers, open_run, read_ledger, render_report
from diffmig.report.html import MAX_ROWS, format_number

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil onerror=1>"


@dataclass(frozen=True)
class Config:
    title: str = HOSTILE


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


TWENTY = np.linspace(4.0, 5.0, 20)
CLAIMS = [
    (
        Claim("GRP", "table 2", "MAPE", "%", "5.40", "stochastic", higher_is_better=False),
        Evidence(as_described=TWENTY + 1, conditional=TWENTY),
    ),
    (
        Claim("GRP", "table 2", "R2", "1", ".82", "deterministic"),
        Evidence(as_described=0.5, bound=-0.235, bound_kind="upper"),
    ),
    (Claim("GRP", "table 3", HOSTILE, "s", "767", "seconds"), Evidence(note=HOSTILE)),
    (Claim(HOSTILE, HOSTILE, "n", HOSTILE, "1", "deterministic"), Evidence(as_described=2)),
]


def write_run(out: Path, variant: str, **metrics: Any) -> Path:
    table = pd.DataFrame(
        {"label": [HOSTILE, "b"], "value": [1.0, np.nan], "converged": [True, False]}
    )
    with open_run(out, "grp", variant, Config(), seed=0, note=lambda _: None) as run:
        run.write_text("first", HOSTILE, [HOSTILE])
        run.write_table("scores", table, HOSTILE, units={"value": HOSTILE}, source=HOSTILE)
        drawn = draw_bars(table, title="Scores", x_label="MAPE, %", source="own")
        run.write_figure("bars", drawn, table, HOSTILE, source=HOSTILE)
        run.write_table("long", pd.DataFrame({"n": range(MAX_ROWS + 5)}), "Long")
        run.write_table("aside", table, "Kept aside", show=False)
        run.write_ledger(ledger_frame(CLAIMS))
        run.write_metrics(metrics)
    return run.folder


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out")
    runs = [
        write_run(
            out,
            "base",
            question=HOSTILE,
            answer="Yes, 4.9 %",
            details="Measured by hand.",
            answer_figure="bars",
            converged=True,
            mape=np.inf,
        ),
        write_run(
            out, "literal", question="Again?", answer=HOSTILE, converged={"a": 0.85, "b": 1.0}
        ),
    ]
    path = render_report(runs, out, f"Title {HOSTILE}", HOSTILE)
    return path, path.read_text()


def test_hostile_text_stays_text(report: tuple[Path, str]) -> None:
    page = Page(report[1])
    assert page.text.count("<script>alert('x')</script>") >= 12
    tags = [tag for tag, _ in page.tags]
    assert "script" not in tags
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_page_needs_nothing_but_itself(report: tuple[Path, str]) -> None:
    page = Page(report[1])
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    links = [a.get("src") or a.get("href") or "" for t, a in page.tags if t in ("img", "a")]
    assert all(link.startswith(("data:image/png;base64,", "#run-")) for link in links)
    assert sum(link.startswith("data:") for link in links) == 3  # two runs, one shown as an answer
    assert "url(" not in report[1]
    assert "@import" not in report[1]
    metas = [attributes for tag, attributes in page.tags if tag == "meta"]
    assert any(meta.get("name") == "viewport" for meta in metas)
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in metas)
    boxed = len(re.findall(r'<div class="scroll( tall)?"><table', report[1]))
    assert boxed == sum(tag == "table" for tag, _ in page.tags)


def test_answers_sections_and_doubts_are_shown(report: tuple[Path, str]) -> None:
    html = report[1]
    page = Page(html)
    assert html.index("Yes, 4.9 %") < html.index("Claims ledger") < html.index('id="run-1"')
    assert html.index("Yes, 4.9 %") < html.index("<img") < html.index("Claims ledger")
    assert html.count("Yes, 4.9 %") == 2  # on the first page and at the head of its own
    assert html.index('id="run-1"') < html.index("Measured by hand.") < html.index('id="run-2"')
    assert html.count("Measured by hand.") == 1
    run = html[html.index('id="run-1"') : html.index('id="run-2"')]
    order = ["<h3>", "Drawn from figures/bars.parquet", "First 200 of 205 rows", "In tables/aside"]
    assert sorted(order, key=run.index) == order
    assert "inf" in run  # the metric that is null in metrics.json
    assert "not converged" not in run
    assert "not converged" in html[html.index('id="run-2"') :]
    assert [a.get("class") for t, a in page.tags if t == "tr"].count("unconverged") == 2


def test_ledgers_are_joined_and_counted(report: tuple[Path, str]) -> None:
    path, html = report
    joined = read_ledger(path.parent / "ledger.csv")
    assert tuple(joined.columns) == Row._fields
    assert joined["printed"].tolist() == ["5.40", ".82", "767", "1"] * 2
    rest = html[html.index("Claims ledger") :]
    row = re.search(r"<tr><td>GRP</td>.*?</tr>", html, re.DOTALL)
    assert row is not None
    words = " ".join(re.sub("<[^>]+>", " ", row[0]).split())
    assert words == (
        "GRP 6 printed numbers impossible 2 not checkable 2 reproduced 2 not reproduced 0 beaten 2"
    )
    for shown in (">5.40<", ">5.500 [5.050, 5.950]<", "-0.235", ">.82<"):
        assert shown in rest
    assert rest.count('class="verdict impossible"') == 2


def test_report_without_ledgers_and_of_an_unfinished_run(tmp_path: Path) -> None:
    with (
        pytest.raises(ArithmeticError),
        open_run(tmp_path, "e", "v", Config("plain"), seed=0, note=lambda _: None) as run,
    ):
        raise ArithmeticError
    html = render_report([run.folder], tmp_path, "Title").read_text()
    assert "unfinished run" in html
    assert "no answer was written" in html
    assert "Claims ledger" not in html
    assert len(join_ledgers([run.folder], tmp_path)) == 0


def test_folders_that_are_no_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a run folder"):
        render_report([tmp_path], tmp_path, "Title")
    folder = write_run(tmp_path, "base")
    contents = json.loads((folder / "contents.json").read_text())
    (folder / "contents.json").write_text(json.dumps([{**contents[1], "name": "../../secret"}]))
    with pytest.raises(ValueError, match=r"contents\.json cannot be read"):
        render_report([folder], tmp_path, "Title")
    (folder / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json: expected JSON"):
        render_report([folder], tmp_path, "Title")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.480001, "5.48"), (0.98765, "0.9877"), (1264.4, "1264"), (12.3456, "12.35"), (0.0, "0"),
        (-0.235, "−0.235"), (1e-7, "1.000e−07"), (np.float64(2018), "2018"),
        (np.int64(2018), "2018"), (np.nan, "–"), (None, "–"), (np.inf, "∞"), (True, "yes"),
        ("5.40", "5.40"), (9.99996, "10"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: Any, text: str) -> None:
    assert format_number(value) == text
