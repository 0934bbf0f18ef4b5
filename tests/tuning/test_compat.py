"""Undocumented names of Ray: our functions with them and without them."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tune_distill.spec.errors import ClusterError
from tune_distill.tuning import access, compat
from tune_distill.tuning.capabilities import SWITCH, Name, resolve
from tune_distill.tuning.recovery import failure_reason

NAMES = [(each, name) for each in compat.CAPABILITIES for name in each.names]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """Return a function that turns capabilities off."""

    def without(*capabilities: compat.Capability) -> None:
        for each in capabilities:
            monkeypatch.setitem(compat._MISSING, each, [name.path for name in each.names])

    return without


def test_the_pinned_ray_has_every_name():
    assert [name.path for _, name in NAMES if not name.is_usable()] == []
    assert compat.missing_line(compat.CAPABILITIES) is None


@pytest.mark.parametrize(("capability", "name"), NAMES, ids=[name.path for _, name in NAMES])
def test_a_missing_name_switches_off_only_its_own_capability(monkeypatch, capability, name):
    monkeypatch.setenv(SWITCH, name.path)
    off = [each for each in compat.CAPABILITIES if each.missing()]
    assert off == [capability]
    assert capability.missing() == [name.path]


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        (Name("json.decoder.JSONDecoder"), True),
        (Name("json.loads.no_such"), False),
        (Name("json.no_such.thing"), False),
        (Name("no_such_package.thing"), False),
        (Name("textwrap.dedent", ("text",)), True),
        (Name("textwrap.dedent", ("text", "more")), False),
        (Name("json.decoder.JSONDecoder.memo", set_by="__init__"), True),
        (Name("json.decoder.JSONDecoder.renamed", set_by="__init__"), False),
        (Name("json.decoder.JSONDecoder.memo", set_by="no_such"), False),
        (Name("os.sep", ("text",)), False),
    ],
)
def test_a_removed_or_changed_name_is_noticed(name, usable):
    assert name.is_usable() is usable


def test_missing_capabilities_are_reported_in_one_line(without):
    without(compat.RETRIES, compat.RECOVERY)
    line = compat.missing_line(compat.STARTED_HERE)
    assert line is not None
    assert "\n" not in line
    assert "ray.tune.tune.TuneController" in line
    assert compat.RETRIES.lost in line
    assert compat.missing_line([compat.QUIET]) is None


def test_rays_own_functions_are_replaced_in_the_block_only(without):
    from ray._private import worker

    tune_run = resolve("ray.tune.tune.run").__globals__
    before = worker.print_to_stdstream, tune_run["TuneController"]
    with compat.quiet_about_workers(), compat.recovering():
        assert worker.print_to_stdstream is not before[0]
        assert issubclass(tune_run["TuneController"], before[1])
        assert tune_run["TuneController"] is not before[1]
    assert (worker.print_to_stdstream, tune_run["TuneController"]) == before
    without(compat.QUIET, compat.RECOVERY)
    with compat.quiet_about_workers(), compat.recovering():
        assert (worker.print_to_stdstream, tune_run["TuneController"]) == before


def test_without_the_names_a_trial_is_described_less_and_goes_on(without):
    without(compat.KILLING, compat.RETRIES, compat.REASONS)
    # An object without any attribute shows that no attribute of Ray's is read.
    trial = object()
    assert compat.worker_of(trial) is None
    compat.allow_retries(trial, 3)
    assert failure_reason(trial) == "Tune gave no reason"


def test_without_the_names_auto_is_ray_address(without, monkeypatch):
    without(compat.FINDING)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    assert compat.found_head() == "10.0.0.7:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    with pytest.raises(ClusterError, match="'auto' looks for one, got: no RAY_ADDRESS"):
        compat.found_head()


@pytest.mark.parametrize("mode", [None, "token"])
def test_without_the_names_authentication_must_be_on_from_the_start(without, monkeypatch, mode):
    without(compat.SETTINGS)
    if mode is None:
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        # monkeypatch then restores the variable that the call sets.
        monkeypatch.setenv("RAY_AUTH_MODE", "")
        with pytest.raises(ClusterError, match="RAY_AUTH_MODE: must be 'token' before"):
            access._authenticate()
    else:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        access._authenticate()
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_requests_to_a_dashboard_are_limited_if_possible(without):
    asked = []
    client = SimpleNamespace(_do_request=lambda *given, **named: asked.append((given, named)))
    compat.limit_requests(client, timeout=5.0)
    client._do_request("GET", "/api/version")
    assert asked == [(("GET", "/api/version"), {"timeout": 5.0})]
    without(compat.REQUESTS)
    compat.limit_requests(object(), timeout=5.0)


def test_niceness_is_a_variable_of_the_processes_that_ray_starts(without):
    assert compat.niceness(3) == {"RAY_worker_niceness": "3"}
    without(compat.NICENESS)
    assert compat.niceness(3) == {}


def test_the_switch_is_read_from_the_environment():
    code = (
        "from tune_distill.tuning import compat;"
        "print([compat.has(each) for each in compat.CAPABILITIES])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {SWITCH: "all"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split("[")[1].strip("]\n").split(", ") == ["False"] * len(
        compat.CAPABILITIES
    )
