"""The shape of the package: import order, file sizes, lazy loading, declared dependencies."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import diffmig

ROOT = Path(diffmig.__file__).parents[1]
CHAPTERS = diffmig.__all__
# Chapters joined by | in the flow do not import each other.
NEIGHBOURS = [{"towns", "migration", "human_capital", "smoothing", "networks"}]
ROOT_MODULES = {"batching", "programs", "random", "runtime"}
SOURCES = sorted((ROOT / "diffmig").rglob("*.py"))
MAX_LINES = 420


def imports(path: Path) -> set[str]:
    """Full names that a file imports, relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return found


def test_chapters_stand_in_flow_order():
    flow = "data towns migration human_capital smoothing networks optimize fit evaluate explain"
    order = [*flow.split(), "report"]
    assert [c for c in order if c in CHAPTERS] == CHAPTERS
    folders = {p.parent.name for p in (ROOT / "diffmig").glob("*/__init__.py")}
    assert folders == set(CHAPTERS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_chapter_imports_only_from_the_left(path):
    parts = path.relative_to(ROOT / "diffmig").parts
    own = parts[0] if len(parts) > 1 else None
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] in ("experiments", "benchmarks", "tests"):
            pytest.fail(f"{path.name} imports {name}: the package knows no experiment")
        if pieces[0] != "diffmig" or len(pieces) < 2 or pieces[1] in (ROOT_MODULES | {own}):
            continue
        if pieces[1] not in CHAPTERS:
            continue
        assert own is not None, f"root module {path.name} imports chapter {pieces[1]}"
        assert CHAPTERS.index(pieces[1]) < CHAPTERS.index(own), f"{own} imports {pieces[1]}"
        assert not any({own, pieces[1]} <= group for group in NEIGHBOURS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.py")), ids=str)
def test_experiments_are_compositions(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_public_names_exist_and_are_documented(chapter):
    module = getattr(diffmig, chapter)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        member = getattr(module, name)
        if inspect.isroutine(member) or inspect.isclass(member):
            assert member.__doc__, f"{chapter}.{name} has no docstring"
    for path in (ROOT / "diffmig" / chapter).rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_import_is_lazy():
    code = """
import sys, time
import jax
start = time.perf_counter()
import diffmig
seconds = time.perf_counter() - start
heavy = {"pandas", "matplotlib", "diffrax", "flax", "orbax", "optax"} & set(sys.modules)
assert not heavy, heavy
assert seconds < 0.15, seconds
diffmig.networks
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_chapter_is_an_attribute_error():
    with pytest.raises(AttributeError, match="chapters"):
        _ = diffmig.kitchen


def test_nothing_undeclared_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        re.split(r"[\[><=!~; ]", requirement)[0].lower().replace("_", "-")
        for requirement in project["dependencies"]
    }
    owners = packages_distributions()
    for path in SOURCES:
        for name in imports(path):
            top = name.split(".")[0]
            if top in ("", "diffmig") or top in sys.stdlib_module_names:
                continue
            names = {d.lower().replace("_", "-") for d in owners.get(top, [top])}
            assert names & declared or top == "jax", f"{path.name} imports {top}, not declared"
