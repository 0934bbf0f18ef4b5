"""The commands and links that the documents show are right."""

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
    """Every command of the module in a fenced block of a document, or between backticks."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:ba)?sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found += [line for line in block.splitlines() if module in line]
        found += re.findall(rf"`(python -m {re.escape(module)} [^`\n]+)`", text)
    return found


@pytest.mark.parametrize("command", commands("tune_distill.study"))
def test_a_shown_command_is_one_that_runs(command: str) -> None:
    arguments = shlex.split(command)
    options = parse_arguments(arguments[arguments.index("tune_distill.study") + 1 :])
    names = shipped_studies() if options.studies == ["all"] else options.studies
    for name in names:
        # A file of the reader's own is not here.
        if name in shipped_studies() and not options.profile.endswith(".yaml"):
            resolve(name, options)


@pytest.mark.parametrize("command", commands("tune_distill.report"))
def test_a_shown_report_command_is_one_that_runs(command: str) -> None:
    arguments = shlex.split(command)
    options = report.parse_arguments(arguments[arguments.index("tune_distill.report") + 1 :])
    # Reports are of the folder that studies write, or of one in it.
    assert Path(options.results).parts[0] == parse_arguments(["smoothing"]).results


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "```bash\nmake study\nmake test\n```" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [name for name in targets if not (document.parent / name).exists()]
    assert missing == []
