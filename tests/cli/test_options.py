import pytest

from tune_distill.cli.options import parse_arguments
from tune_distill.planning.resources import Limits, ResourceRequest


def refused(capsys, *arguments):
    """Return the last line that argparse prints before it exits with code 2."""
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
    assert options.resources == ResourceRequest(None, None, None, None)
    assert options.limits == Limits(3, None)
    unset = ("student", "data", "seeds", "store", "address", "nice")
    assert [getattr(options, name) for name in unset] == [None] * len(unset)
    off = ("dry_run", "explain", "no_reuse", "quiet", "json", "list")
    assert not any(getattr(options, name) for name in off)


def test_every_argument_is_read():
    line = (
        "smoothing my.yaml --profile notebook --student S --data D --seeds 3 --set a=1 --set b=2 "
        "--results R --store file:///s --no-reuse --address auto --nice 5 --cpus-per-trial 1.5 "
        "--gpus-per-trial 0.25 --memory-per-trial 4GiB --max-concurrent 4 --max-retries 0 "
        "--trial-time-limit 90.5 --dry-run --explain --quiet --json"
    )
    options = parse_arguments(line.split())
    assert options.studies == ["smoothing", "my.yaml"]
    assert (options.profile, options.student, options.data) == ("notebook", "S", "D")
    assert (options.seeds, options.set) == (3, ["a=1", "b=2"])
    assert (options.results, options.store, options.address) == ("R", "file:///s", "auto")
    assert options.resources == ResourceRequest(1.5, 0.25, 4, 4 * 2**30)
    assert (options.limits, options.nice) == (Limits(0, 90.5), 5)
    on = ("no_reuse", "dry_run", "explain", "quiet", "json")
    assert all(getattr(options, name) is True for name in on)


@pytest.mark.parametrize(("flag", "rule"), [("--seeds", "1 to 1000"), ("--max-concurrent", "1")])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", ""])
def test_counts_are_whole_numbers_from_one(capsys, flag, rule, value):
    told = refused(capsys, "smoothing", f"{flag}={value}")
    assert told == f"argument {flag}: must be a whole number from {rule}, got {value!r}"


@pytest.mark.parametrize("value", ["-1", "20", "1.5", "x"])
def test_niceness_cannot_be_lowered_and_has_a_limit(capsys, value):
    told = refused(capsys, "smoothing", f"--nice={value}")
    assert told == f"argument --nice: must be a whole number from 0 to 19, got {value!r}"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_cpus_are_a_number_above_zero(capsys, value):
    told = refused(capsys, "smoothing", f"--cpus-per-trial={value}")
    assert told == f"argument --cpus-per-trial: must be a number above 0, got {value!r}"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_a_time_limit_is_a_number_above_zero(capsys, value):
    told = refused(capsys, "smoothing", f"--trial-time-limit={value}")
    assert told == f"argument --trial-time-limit: must be a number above 0, got {value!r}"


@pytest.mark.parametrize("value", ["-1", "1.5", "x", ""])
def test_retries_are_counted_from_zero(capsys, value):
    told = refused(capsys, "smoothing", f"--max-retries={value}")
    assert told == f"argument --max-retries: must be a whole number from 0, got {value!r}"


@pytest.mark.parametrize(
    ("value", "num_bytes"),
    [
        ("1000000", 1_000_000),
        ("500MB", 500_000_000),
        ("4GiB", 4 * 2**30),
        ("1.5 gib", 3 * 2**29),
        ("2kb", 2000),
        ("1TiB", 2**40),
        ("7B", 7),
    ],
)
def test_valid_sizes(value, num_bytes):
    options = parse_arguments(["smoothing", "--memory-per-trial", value])
    assert options.memory_per_trial == num_bytes


@pytest.mark.parametrize("value", ["0", "0.2", "-1", "4 G", "4GiBs", "GiB", "1e9", "", "nan"])
def test_other_sizes_are_refused(capsys, value):
    told = refused(capsys, "smoothing", f"--memory-per-trial={value}")
    assert told == (
        "argument --memory-per-trial: must be a size from 1 byte, such as 4GiB, 500MB or 1000000, "
        f"got {value!r}"
    )


@pytest.mark.parametrize("value", ["1.5", "-1", "-0.5", "nan", "inf", "x"])
def test_gpus_are_shared_or_whole(capsys, value):
    told = refused(capsys, "smoothing", f"--gpus-per-trial={value}")
    rule = "0, a fraction below 1, or a whole number"
    assert told == f"argument --gpus-per-trial: must be {rule}, got {value!r}"


@pytest.mark.parametrize(("value", "gpus"), [("0", 0), ("0.5", 0.5), ("1", 1), ("2", 2)])
def test_valid_numbers_of_gpus(value, gpus):
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


def test_other_sources_are_not_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sources("google/flan-t5-small", "./gone") == {
        "student": "google/flan-t5-small",
        "data": "./gone",
    }
