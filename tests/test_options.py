import pytest

from tune_distill.options import parse_arguments
from tune_distill.tuning.resources import ResourceRequest


def refused(capsys, *arguments):
    """The last line that argparse prints before it exits with code 2."""
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: python -m tune_distill.study")
    return printed.err.splitlines()[-1].partition("error: ")[2]


def test_a_study_is_enough():
    options = parse_arguments(["smoothing"])
    assert (options.studies, options.profile, options.results) == (["smoothing"], "mini", "results")
    assert (options.set, options.sources()) == ([], {})
    assert options.resources == ResourceRequest(None, None, None)
    unset = ("student", "data", "seeds", "store", "address")
    assert [getattr(options, name) for name in unset] == [None] * len(unset)
    off = ("dry_run", "explain", "no_reuse", "quiet", "json", "list")
    assert not any(getattr(options, name) for name in off)


def test_every_argument_is_read():
    line = (
        "smoothing my.yaml --profile notebook --student S --data D --seeds 3 --set a=1 --set b=2 "
        "--results R --store file:///s --no-reuse --address auto --cpus-per-trial 1.5 "
        "--gpus-per-trial 0.25 --max-concurrent 4 --dry-run --explain --quiet --json"
    )
    options = parse_arguments(line.split())
    assert options.studies == ["smoothing", "my.yaml"]
    assert (options.profile, options.student, options.data) == ("notebook", "S", "D")
    assert (options.seeds, options.set) == (3, ["a=1", "b=2"])
    assert (options.results, options.store, options.address) == ("R", "file:///s", "auto")
    assert options.resources == ResourceRequest(1.5, 0.25, 4)
    on = ("no_reuse", "dry_run", "explain", "quiet", "json")
    assert all(getattr(options, name) is True for name in on)


@pytest.mark.parametrize(("flag", "rule"), [("--seeds", "1 to 1000"), ("--max-concurrent", "1")])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", ""])
def test_counts_are_whole_numbers_from_one(capsys, flag, rule, value):
    told = refused(capsys, "smoothing", f"{flag}={value}")
    assert told == f"argument {flag}: must be a whole number from {rule}, got {value!r}"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_cpus_are_a_number_above_zero(capsys, value):
    told = refused(capsys, "smoothing", f"--cpus-per-trial={value}")
    assert told == f"argument --cpus-per-trial: must be a number above 0, got {value!r}"


@pytest.mark.parametrize("value", ["1.5", "-1", "-0.5", "nan", "inf", "x"])
def test_gpus_are_shared_or_whole(capsys, value):
    told = refused(capsys, "smoothing", f"--gpus-per-trial={value}")
    rule = "0, a fraction below 1, or a whole number"
    assert told == f"argument --gpus-per-trial: must be {rule}, got {value!r}"


@pytest.mark.parametrize(("value", "gpus"), [("0", 0), ("0.5", 0.5), ("1", 1), ("2", 2)])
def test_gpus_that_are_taken(value, gpus):
    assert parse_arguments(["smoothing", "--gpus-per-trial", value]).gpus_per_trial == gpus


def test_all_stands_alone(capsys):
    assert parse_arguments(["all"]).studies == ["all"]
    told = refused(capsys, "all", "smoothing")
    assert told == "'all' stands alone: it runs every shipped study"


def test_without_a_study_only_the_list_is_shown(capsys):
    assert parse_arguments(["--list"]).list
    told = refused(capsys)
    assert told == "name a study, 'all' or a study file; --list shows the shipped ones"


def test_an_unknown_flag_is_refused(capsys):
    assert refused(capsys, "smoothing", "--sedes", "3") == "unrecognized arguments: --sedes 3"


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--help"])
    assert caught.value.code == 0
    assert "python -m tune_distill.study all --seeds 3" in capsys.readouterr().out


def sources(student, data):
    return parse_arguments(["smoothing", "--student", student, "--data", data]).sources()


def test_other_sources_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sources("google/flan-t5-small", "./gone") == {
        "student": "google/flan-t5-small",
        "data": "./gone",
    }
