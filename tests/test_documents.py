"""The commands and links in the documents are correct."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tune_distill import report
from tune_distill.cli.options import parse_arguments
from tune_distill.spec.yaml_files import shipped_studies
from tune_distill.study import resolve

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results" / "README.md",
    ROOT / "cluster" / "README.md",
    *(ROOT / "docs").glob("*.md"),
]


def commands(module: str) -> list[str]:
    """Return every command of the module in a document's fenced blocks or between backticks."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:ba)?sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found += [line for line in block.splitlines() if module in line]
        found += re.findall(rf"`(python -m {re.escape(module)} [^`\n]+)`", text)
    return found


@pytest.mark.parametrize("command", commands("tune_distill.study"))
def test_every_shown_study_command_is_valid(command: str) -> None:
    arguments = shlex.split(command)
    options = parse_arguments(arguments[arguments.index("tune_distill.study") + 1 :])
    names = shipped_studies() if options.studies == ["all"] else options.studies
    for name in names:
        # Files of the reader's own do not exist here.
        if name in shipped_studies() and not options.profile.endswith(".yaml"):
            resolve(name, options)


@pytest.mark.parametrize("command", commands("tune_distill.report"))
def test_every_shown_report_command_is_valid(command: str) -> None:
    arguments = shlex.split(command)
    options = report.parse_arguments(arguments[arguments.index("tune_distill.report") + 1 :])
    # Reports are made of the folder that studies write, or of a study's folder in it.
    assert Path(options.results).parts[0] == parse_arguments(["smoothing"]).results


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "```bash\nmake study\nmake test\n```" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_have_targets(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [name for name in targets if not (document.parent / name).exists()]
    assert missing == []
