"""The arguments of the submit command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tune_distill.cli import options as study_arguments
from tune_distill.cli import submit_options
from tune_distill.cli.options import parse_arguments
from tune_distill.cli.submit_options import parse_submit_arguments, study_command, study_options

URL = "http://head:8265"

pytestmark = pytest.mark.usefixtures("no_ray")


def refused(capsys, *arguments):
    """Return the message that argparse prints before it exits with code 2."""
    with pytest.raises(SystemExit) as caught:
        parse_submit_arguments(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: python -m tune_distill.submit")
    return printed.err.splitlines()[-1].partition("error: ")[2]


class TestArguments:
    def test_a_study_and_an_address_are_enough(self):
        given = parse_submit_arguments(["smoothing", "--address", URL])
        assert (given.command, given.studies, given.url) == ("study", ["smoothing"], URL)
        assert (given.detach, given.json, given.quiet) == (False, False, False)
        options = study_options(given)
        expected = ["smoothing", "--address=auto", f"--results={submit_options.RESULTS}"]
        assert options == parse_arguments(expected)

    def test_every_study_option_is_passed_on(self):
        flags = {
            flag for action in study_arguments._parser()._actions for flag in action.option_strings
        }
        ours = {
            flag
            for action in submit_options._study_parser()._actions
            for flag in action.option_strings
        }
        assert flags <= ours

    def test_the_study_command_has_the_given_options(self):
        line = (
            "smoothing ./my.yaml --profile p.yaml --student S --data D --seeds 3 --set a=1 "
            "--set=-b=2 --store s3://bucket/store --no-reuse --cpus-per-trial 1.5 "
            "--gpus-per-trial 0.25 --memory-per-trial 2GiB --max-concurrent 4 --quiet --json"
        )
        given = parse_submit_arguments([*line.split(), "--results", "/r s", "--address", URL])
        command = study_command(study_options(given))
        assert command[:3] == ["python", "-m", "tune_distill.study"]
        expected = [*line.split(), "--results", "/r s", "--address", "auto"]
        assert parse_arguments(command[3:]) == parse_arguments(expected)

    @pytest.mark.parametrize("flag", ["--list", "--dry-run", "--explain"])
    def test_options_that_run_nothing_are_refused(self, capsys, flag):
        told = refused(capsys, "smoothing", flag, "--address", URL)
        assert told == f"{flag} runs nothing: use python -m tune_distill.study {flag}"

    @pytest.mark.parametrize("arguments", [[], ["all", "smoothing"]])
    def test_the_studies_must_be_unambiguous(self, capsys, arguments):
        told = refused(capsys, *arguments, "--address", URL)
        assert told.startswith(
            "'all' stands alone" if arguments else "name a study, 'all', a study"
        )

    @pytest.mark.parametrize("flag", ["--results", "--store", "--student", "--data"])
    @pytest.mark.parametrize(
        "place", ["sftp://u:secret@h/x", "https://h/x?sig=secret", "s3://b/hf_secret_secret"]
    )
    def test_passwords_in_options_are_refused(self, capsys, monkeypatch, flag, place):
        monkeypatch.setenv("HF_TOKEN", "hf_secret_secret")
        told = refused(capsys, "smoothing", "--address", URL, f"{flag}={place}")
        assert told.startswith(f"{flag}: must be without a password or token")
        assert "secret" not in told

    def test_an_address_is_shown_without_its_password(self, capsys):
        told = refused(capsys, "smoothing", "--address", "ftp://u:secret@head:8265")
        assert "ftp://u:***@head:8265" in told

    @pytest.mark.parametrize("flag", ["--results", "--store"])
    @pytest.mark.parametrize("place", ["results", "./results", "../results", ""])
    def test_places_must_be_valid_on_the_cluster(self, capsys, flag, place):
        told = refused(capsys, "smoothing", "--address", URL, f"{flag}={place}")
        rule = "must be a URI, or a path from / or ~ on the cluster's head"
        assert told == f"{flag}: {rule}, got {place!r}"

    @pytest.mark.parametrize("place", ["/r", "~/r", "s3://bucket/r", "file:///r"])
    def test_valid_places(self, place):
        given = parse_submit_arguments(["smoothing", "--address", URL, "--results", place])
        assert study_options(given).results == place

    @pytest.mark.parametrize("command", ["status", "logs", "stop", "fetch"])
    def test_commands_take_a_job_or_none(self, command):
        assert parse_submit_arguments([command, "--address", URL]).job is None
        given = parse_submit_arguments([command, "smoothing-1", "--address", URL])
        assert (given.command, given.job, given.url) == (command, "smoothing-1", URL)

    def test_the_environment_may_name_the_address(self, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "http://second:1/")
        assert parse_submit_arguments(["status"]).url == "http://second:1"
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://first:1")
        assert parse_submit_arguments(["status"]).url == "https://first:1"
        assert parse_submit_arguments(["status", "--address", URL]).url == URL

    def test_a_drivers_address_is_not_taken_for_the_dashboards(self, capsys, monkeypatch):
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
        told = refused(capsys, "status")
        assert told == "--address: name the head's dashboard, for example http://HEAD:8265"

    @pytest.mark.parametrize(
        "address", ["head:8265", "10.0.0.1", "ray://head:10001", "http://", ""]
    )
    def test_an_address_must_be_a_url(self, capsys, address):
        told = refused(capsys, "smoothing", f"--address={address}")
        rule = "must be the URL of the head's dashboard, as http://HEAD:8265"
        assert told == f"--address: {rule}, got {address!r}"

    @pytest.mark.parametrize("arguments", [[], *([name] for name in submit_options.COMMANDS)])
    def test_help_imports_nothing_heavy(self, arguments):
        heavy = {"aiohttp", "grpc", "pandas", "pyarrow", "ray", "rich", "torch", "transformers"}
        script = (
            "import runpy, sys\n"
            f"sys.argv = ['submit', *{arguments!r}, '--help']\n"
            "try:\n    runpy.run_module('tune_distill.submit', run_name='__main__')\n"
            "except SystemExit as end:\n    assert not end.code\n"
            f"print('heavy:', *sorted({heavy!r} & set(sys.modules)), file=sys.stderr)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stderr.split() == ["heavy:"]
        assert "--address URL" in done.stdout
