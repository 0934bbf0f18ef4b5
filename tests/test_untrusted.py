"""Rules about the source: untrusted text chooses neither a path nor a class."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tune_distill"

UNTRUSTED = (
    "records/places.py",
    "records/copies.py",
    "records/objects.py",
    "records/mirror.py",
    "records/parcel.py",
    "records/arrived.py",
    "records/announcement.py",
    "tuning/porter.py",
    "tuning/relay.py",
    "tuning/jobs.py",
)
"""Modules that get untrusted names: from buckets, shared folders, workers and clusters."""

JOINS = {"joinpath", "join", "with_name"}

LOADS = {
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "cloudpickle.load",
    "cloudpickle.loads",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "torch.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.unsafe_load_all",
    "eval",
    "exec",
    "compile",
    "__import__",
}
"""Functions that make objects of classes chosen by a text or a file."""

OWN_FILES = {("recovery.py", "cloudpickle.loads"), ("compat.py", "cloudpickle.loads")}
"""Uses on Tune's record of an error, in a private folder of this process."""


def calls(source: str) -> list[tuple[str, ast.Call]]:
    """Return each call with the name of the called function."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [(ast.unparse(node.func), node) for node in found]


def joins(source: str) -> list[str]:
    """Return the expressions that join paths, except with literal text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of_text = isinstance(node.func.value, ast.Constant)
            if node.func.attr in JOINS and not of_text:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("module", UNTRUSTED)
def test_untrusted_names_are_joined_by_one_function(module):
    allowed = {
        # This divides numbers.
        "milliseconds / 1000",
        # This joins words to a shell command.
        "shlex.join(command)",
        # This puts a new name beside a checked one.
        "path.with_name(f'{path.name}.{why}-{number}')",
        # Archives are in a folder of our own.
        "folder / 'bundle.zip'",
    }
    assert set(joins((PACKAGE / module).read_text(encoding="utf-8"))) <= allowed


def test_joins_finds_joins():
    source = "a / name\na.joinpath(b)\nos.path.join(a, b)\n', '.join(c)\na.with_name(b)\n"
    assert joins(source) == ["a / name", "a.joinpath(b)", "os.path.join(a, b)", "a.with_name(b)"]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_text_or_file_selects_a_class(path):
    for name, call in calls(path.read_text(encoding="utf-8")):
        if (path.name, name) in OWN_FILES:
            continue
        assert name not in LOADS, f"{path}: {name}"
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("trust_remote_code") != "True"
        assert given.get("allow_pickle") != "True"
        if name in ("yaml.load", "yaml.load_all"):
            # The module's own loader is a subclass of yaml.SafeLoader.
            assert given.get("Loader") in ("_Loader", "yaml.SafeLoader"), path
            assert "class _Loader(yaml.SafeLoader)" in path.read_text(encoding="utf-8")
