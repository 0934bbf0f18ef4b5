"""The commands and links that the documents show are right."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tune_distill.options import parse_arguments
from tune_distill.spec.yaml_files import shipped_studies
from tune_distill.study import resolve

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "results" / "README.md", *(ROOT / "docs").glob("*.md")]


def commands() -> list[str]:
    """Every study command in a fenced block of a document."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.findall(r"^```(?:ba)?sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            found += [line for line in block.splitlines() if "tune_distill.study" in line]
    return found


@pytest.mark.parametrize("command", commands())
def test_a_shown_command_is_one_that_runs(command: str) -> None:
    arguments = shlex.split(command)
    options = parse_arguments(arguments[arguments.index("tune_distill.study") + 1 :])
    names = shipped_studies() if options.studies == ["all"] else options.studies
    for name in names:
        # A file of the reader's own is not here.
        if name in shipped_studies() and not options.profile.endswith(".yaml"):
            resolve(name, options)


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "```bash\nmake study\nmake test\n```" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    missing = [name for name in targets if not (document.parent / name).exists()]
    assert missing == []
