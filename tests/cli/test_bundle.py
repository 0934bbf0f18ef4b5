"""The files that are sent with a job, and those that are not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.nli import NLI, read_source
from tests.tasks.made_tasks import FREE, write_task
from tests.tiny import mini_examples, write_csv
from tune_distill.cli import bundle as bundles
from tune_distill.cli import packing
from tune_distill.cli.bundle import package_bundle, study_bundle
from tune_distill.cli.options import parse_arguments
from tune_distill.records.environment import environment
from tune_distill.spec.errors import DataError, StoreError, StudentError, StudyFileError
from tune_distill.spec.profile import Data, Student
from tune_distill.students.registry import student_identity
from tune_distill.study import resolve
from tune_distill.tasks import data_folder
from tune_distill.tasks.corpus import Corpus

ROOT = Path(__file__).resolve().parents[2]

STUDY = "name: {name}\nquestion: Why?\nvary: {{train.label_smoothing: [0.0, 0.1]}}\n"


@pytest.fixture(autouse=True)
def laptop(tmp_path, monkeypatch):
    """Enter an empty working directory."""
    folder = tmp_path / "laptop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def bundled(*arguments):
    """Return the bundle of a study command, and its options on the cluster."""
    options = parse_arguments(arguments)
    studies = [resolve(name, options) for name in options.studies]
    return study_bundle(options, studies)


def unpacked(bundle, folder):
    """Unpack the bundle as Ray does for a job; return the folder."""
    archive = folder / "bundle.zip"
    bundle.write(archive)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "there")
    return folder / "there"


def write_study(path, name="own", more=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUDY.format(name=name) + more)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with e-SNLI files and other files."""
    folder = tmp_path_factory.mktemp("somewhere") / "esnli"
    write_csv(folder / "esnli_train_1.csv", mini_examples("train", 40))
    write_csv(folder / "esnli_dev.csv", mini_examples("validation", 20))
    (folder / "README.md").write_text("e-SNLI")
    (folder / "archive").mkdir()
    (folder / "archive" / "esnli_train_2.csv").write_text("not read")
    return folder


class TestPackage:
    def test_only_the_package_and_its_studies_are_sent(self):
        places = set(package_bundle().files)
        assert {place.partition("/")[0] for place in places} == {"tune_distill"}
        assert {
            "tune_distill/__init__.py",
            "tune_distill/study.py",
            "tune_distill/records/parcel.py",
            "tune_distill/reports/templates/page.html",
            "tune_distill/search_spaces/smoothing.yaml",
            "tune_distill/search_spaces/profiles/mini.yaml",
        } <= places
        parts = {part for place in places for part in place.split("/")}
        assert not parts & {"__pycache__", "tests", "results", ".git", ".venv", ".store"}
        assert not any(place.endswith(".pyc") for place in places)

    def test_stray_files_in_the_package_are_not_sent(self, monkeypatch, tmp_path):
        package = Path(bundles.__file__).parent
        shutil.copytree(package, tmp_path / "tune_distill")
        for name in (".env", "auth_token", "id_rsa", "notes.txt", "study.py~", ".git/config"):
            path = tmp_path / "tune_distill" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        found = set(bundles._sources(tmp_path / "tune_distill"))
        assert {path.relative_to(tmp_path / "tune_distill") for path in found} == {
            path.relative_to(package) for path in bundles._sources(package)
        }

    def test_every_file_of_the_package_is_sent(self):
        tracked = subprocess.run(
            ["git", "ls-files", "tune_distill", "search_spaces"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if tracked.returncode:
            pytest.skip("not a git checkout")
        names = {
            name if name.startswith("tune_distill") else f"tune_distill/{name}"
            for name in tracked.stdout.split()
            if (ROOT / name).is_file()
        }
        assert names <= set(package_bundle().files)

    def test_the_bundle_works_by_itself(self, tmp_path):
        there = unpacked(package_bundle(), tmp_path)
        script = (
            "import tune_distill, tune_distill.study as study\n"
            "print(tune_distill.__file__)\nstudy.main(['--list'])\n"
        )
        # With -P -S, Python imports neither the clone nor the editable install.
        packages = Path(pytest.__file__).parents[1]
        path = f"import sys; sys.path[:0] = [{str(there)!r}, {str(packages)!r}]\n"
        done = subprocess.run(
            [sys.executable, "-P", "-S", "-c", path + script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        imported, _, listing = done.stdout.partition("\n")
        assert imported == str(there / "tune_distill" / "__init__.py")
        here = subprocess.run(
            [sys.executable, "-m", "tune_distill.study", "--list"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert listing == here.stdout

    def test_an_installed_package_is_sent_like_a_clone(self, tmp_path):
        clone = package_bundle()
        there = unpacked(clone, tmp_path)
        packages = Path(pytest.__file__).parents[1]
        script = (
            f"import sys; sys.path[:0] = [{str(there)!r}, {str(packages)!r}]\n"
            "from tune_distill.cli.bundle import package_bundle\n"
            "print(*sorted(package_bundle().files), sep='\\n')\n"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-S", "-c", script], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == sorted(clone.files)

    def test_the_same_files_give_the_same_archive(self, tmp_path):
        package_bundle().write(tmp_path / "a.zip")
        package_bundle().write(tmp_path / "b.zip")
        assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
        assert (tmp_path / "a.zip").stat().st_size < 2**20

    def test_the_commit_is_sent(self):
        commit = environment()["git_commit"]
        if commit is None:
            pytest.skip("not a git checkout")
        assert package_bundle().files["tune_distill/commit.txt"] == f"{commit}\n".encode()


class TestFiles:
    def test_shipped_names_are_not_changed(self):
        bundle, options = bundled("smoothing", "decoding", "--profile", "notebook", "--seeds", "2")
        assert options == parse_arguments(
            ["smoothing", "decoding", "--profile", "notebook", "--seeds", "2"]
        )
        assert bundle.files.keys() == package_bundle().files.keys()
        assert bundle.notes == []

    def test_the_name_all_is_not_changed(self):
        options = parse_arguments(["all"])
        assert study_bundle(options, [resolve("smoothing", options)])[1] == options

    def test_the_users_files_are_sent(self, laptop, tmp_path, monkeypatch):
        study = write_study(laptop / "a" / "my.yaml", "first")
        other = write_study(laptop / "b" / "my.yaml", "second")
        profile = laptop / "own.yml"
        profile.write_text("student: {source: mini}\ndata: {source: mini-nli, num_train: 77}\n")
        bundle, there = bundled("a/my.yaml", str(other), "--profile", "./own.yml")
        assert there.studies == ["studies/my.yaml", "studies/2/my.yaml"]
        assert there.profile == "profiles/own.yml"
        folder = unpacked(bundle, tmp_path)
        assert (folder / there.studies[0]).read_bytes() == study.read_bytes()
        assert (folder / there.studies[1]).read_bytes() == other.read_bytes()
        here = resolve("a/my.yaml", parse_arguments(["a/my.yaml", "--profile", "own.yml"]))
        monkeypatch.chdir(folder)
        assert resolve(there.studies[0], there) == here
        assert here.profile.data.num_train == 77

    def test_neighbours_of_the_users_files_are_not_sent(self, laptop):
        write_study(laptop / "my.yaml")
        (laptop / "results" / "smoothing").mkdir(parents=True)
        (laptop / "results" / "smoothing" / "trials.parquet").write_text("mine")
        (laptop / ".git").mkdir()
        (laptop / ".git" / "config").write_text("mine")
        bundle, _ = bundled("my.yaml")
        assert bundle.files.keys() - package_bundle().files.keys() == {"studies/my.yaml"}


class TestSources:
    def test_the_patterns_are_those_of_the_reader(self):
        assert set(bundles.DATA_FILES) == {f"*{suffix}" for suffix in data_folder.READERS}

    def test_a_student_is_the_same_there(self, laptop, tiny_student, tmp_path):
        shutil.copytree(tiny_student, laptop / "flan")
        (laptop / "flan" / "pytorch_model.bin").write_text("the same weights, pickled")
        (laptop / "flan" / "checkpoint-20").mkdir()
        (laptop / "flan" / "checkpoint-20" / "optimizer.pt").write_text("state")
        bundle, there = bundled("smoothing", "--student", "./flan")
        assert there.student == "sources/student/flan"
        folder = unpacked(bundle, tmp_path) / there.student
        before = student_identity(Student(source=str(tiny_student)))
        assert student_identity(Student(source=str(folder))) == before
        assert {path.name for path in folder.iterdir()} == {
            path.name for path in tiny_student.iterdir() if path.suffix in (".json", ".safetensors")
        }

    def test_data_are_the_same_there(self, data, tmp_path):
        bundle, there = bundled("smoothing", "--data", str(data))
        folder = unpacked(bundle, tmp_path) / there.data
        assert {path.name for path in folder.iterdir()} == {"esnli_train_1.csv", "esnli_dev.csv"}

        def identity(path):
            section = Data(source=str(path), num_train=30)
            return Corpus.from_raw(str(path), read_source(str(path)), NLI).identity(section)

        assert identity(folder) == identity(data)

    @pytest.mark.parametrize(
        "name", ["auth_token.json", "token.json", "credentials.json", "my-secret.json"]
    )
    def test_a_secret_beside_a_student_is_not_packed(self, laptop, tiny_student, name):
        shutil.copytree(tiny_student, laptop / "flan")
        (laptop / "flan" / "added_tokens.json").write_text("{}")
        (laptop / "flan" / name).write_text("{}")
        bundle, _ = bundled("smoothing", "--student", "./flan")
        assert not [file for file in bundle.files if file.endswith(name)]

    def test_a_secret_among_data_is_refused(self, data, laptop):
        shutil.copytree(data, laptop / "own")
        (laptop / "own" / "api_key.csv").write_text("mine")
        with pytest.raises(StudyFileError, match=r"must hold no secrets, .* got .*api_key\.csv"):
            bundled("smoothing", "--data", "own")

    def test_a_pipe_among_data_is_refused(self, data, laptop):
        # If it were left out, the study would have other examples on the cluster.
        shutil.copytree(data, laptop / "own")
        os.mkfifo(laptop / "own" / "more_train.csv")
        with pytest.raises(DataError, match=r"must hold files only .* got .*more_train\.csv"):
            bundled("smoothing", "--data", "own")

    def test_hidden_files_are_not_packed(self, data, laptop, tmp_path):
        shutil.copytree(data, laptop / "own")
        (laptop / "own" / ".private.csv").write_text("mine")
        bundle, there = bundled("smoothing", "--data", "own")
        assert {path.name for path in (unpacked(bundle, tmp_path) / there.data).iterdir()} == {
            "esnli_train_1.csv",
            "esnli_dev.csv",
        }

    @pytest.mark.parametrize("name", ["a\\b", "a\nb", "a\x1b"])
    def test_a_name_that_leads_out_of_the_bundle_is_refused(self, data, laptop, name):
        shutil.copytree(data, laptop / name)
        with pytest.raises(StoreError, match="a file's name must"):
            bundled("smoothing", "--data", f"./{name}")

    def test_the_targets_of_links_are_sent(self, data, laptop, tmp_path):
        (laptop / "linked").mkdir()
        for path in data.glob("*.csv"):
            (laptop / "linked" / path.name).symlink_to(path)
        bundle, there = bundled("smoothing", "--data", "linked")
        for path in data.glob("*.csv"):
            arrived = unpacked(bundle, tmp_path) / there.data / path.name
            assert not arrived.is_symlink()
            assert arrived.read_bytes() == path.read_bytes()

    def test_set_names_a_source_too(self, data):
        _, there = bundled(
            "smoothing", "--set", f"data.source={data}", "--set", "train.num_epochs=1"
        )
        assert (there.data, there.set) == ("sources/data/esnli", ["train.num_epochs=1"])

    def test_a_profile_names_a_source_too(self, data, laptop):
        (laptop / "own.yaml").write_text(f"student: {{source: mini}}\ndata: {{source: {data}}}\n")
        _, there = bundled("smoothing", "--profile", "own.yaml")
        assert there.data == "sources/data/esnli"

    def test_a_task_s_file_travels(self, laptop, tmp_path):
        path = Path(write_task(laptop, FREE))
        chosen = ["--set", f"task.source={path.name}", "--set", "train.num_epochs=1"]
        bundle, there = bundled("smoothing", *chosen)
        assert there.set == ["train.num_epochs=1", "task.source=tasks/questions.yaml"]
        arrived = unpacked(bundle, tmp_path) / "tasks" / "questions.yaml"
        assert arrived.read_bytes() == path.read_bytes()
        (laptop / "esnli.yaml").write_bytes(path.read_bytes())
        assert bundled("smoothing", "--set", "task.source=esnli")[1].set == ["task.source=esnli"]

    def test_a_study_names_a_source_too(self, data, laptop):
        write_study(laptop / "my.yaml", more=f"overrides: {{data.source: {data}}}\n")
        assert bundled("my.yaml")[1].data == "sources/data/esnli"

    @pytest.mark.parametrize("name", ["google/flan-t5-small", "/on/the/cluster", "~/on/the/head"])
    def test_a_source_that_is_not_here_is_not_changed(self, name):
        bundle, there = bundled("smoothing", "--student", name)
        assert there.student == name
        assert not any(place.startswith("sources/") for place in bundle.files)

    def test_a_built_in_takes_precedence_over_a_directory_of_its_name(self, laptop):
        (laptop / "mini").mkdir()
        (laptop / "mini-nli").mkdir()
        bundle, there = bundled("smoothing", "--student", "mini", "--data", "mini-nli")
        assert (there.student, there.data) == ("mini", "mini-nli")
        assert not any(place.startswith("sources/") for place in bundle.files)

    @pytest.mark.parametrize("name", ["./gone", "../gone"])
    def test_a_relative_path_must_exist_here(self, name):
        with pytest.raises(StudyFileError, match=r"student\.source: no such directory here, got "):
            bundled("smoothing", "--student", name)

    def test_a_directory_must_contain_what_it_is_named_for(self, laptop):
        (laptop / "empty").mkdir()
        with pytest.raises(StudentError, match=r"has no config\.json"):
            bundled("smoothing", "--student", "empty")
        with pytest.raises(DataError, match=r"must be a directory with \*\.csv"):
            bundled("smoothing", "--data", "empty")

    def test_studies_that_disagree_are_refused(self, data, laptop):
        write_study(laptop / "my.yaml", more=f"overrides: {{data.source: {data}}}\n")
        with pytest.raises(StudyFileError, match="submit them one by one"):
            bundled("my.yaml", "decoding")

    @pytest.mark.parametrize(
        "vary",
        [
            "{student.source: [mini, flan]}",
            "{who: {type: cases, cases: {a: {student.source: flan}}}}",
        ],
    )
    def test_a_varied_directory_is_refused(self, laptop, tiny_student, vary):
        shutil.copytree(tiny_student, laptop / "flan")
        (laptop / "my.yaml").write_text(f"name: own\nquestion: Who?\nvary: {vary}\n")
        with pytest.raises(StudyFileError, match="this directory does not travel, got flan"):
            bundled("my.yaml")

    def test_an_encoders_directory_is_refused(self, laptop):
        (laptop / "bert").mkdir()
        with pytest.raises(StudyFileError, match="this directory does not travel, got bert"):
            bundled("smoothing", "--set", "metrics.bertscore_model=bert")


class TestSize:
    @pytest.fixture(autouse=True)
    def small_limit(self, monkeypatch):
        """Set a limit that is just above the size of the package."""
        monkeypatch.setattr(packing, "LIMIT_BYTES", 2**20)

    @pytest.fixture
    def large(self, laptop):
        """Return data whose archive exceeds the limit."""
        (laptop / "large").mkdir()
        for split in ("train", "validation"):
            noise = random.Random(split).randbytes(700_000).hex()
            (laptop / "large" / f"{split}.jsonl").write_text(noise)
        return laptop / "large"

    def test_a_directory_that_is_too_large_is_refused(self, large):
        with pytest.raises(StudyFileError) as caught:
            bundled("smoothing", "--data", "large")
        assert str(caught.value).startswith(
            f"data.source: must pack into 1 MiB to travel, got {large} with 3 MiB; put it on"
        )

    def test_a_place_on_the_cluster_avoids_the_limit(self, large):
        bundle, there = bundled("smoothing", "--data", str(large))
        assert there.data == str(large)
        assert not any(place.startswith("sources/") for place in bundle.files)
        [note] = bundle.notes
        assert note.startswith(f"{large} is too large to travel (3 MiB)")

    def test_a_large_directory_that_compresses_well_is_sent(self, laptop, tmp_path):
        (laptop / "dull").mkdir()
        for split in ("train", "validation"):
            (laptop / "dull" / f"{split}.csv").write_text("the same words\n" * 200_000)
        bundle, there = bundled("smoothing", "--data", "dull")
        assert unpacked(bundle, tmp_path).joinpath(there.data, "train.csv").stat().st_size > 2**21

    def test_files_that_are_too_large_together_are_refused(self, laptop, tmp_path):
        (laptop / "some").mkdir()
        noise = random.Random(0).randbytes(900_000)
        (laptop / "some" / "train.parquet").write_bytes(noise)
        bundle, _ = bundled("smoothing", "--data", "some")
        with pytest.raises(StudyFileError) as caught:
            bundle.write(tmp_path / "bundle.zip")
        assert str(caught.value).startswith(
            f"submit: what travels must pack into 1 MiB, got more, of which {laptop / 'some'} has 1"
        )
