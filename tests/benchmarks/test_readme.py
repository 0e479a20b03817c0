"""The README's benchmark tables are those of the stored results."""

from benchmarks.readme import RESULTS, ROOT, TABLES, with_tables


def test_readme_shows_the_stored_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_every_stored_result_has_a_table():
    assert {path.stem for path in RESULTS.glob("*.json")} == {*TABLES, "findings"}
