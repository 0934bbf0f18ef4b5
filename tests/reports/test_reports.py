"""Report files are made once, made again when the tables change, and the same bytes everywhere."""

import itertools
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tune_distill
from tests.analysis.made_studies import OTHERS, SHIPPED
from tests.analysis.planted import Plant, plant
from tune_distill.analysis.results import read_results
from tune_distill.analysis.tables import load, load_all
from tune_distill.analysis.verdict import judge
from tune_distill.analysis.verdict_json import summary_of
from tune_distill.records.schemas import TABLES as SCHEMAS
from tune_distill.reports import reports
from tune_distill.reports.drawing.pictures import save
from tune_distill.reports.figures.study import study_figures
from tune_distill.reports.page import render_page
from tune_distill.reports.reports import report_results, report_study, verdict
from tune_distill.reports.study_report import study_page
from tune_distill.spec.errors import StoreError, StudyFileError

FILES = ("report.html", "report.md", "summary.json")


@pytest.fixture
def sketched(monkeypatch):
    """Replace figures by files with their names, because drawing takes a second a study."""

    def save(figures, folder):
        folder.mkdir(exist_ok=True)
        for figure, suffix in itertools.product(figures, ("png", "svg")):
            (folder / f"{figure.name}.{suffix}").write_text(figure.name)

    monkeypatch.setattr("tune_distill.reports.reports.save", save)


@pytest.fixture
def folder(studies, tmp_path, sketched):
    """Return a study of the test's own, which has no report yet."""
    return studies.copy("one seed", tmp_path)


@pytest.fixture(scope="module")
def drawn(studies, tmp_path_factory):
    """Return a study with its report, as users have it."""
    copied = studies.copy("one setting", tmp_path_factory.mktemp("drawn"))
    report_results(copied.parent)
    return copied


def times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def shown_pictures(folder):
    text = (folder / "report.md").read_text(encoding="utf-8")
    return re.findall(r"^!\[.*\]\((.*)\)$", text, re.MULTILINE)


def require_whole(folder):
    """Require that links lead to files, pictures exist and nothing outside is needed."""
    html = (folder / "report.html").read_text(encoding="utf-8")
    # Identifiers of XML namespaces are no addresses.
    assert set(re.findall(r"https?://([\w.-]+)", html)) <= {"www.w3.org"}
    # Leave out scripts, because the chart library has code for images, which is not used.
    body = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"<(?:img|iframe|script|link)[^>]+(?:src|href)=\"(?!data:)", body)
    text = (folder / "report.md").read_text(encoding="utf-8")
    links = re.findall(r"(?<!\\)\]\(([^)]+)\)", text) + re.findall(r'<a href="([^#"]+)"', body)
    assert links
    assert [link for link in links if not (folder / link).is_file()] == []
    for picture in shown_pictures(folder):
        assert (folder / picture).with_suffix(".svg").is_file()


def test_a_report_is_its_documented_files(drawn):
    assert all((drawn / name).is_file() for name in FILES)
    names = {path.name for path in (drawn / "figures").iterdir()}
    assert names == {
        f"{name}.{suffix}"
        for name in ("metrics", "learning_curves", "confusion")
        for suffix in ("png", "svg")
    }
    assert (drawn / "figures" / "metrics.png").read_bytes().startswith(b"\x89PNG")
    assert all((drawn.parent / name).is_file() for name in FILES)


def test_a_report_needs_nothing_outside(drawn):
    require_whole(drawn)
    require_whole(drawn.parent)
    assert len(shown_pictures(drawn)) == 3


def test_no_temporary_file_is_left(drawn):
    assert [path for path in drawn.parent.rglob("*") if path.name.startswith(".")] == []


@pytest.mark.proof
@pytest.mark.parametrize("name", [*SHIPPED, "hard names", "many settings", "two numbers", "null"])
def test_every_kind_of_study_is_reported(studies, name, tmp_path):
    copied = studies.copy(name, tmp_path)
    report_results(copied.parent)
    require_whole(copied)
    require_whole(copied.parent)
    before = times(copied.parent)
    report_results(copied.parent)
    assert times(copied.parent) == before


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_table_with_a_null_is_reported_or_refused(studies, table, tmp_path):
    folder = studies.copy("one seed", tmp_path)
    path = folder / f"{table}.parquet"
    whole = pq.read_table(path)
    refused = set()
    for position, name in enumerate(whole.column_names):
        values = whole.column(name).to_pylist()
        values[1] = None
        field = whole.schema.field(position)
        pq.write_table(whole.set_column(position, field, pa.array(values, field.type)), path)
        try:
            judged = judge(read_results(folder))
            render_page(study_page(judged, study_figures(judged)))
            # Only reports of answers read these tables.
            load(folder.name, results=folder.parent, table=table)
        except StoreError:
            refused.add(name)
    assert refused == {column.name for column in SCHEMAS[table] if column.always}


def test_a_state_that_no_trial_has_is_refused(studies, tmp_path):
    folder = studies.copy("one seed", tmp_path)
    trials = load(folder.name, results=folder.parent)
    trials.loc[0, "state"] = "done"
    trials.to_parquet(folder / "trials.parquet")
    with pytest.raises(StoreError, match="must be one of complete, pruned, failed, got 'done'"):
        read_results(folder)


def test_pictures_of_names_with_control_characters_are_valid(studies, tmp_path):
    figures = studies.figures("hard names")
    for path in save(figures, tmp_path):
        if path.suffix == ".svg":
            ElementTree.parse(path)


EXOTIC = (
    "hard names",
    "many settings",
    "null",
    "one example",
    "all pruned",
    "all failed",
    "no shared seed",
    "by loss, decoding",
)


@pytest.mark.parametrize(
    "name",
    [*EXOTIC, *(pytest.param(n, marks=pytest.mark.proof) for n in OTHERS if n not in EXOTIC)],
)
def test_every_shape_of_study_is_reported(studies, sketched, name, tmp_path):
    copied = studies.copy(name, tmp_path)
    [summary], unread = report_results(copied.parent)
    assert unread == {}
    require_whole(copied)
    require_whole(copied.parent)
    assert json.loads((copied / "summary.json").read_text(encoding="utf-8")) == summary


def test_what_would_not_change_is_not_written(folder):
    report_results(folder.parent)
    before = times(folder.parent)
    assert report_results(folder.parent)[0] == [report_study(folder)]
    assert times(folder.parent) == before


def test_a_trial_that_is_reused_changes_nothing(folder):
    report_study(folder)
    trials = pd.read_parquet(folder / "trials.parquet")
    assert not trials["reused"].any()
    trials.assign(reused=True).to_parquet(folder / "trials.parquet")
    before = times(folder)
    report_study(folder)
    assert times(folder) == before


def other_prediction(folder):
    answers = pd.read_parquet(folder / "predictions.parquet")
    answers["rougeL"] += 0.01
    answers.to_parquet(folder / "predictions.parquet")


def other_cost(folder):
    trials = pd.read_parquet(folder / "trials.parquet")
    trials.loc[0, "training_time_s"] += 1
    trials.to_parquet(folder / "trials.parquet")


def one_trial_less(folder):
    trials = pd.read_parquet(folder / "trials.parquet")
    trials.loc[2, ["state", "error"]] = ["failed", "it broke"]
    trials.to_parquet(folder / "trials.parquet")


def other_question(folder):
    path = folder / "study.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Does label", "Does more label"), encoding="utf-8")


def other_texts(folder):
    (folder / "examples.parquet").unlink()


def other_losses(folder):
    rows = pd.read_parquet(folder / "history.parquet")
    rows.assign(eval_loss=rows["eval_loss"] + 1).to_parquet(folder / "history.parquet")


@pytest.mark.parametrize(
    "change",
    [other_prediction, other_cost, one_trial_less, other_question, other_texts, other_losses],
)
def test_another_table_makes_another_report(folder, change):
    before = report_study(folder)
    pages = {name: (folder / name).read_bytes() for name in FILES}
    change(folder)
    after = report_study(folder)
    assert after["made_from"] != before["made_from"]
    changed = [name for name, page in pages.items() if (folder / name).read_bytes() != page]
    assert "summary.json" in changed
    assert "report.html" in changed


@pytest.mark.parametrize(
    "name", ["report.html", "report.md", "summary.json", "figures/metrics.png"]
)
def test_what_is_missing_is_made_again(folder, name):
    report_study(folder)
    before = (folder / name).read_bytes()
    (folder / name).unlink()
    report_study(folder)
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\xfe"])
def test_a_damaged_summary_is_made_again(folder, content):
    path = folder / "summary.json"
    report_results(folder.parent)
    before, over_all = path.read_bytes(), (folder.parent / "summary.json").read_bytes()
    path.write_bytes(content)
    (folder.parent / "summary.json").write_bytes(content)
    assert verdict(folder.name, results=folder.parent) == json.loads(before)
    report_results(folder.parent)
    assert path.read_bytes() == before
    assert (folder.parent / "summary.json").read_bytes() == over_all


def test_an_interrupted_report_is_made_again(folder, monkeypatch):
    """The manifest is written last, so a report without it is not complete."""

    def full(path, text):
        raise StoreError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(reports, "write_text", full)
        with pytest.raises(StoreError, match="no space left"):
            report_study(folder)
    assert not (folder / "summary.json").exists()
    report_study(folder)
    assert all((folder / name).is_file() for name in FILES)


def test_figures_that_are_no_longer_made_disappear(folder):
    report_study(folder)
    (folder / "figures" / "own.pdf").write_text("a reader's own")
    assert (folder / "figures" / "differences.png").is_file()
    trials = pd.read_parquet(folder / "trials.parquet")
    trials.loc[[0, 2], ["state", "error"]] = ["failed", "it broke"]
    trials.to_parquet(folder / "trials.parquet")
    report_study(folder)
    names = {path.name for path in (folder / "figures").iterdir()}
    assert "own.pdf" in names
    assert not {"differences.png", "differences.svg"} & names
    assert {f"figures/{name}" for name in names if name.endswith("png")} == set(
        shown_pictures(folder)
    )


@pytest.mark.parametrize("sketch", [True, pytest.param(False, marks=pytest.mark.proof)])
def test_equal_tables_give_equal_bytes_wherever_they_lie(studies, tmp_path, request, sketch):
    if sketch:
        request.getfixturevalue("sketched")
    places = [studies.copy("smoothing", tmp_path / where).parent for where in ("a", "b/deeper")]
    made = []
    for place in places:
        report_results(place)
        made.append(
            {
                str(path.relative_to(place)): path.read_bytes()
                for path in place.rglob("*")
                if path.is_file()
            }
        )
        for name in FILES:
            for text in ((place / name), (place / "smoothing" / name)):
                assert str(tmp_path) not in text.read_text(encoding="utf-8")
    assert made[0] == made[1]


def test_a_copied_folder_keeps_its_report(folder, tmp_path):
    report_study(folder)
    moved = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, moved)
    before = times(moved)
    report_study(moved)
    assert times(moved) == before


def test_verdict_is_the_summary(folder):
    report_study(folder)
    written = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert tune_distill.verdict(folder.name, results=folder.parent) == written
    assert tune_distill.verdict(folder.name, results=str(folder.parent)) == written


def test_verdict_looks_in_results_by_default(folder, monkeypatch):
    monkeypatch.chdir(folder.parent.parent)
    assert tune_distill.verdict(folder.name)["study"] == "smoothing"


def test_verdict_reads_what_is_of_these_tables(folder, monkeypatch):
    report_study(folder)
    monkeypatch.setattr(reports, "judge", lambda results: pytest.fail("computed again"))
    assert verdict(folder.name, results=folder.parent)["study"] == "smoothing"


def test_verdict_needs_no_report(folder):
    computed = verdict(folder.name, results=folder.parent)
    assert not (folder / "summary.json").exists()
    assert report_study(folder) == computed
    assert (
        summary_of(judge(read_results(folder))) | {"made_from": computed["made_from"]} == computed
    )


def test_verdict_is_of_the_tables_and_not_of_an_old_report(folder):
    report_study(folder)
    stale = (folder / "summary.json").read_bytes()
    one_trial_less(folder)
    assert verdict(folder.name, results=folder.parent)["trials"]["failed"] == 1
    assert (folder / "summary.json").read_bytes() == stale


def test_verdict_says_which_studies_there_are(folder):
    with pytest.raises(StoreError, match=r"studies in .* are smoothing"):
        verdict("smothing", results=folder.parent)


def cut_predictions(folder):
    path = folder / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    return "must be a predictions table"


def cut_trials(folder):
    path = folder / "trials.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    return "must be a Parquet table"


def cut_examples(folder):
    path = folder / "examples.parquet"
    path.write_bytes(path.read_bytes()[:500])
    return "must be a Parquet table"


def no_study(folder):
    (folder / "study.yaml").unlink()
    return "must hold study.yaml beside its tables"


def no_history(folder):
    (folder / "history.parquet").unlink()
    return "no such table"


def other_trials(folder):
    pd.DataFrame({"own": [1]}).to_parquet(folder / "trials.parquet")
    return "must be as study.yaml and results"


def strange_environment(folder):
    (folder / "environment.json").write_text("[]")
    return "must be as tune_distill.study wrote it"


BREAKS = [
    cut_predictions,
    cut_trials,
    cut_examples,
    no_study,
    no_history,
    other_trials,
    strange_environment,
]


def test_a_broken_study_does_not_keep_the_others_from_their_reports(studies, tmp_path, sketched):
    whole = studies.copy("one seed", tmp_path)
    results = whole.parent
    told = {}
    for damage in BREAKS:
        broken = Path(shutil.copytree(whole, results / damage.__name__))
        told[damage.__name__] = damage(broken)
    summaries, unread = report_results(results)
    assert [summary["study"] for summary in summaries] == ["smoothing"]
    assert list(unread) == sorted(told)
    for name, reason in unread.items():
        assert told[name] in reason
        assert reason.startswith(f"{results / name}")
        assert not (results / name / "summary.json").exists()
        with pytest.raises((StoreError, StudyFileError)):
            report_study(results / name)
    for name in ("report.html", "report.md"):
        text = (results / name).read_text(encoding="utf-8")
        assert "Not in this report" in text
        assert all(f"{name}: {name}" in text for name in told)
        assert str(tmp_path) not in text
    require_whole(results)


def test_a_mended_study_is_in_the_overview_again(studies, tmp_path, sketched):
    whole = studies.copy("one seed", tmp_path)
    results = whole.parent
    before = (whole / "study.yaml").read_bytes()
    (whole / "study.yaml").unlink()
    assert report_results(results)[0] == []
    assert "Key findings" not in (results / "report.md").read_text(encoding="utf-8")
    (whole / "study.yaml").write_bytes(before)
    report_results(results)
    text = (results / "report.md").read_text(encoding="utf-8")
    assert "Not in this report" not in text
    assert "[smoothing](smoothing/report.html)" in text


def test_the_overview_has_no_figure_of_studies_that_are_gone(folder):
    report_results(folder.parent)
    assert (folder.parent / "figures" / "effects.png").is_file()
    shutil.rmtree(folder)
    plant(folder.parent, OTHERS["all failed"])
    report_results(folder.parent)
    assert not (folder.parent / "figures" / "effects.png").exists()
    assert shown_pictures(folder.parent) == []


def test_nothing_is_written_where_there_are_no_studies(tmp_path):
    assert report_results(tmp_path / "gone") == ([], {})
    assert report_results(tmp_path) == ([], {})
    assert list(tmp_path.iterdir()) == []


def test_a_copy_beside_its_original_has_a_name_of_its_own(folder):
    shutil.copytree(folder, folder.with_name("smoothing-before"))
    summaries, _ = report_results(folder.parent)
    assert [summary["study"] for summary in summaries] == ["smoothing", "smoothing-before"]
    require_whole(folder.parent)
    text = (folder.parent / "report.md").read_text(encoding="utf-8")
    assert "[smoothing-before](smoothing-before/report.html)" in text


def test_studies_stand_in_the_order_in_which_they_run(tmp_path, sketched):
    for name in ("decoding", "smoothing", "temperature"):
        plant(tmp_path, Plant(name, (0.5,) * 6, num_seeds=1, num_examples=20))
    plant(tmp_path, OTHERS["one setting"])
    summaries, _ = report_results(tmp_path)
    order = [summary["study"] for summary in summaries]
    assert order == ["smoothing", "temperature", "decoding", "own"]


def test_load_all_and_the_overview_name_the_same_studies(studies, tmp_path, sketched):
    studies.copy("one seed", tmp_path)
    studies.copy("samples", tmp_path)
    summaries, _ = report_results(tmp_path / "results")
    assert {s["study"] for s in summaries} == set(load_all(results=tmp_path / "results")["study"])


def test_the_documented_files_are_those_that_are_made(drawn):
    readme = Path(__file__).resolve().parents[2] / "results" / "README.md"
    listed = set(
        re.findall(r"^\| `([\w./]+)` \|", readme.read_text(encoding="utf-8"), re.MULTILINE)
    )
    made = {path.name + "/" * path.is_dir() for path in drawn.iterdir()}
    assert made <= listed
