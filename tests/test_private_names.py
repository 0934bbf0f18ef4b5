"""Private names of other packages: each use is listed here with its reason.

A private name may disappear in any release. Code that uses one must notice its absence and use
something public instead. Ray's private names have their own module.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tune_distill"

ALLOWED = {
    # torch has no public way to choose oneDNN for a product. Without the operator or oneDNN,
    # `product` uses torch's own `linear`: tests/students/t5/test_kernels.py.
    ("students/t5/kernels.py", "torch.ops.mkldnn._linear_pointwise"),
}
OWN = {"tune_distill", "ray", "__future__", *sys.stdlib_module_names}


def private_uses(source: str) -> set[str]:
    """Return the private names of other packages that a module uses, as dotted names.

    They are imported, read from something imported, read with getattr, or inherited: methods of a
    foreign class's subclass read them from `self` or `super()` and never set them.
    """
    tree = ast.parse(source)
    imported, found = _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            if name := _foreign(node.value, imported):
                found.add(f"{name}.{node.attr}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            name, asked = _foreign(node.args[0], imported), node.args[1]
            if name and isinstance(asked, ast.Constant) and _is_private(str(asked.value)):
                found.add(f"{name}.{asked.value}")
        elif isinstance(node, ast.ClassDef):
            bases = [name for base in node.bases if (name := _foreign(base, imported))]
            if bases:
                found |= {f"{bases[0]}.{name}" for name in _inherited(node)}
    return found


def _imports(tree: ast.Module) -> tuple[dict[str, str], set[str]]:
    """Return foreign imports as dotted names by binding, and the private ones among them."""
    imported: dict[str, str] = {}
    private = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {(alias.asname or alias.name.partition(".")[0]): alias for alias in node.names}
            named = {bound: alias.name if alias.asname else bound for bound, alias in names.items()}
            whole = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
            whole = list(named.values())
        else:
            continue
        imported |= {bound: name for bound, name in named.items() if _root(name) not in OWN}
        private |= {
            name
            for name in whole
            if _root(name) not in OWN and any(map(_is_private, name.split(".")))
        }
    return imported, private


def _inherited(node: ast.ClassDef) -> Iterator[str]:
    own = {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.ClassDef)}
    own |= {
        name.id
        for child in node.body
        if isinstance(child, ast.Assign | ast.AnnAssign)
        for name in ast.walk(child)
        if isinstance(name, ast.Name)
    }
    attributes = [child for child in ast.walk(node) if isinstance(child, ast.Attribute)]
    own |= {
        child.attr
        for child in attributes
        if isinstance(child.ctx, ast.Store) and ast.unparse(child.value) == "self"
    }
    for child in attributes:
        holder = ast.unparse(child.value)
        if _is_private(child.attr) and (
            holder == "super()" or (holder == "self" and child.attr not in own)
        ):
            yield child.attr


def _foreign(node: ast.expr, imported: dict[str, str]) -> str | None:
    """Return the dotted name of the expression if it begins with something imported."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in imported:
        return ".".join([imported[node.id], *reversed(parts)])
    return None


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _root(name: str) -> str:
    return name.partition(".")[0]


def test_each_private_name_is_listed_and_no_other_is_used() -> None:
    used = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in private_uses(path.read_text(encoding="utf-8"))
    }
    assert used == ALLOWED


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch\ntorch._C.foo", "torch._C"),
        ("import torch.nn as n\nn._x.y", "torch.nn._x"),
        ("from optuna._imports import x", "optuna._imports.x"),
        ("from optuna.storages import _base", "optuna.storages._base"),
        ("def f():\n    import fsspec\n    return fsspec.x._y", "fsspec.x._y"),
        ("import torch\ngetattr(torch.ops, '_x', None)", "torch.ops._x"),
        ("from a import B\nclass C(B):\n    def f(self):\n        self._x()", "a.B._x"),
        ("from a import B\nclass C(B):\n    def f(self):\n        super()._x()", "a.B._x"),
        ("from a import B\nclass C(B):\n    def f(self):\n        self._x = 1", None),
        ("from a import B\nclass C(B):\n    _x: int\n    def f(self):\n        self._x", None),
        ("class C:\n    def f(self):\n        self._x", None),
        ("from tune_distill.x import y\ny._z\nimport os\nos._exit(1)", None),
        ("from a import b\nb.__version__", None),
    ],
)
def test_private_uses_finds_private_names(source: str, found: str | None) -> None:
    assert private_uses(source) == ({found} if found else set())
