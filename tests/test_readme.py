"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_runs(number, capsys):
    exec(compile(BLOCKS[number], f"README, block {number}", "exec"), {})
    assert capsys.readouterr().out


def test_pictures_and_files_exist():
    names = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT)
    assert len(names) >= 4
    for name in names:
        assert (Path(__file__).parents[1] / name).is_file(), name
