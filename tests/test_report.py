"""The report command, which needs only tables."""

import shutil

import pytest

from tests.analysis.made_studies import Studies
from tests.analysis.planted import Plant, plant
from tune_distill import report, study
from tune_distill.analysis.summary import Counts
from tune_distill.cli.terminal import EXIT_COMPLETE, EXIT_SOME_FAILED, EXIT_USAGE


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a results folder with two small studies without reports."""
    results = Studies(tmp_path_factory.mktemp("planted")).folder("one setting").parent
    plant(results, Plant("smoothing", num_seeds=1, num_examples=20))
    return results


@pytest.fixture
def results(planted, tmp_path, monkeypatch):
    """Return the test's own copy in the working directory; figures are not drawn."""

    def save(figures, folder):
        folder.mkdir(exist_ok=True)
        for figure in figures:
            (folder / f"{figure.name}.png").write_text(figure.name)

    monkeypatch.setattr("tune_distill.reports.reports.save", save)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(planted, tmp_path / "results")


def test_all_studies_are_reported(results, capsys):
    assert report.main(["results/"]) == EXIT_COMPLETE
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert lines[0] == f"smoothing: {results / 'smoothing' / 'report.html'}"
    assert [line.split(":")[0] for line in lines[1:4]] == [
        "  verdict",
        "  measured",
        "  recommended",
    ]
    assert lines[-1] == f"all studies: {results / 'report.html'}"
    for line in lines:
        if line.endswith(".html"):
            assert (results.parent / line.split(": ")[1]).is_file()


def test_the_default_folder_is_that_of_the_study_command(results, capsys):
    assert report.main([]) == EXIT_COMPLETE
    assert "all studies" in capsys.readouterr().out


def test_one_studys_verdict_is_shown_alone_and_linked_to_all(results, capsys):
    assert report.main(["results/smoothing/"]) == EXIT_COMPLETE
    out, err = capsys.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 4
    assert out.startswith(f"smoothing: {results / 'smoothing' / 'report.html'}")
    # The page's link to all studies has a target.
    assert (results / "report.html").is_file()


def test_a_study_is_named_when_its_folder_is_the_working_directory(results, monkeypatch, capsys):
    (results / "smoothing" / "figures").mkdir()
    for inside, name in ((results / "smoothing", "."), (results / "smoothing" / "figures", "..")):
        monkeypatch.chdir(inside)
        assert report.main([name]) == EXIT_COMPLETE
        assert capsys.readouterr().out.startswith("smoothing: ")
    assert "results/smoothing" in (results / "smoothing" / "report.md").read_text(encoding="utf-8")


def test_a_second_run_says_the_same_and_writes_nothing(results, capsys):
    report.main(["results"])
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    assert report.main(["results"]) == EXIT_COMPLETE
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


def test_a_broken_study_is_an_error_beside_the_others(results, capsys):
    (results / "smoothing" / "study.yaml").unlink()
    assert report.main(["results"]) == EXIT_SOME_FAILED
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {results / 'smoothing'}: must hold study.yaml")
    assert out.startswith("own: ")
    assert "smoothing: " not in out
    assert "smoothing" in (results / "report.md").read_text(encoding="utf-8")


def test_a_study_command_names_what_its_report_leaves_out(results, monkeypatch, capsys):
    (results / "own" / "study.yaml").unlink()
    monkeypatch.setattr(study, "run_studies", lambda *_: (Counts(complete=3), False))
    assert study.main(["smoothing"]) == EXIT_COMPLETE
    out, err = capsys.readouterr()
    assert err == ""
    *_, unread, last = out.splitlines()
    assert unread.startswith(f"not in the report: {results / 'own'}: must hold study.yaml")
    assert last.startswith("3 trials: 3 complete, 0 pruned, 0 failed; ")
    assert last.endswith("; report in results/report.html")
    assert study.main(["smoothing", "--quiet"]) == EXIT_COMPLETE
    [only] = capsys.readouterr().out.splitlines()
    assert only.endswith("; report in results/report.html")


def test_a_broken_study_alone_is_an_error(results, capsys):
    (results / "smoothing" / "study.yaml").unlink()
    assert report.main(["results/smoothing"]) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")


@pytest.mark.parametrize("name", ["gone", "empty", "results/smoothing/trials.parquet"])
def test_a_folder_without_studies_is_refused_and_not_changed(results, capsys, name):
    (results.parent / "empty").mkdir()
    before = sorted(results.parent.rglob("*"))
    assert report.main([name]) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"error: {results.parent / name}: must hold the folders of studies, or be one, got no "
        "trials.parquet; run python -m tune_distill.study smoothing, or name another folder\n"
    )
    assert sorted(results.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["report.html", "report.md", "summary.json"])
def test_a_folder_that_cannot_be_written_is_one_message(results, capsys, name):
    # Permissions do not stop root, but a folder in place of a file does.
    (results / "smoothing" / name).mkdir()
    assert report.main(["results/smoothing"]) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {results / 'smoothing' / name}: must be writable, got ")


def test_figures_that_cannot_be_removed_are_one_message(results, capsys):
    (results / "smoothing" / "figures" / "old.png").mkdir(parents=True)
    assert report.main(["results/smoothing"]) == EXIT_USAGE
    assert "old.png: must be writable" in capsys.readouterr().err


def test_an_overview_that_cannot_be_written_is_one_message(results, capsys):
    (results / "report.md").mkdir()
    assert report.main(["results"]) == EXIT_USAGE
    assert "report.md: must be writable" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["a", "b"], ["--unknown"]])
def test_invalid_usage_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        report.main(arguments)
    assert ended.value.code == EXIT_USAGE
    assert "usage: python -m tune_distill.report" in capsys.readouterr().err


def test_help_shows_valid_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        report.main(["--help"])
    assert ended.value.code == 0
    assert "python -m tune_distill.report results/smoothing" in capsys.readouterr().out
