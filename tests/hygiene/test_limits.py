"""Sizes and promises that are easy to lose sight of."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FILE_LINES = 500
FUNCTION_LINES = 60


def test_files_stay_readable() -> None:
    long = {
        path.name: count for path in SOURCES if (count := len(path.read_text().splitlines())) > FILE_LINES
    }
    assert not long


def test_functions_stay_readable() -> None:
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{path.name}:{node.name}"] = lines
    assert not long


def test_every_ignored_finding_has_a_reason() -> None:
    bare = []
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            ignore = re.search(r"#\s*(noqa|type: ignore)\b(.*)", line)
            if ignore and not re.search(r"\s(-|–|#)\s+\S", ignore.group(2)) and "re.search" not in line:
                bare.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not bare


def test_every_document_that_a_document_links_to_exists() -> None:
    missing = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        missing += [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing
