"""Rules about the source: which modules import which, and what ships."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.spec.fakes import FakeIdentities, resolved
from tune_distill.spec.plan import planned_trials
from tune_distill.spec.settings import domains
from tune_distill.spec.yaml_files import (
    load_profile,
    load_study,
    shipped_profiles,
    shipped_studies,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tune_distill"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FLOORS = {
    "spec": 1,
    "records": 2,
    "tasks": 3,
    "students": 4,
    "training": 5,
    "analysis": 5,
    "reports": 6,
    "planning": 6,
    "tuning": 7,
    "service": 8,
    "cli": 9,
}
TOP = 10

HEAVY = {"datasets", "pandas", "ray", "scipy", "torch", "transformers", "vl_convert"}

# Distributions whose import package has another name.
IMPORT_NAMES = {
    "grpcio": "grpc",
    "pyyaml": "yaml",
    "scikit_learn": "sklearn",
    "vl_convert_python": "vl_convert",
}


def imports(path: Path) -> set[str]:
    """Return every module that the file imports, also in functions and for type checkers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # The imported names may be modules: from tune_distill.tasks import words.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {module: imports(path) for module, path in MODULES.items()}


def roots(module: str) -> set[str]:
    """Return the top-level packages that a module imports."""
    return {name.partition(".")[0] for name in IMPORTS[module]}


def folder(name: str) -> str:
    """Return the package's folder that contains a dotted name; empty for the top."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


def floor(name: str) -> int:
    return FLOORS.get(folder(name), TOP)


@pytest.fixture(scope="module")
def repository_files() -> list[Path]:
    """Return every file that is committed or not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


FRONT_DOORS = {
    f"tune_distill.{name}"
    for name in ("__init__", "__main__", "study", "submit", "report", "running")
}


def late_imports(source: str) -> set[str]:
    """Return what functions in the source import."""
    return {
        name
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_below_the_front_doors_import_at_their_top(module):
    late = late_imports(MODULES[module].read_text(encoding="utf-8"))
    if folder(module) == "tuning":
        # Ray reads its settings from the environment when it is imported.
        late = {name for name in late if not name.startswith(("ray", "tune_distill.tuning"))}
    if module == "tune_distill.tuning.trainable":
        # A worker's front door, which the driver imports too.
        late -= {"tune_distill.students.process", "tune_distill.training.trial"}
    assert late == set() or module in FRONT_DOORS or folder(module) == "cli"


def test_late_imports_finds_imports_in_functions():
    assert late_imports("import a\ndef f():\n    import b.c\n    from d import e\n") == {"b.c", "d"}


def test_every_folder_has_a_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= FLOORS.keys()
    assert folders == FLOORS.keys() - {"service"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_their_own_floor_or_a_lower_one(module):
    ours = {name for name in IMPORTS[module] if name.startswith("tune_distill.")}
    upward = {name for name in ours if floor(name) > floor(module)}
    assert not upward


def test_imports_finds_every_import(tmp_path):
    source = tmp_path / "module.py"
    source.write_text(
        "import ray.tune as t\n"
        "from tune_distill.spec import keys\n"
        "if TYPE_CHECKING:\n    from torch import Tensor\n"
        "def f():\n    import pandas\n"
    )
    assert imports(source) == {"ray.tune", "tune_distill.spec.keys", "torch.Tensor", "pandas"}
    assert floor("tune_distill.study.main") == floor("tune_distill.load") == TOP
    assert floor("tune_distill.cli.command.Command") == 9
    assert floor("tune_distill.spec.keys") == 1


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("ray", {"tuning"}),
        ("torch", {"students", "training"}),
        ("transformers", {"students", "training"}),
    ],
)
def test_a_framework_is_imported_in_its_own_folders_only(package, homes):
    users = {folder(module) for module in MODULES if package in roots(module)}
    assert users == homes


DOCUMENTED_RAY = {
    "ray",
    "ray.cloudpickle",
    "ray.exceptions",
    "ray.job_submission",
    "ray.tune",
    "ray.tune.experiment",
    "ray.tune.schedulers",
    "ray.tune.search",
    "ray.tune.search.optuna",
    "ray.util.scheduling_strategies",
}
"""The modules of Ray that its reference documents."""


def undocumented_ray(source: str) -> list[str]:
    """Return undocumented modules and underscored names of Ray in the source.

    Types are unknown, so in a file that imports Ray every underscored attribute counts, except
    those of `self` and `cls`.
    """
    tree, found, uses_ray = ast.parse(source), [], False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            found += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module and node.module.split(".")[0] == "ray" and alias.name[0] == "_"
            ]
        else:
            continue
        names = [name for name in names if name.split(".")[0] == "ray"]
        uses_ray |= bool(names)
        found += [name for name in names if name not in DOCUMENTED_RAY]
    if uses_ray:
        found += [
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and re.match(r"_[a-z]", node.attr)
            and ast.unparse(node.value) not in ("self", "cls")
        ]
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from ray import tune\nclass A(tune.Callback):\n    def f(self): self._own = 1", []),
        ("import ray._private.worker", ["ray._private.worker"]),
        ("from ray.tune.tune import TuneController", ["ray.tune.tune"]),
        ("from ray import _raylet", ["ray._raylet"]),
        ("def f():\n    import ray\n    ray.get(1)._secret()", ["_secret"]),
        ("from ray import tune\nclass A(tune.X):\n    def f(self): super()._ask()", ["_ask"]),
    ],
)
def test_undocumented_ray_finds_undocumented_names(source, found):
    assert undocumented_ray(source) == found


@pytest.mark.parametrize(
    "path",
    sorted(
        [path for path in MODULES.values() if path.stem != "compat"]
        + list((ROOT / "benchmarks").rglob("*.py"))
    ),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_undocumented_names_of_ray_are_in_one_module(path):
    assert undocumented_ray(path.read_text(encoding="utf-8")) == []


def test_the_specification_imports_little():
    allowed = {"tune_distill", "pydantic", "pydantic_core", "yaml", *sys.stdlib_module_names}
    for module in MODULES:
        if folder(module) == "spec":
            assert roots(module) <= allowed, module


@pytest.mark.parametrize(
    ("command", "flag"), [("study", "--help"), ("study", "--list"), ("report", "--help")]
)
def test_help_and_list_import_nothing_heavy(command, flag):
    script = (
        "import runpy, sys\n"
        f"sys.argv = [{command!r}, {flag!r}]\n"
        f"try:\n    runpy.run_module('tune_distill.{command}', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print('heavy:', *sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.split() == ["heavy:"]
    assert done.returncode == 0
    assert "smoothing" in done.stdout


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_stay_short(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    ("study", "profile"), list(itertools.product(shipped_studies(), shipped_profiles()))
)
def test_every_shipped_study_plans_under_every_shipped_profile(study, profile):
    ready = resolved(load_study(study), load_profile(profile), name=profile, seeds=(0, 1))
    space = domains(ready.study, ready.profile)
    assert space.keys() == ready.study.vary.keys()
    if ready.study.search.method != "optuna":
        assert len(planned_trials(ready, FakeIdentities())) >= 4
    assert len(ready.search_key(FakeIdentities())) == 64


def test_no_file_contains_the_path_of_its_clone(repository_files):
    place = b"/" + b"work/"
    assert [path for path in repository_files if place in path.read_bytes()] == []
    assert ROOT / "pyproject.toml" in repository_files


def distribution(requirement: str) -> str:
    """Return the distribution that a requirement names, in the spelling of an import."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "_", found.group()).lower()


def test_every_dependency_is_used():
    used = {root for module in MODULES for root in roots(module)}
    needed = {distribution(requirement) for requirement in PROJECT["dependencies"]}
    unused = {name for name in needed if IMPORT_NAMES.get(name, name) not in used}
    assert unused == set()


def test_every_dependency_is_pinned():
    path = ROOT / "constraints.txt"
    if not path.is_file():
        pytest.skip("no constraints.txt")
    pins = {
        distribution(line)
        for line in path.read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.lstrip().startswith("#")
    }
    extras = PROJECT["optional-dependencies"].values()
    requirements = [*PROJECT["dependencies"], *itertools.chain.from_iterable(extras)]
    assert {distribution(requirement) for requirement in requirements} <= pins
