"""Tokens: they are found like Ray finds them, and kept private."""

from __future__ import annotations

import stat
import traceback

import pytest

from tune_distill.spec.errors import ClusterError
from tune_distill.tuning.cluster_token import Token, find_token

pytestmark = pytest.mark.usefixtures("home")

SECRET = "c0ffee" * 8


def test_there_may_be_no_token():
    assert find_token() is None


@pytest.mark.parametrize("content", ["{}", "{}\n", "  {}\t\r\n", "{}\nsecond line\n"])
def test_a_copied_file_is_read_as_ray_reads_it(default, content):
    default.write_text(content.format(SECRET))
    assert find_token() == Token(SECRET, str(default))


def test_a_named_file_takes_precedence_over_the_default(default, home, monkeypatch):
    default.write_text("another")
    (home / "named").write_text(SECRET)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "named"))
    assert find_token() == Token(SECRET, f"RAY_AUTH_TOKEN_PATH ({home / 'named'})")


def test_the_variable_takes_precedence_over_files(default, monkeypatch):
    default.write_text("another")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(default))
    monkeypatch.setenv("RAY_AUTH_TOKEN", f" {SECRET}\n")
    assert find_token() == Token(SECRET, "RAY_AUTH_TOKEN")


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_variable_is_ignored(default, monkeypatch, blank):
    default.write_text(SECRET)
    monkeypatch.setenv("RAY_AUTH_TOKEN", blank)
    assert find_token() == Token(SECRET, str(default))


@pytest.mark.parametrize("content", ["", "\n", " \n", f"\n{SECRET}"])
def test_an_empty_file_is_refused(default, content):
    default.write_text(content)
    with pytest.raises(ClusterError, match="must hold a cluster's token in its first line"):
        find_token()


def test_a_missing_named_file_is_refused(default, monkeypatch):
    default.write_text(SECRET)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "~/elsewhere")
    with pytest.raises(ClusterError) as caught:
        find_token()
    assert str(caught.value).startswith(
        "RAY_AUTH_TOKEN_PATH (~/elsewhere): must be a file with a cluster's token, got: No such"
    )


def test_a_binary_file_is_refused(default):
    default.write_bytes(b"\xff\xfe")
    with pytest.raises(ClusterError, match="got: no text"):
        find_token()


def test_a_tokens_repr_hides_it():
    assert SECRET not in repr(Token(SECRET, "somewhere"))


@pytest.mark.parametrize(
    "text", [f"{SECRET}\n{SECRET}", f"{SECRET} x", f"{SECRET}\x01", f"é{SECRET}", SECRET * 999]
)
def test_a_token_that_no_header_can_carry_is_refused_without_its_text(home, monkeypatch, text):
    named = home / "named"
    named.write_text(text.replace("\n", " "), encoding="utf-8")
    for variable, value in (("RAY_AUTH_TOKEN", text), ("RAY_AUTH_TOKEN_PATH", str(named))):
        monkeypatch.setenv(variable, value)
        with pytest.raises(ClusterError, match="must be one word of at most") as caught:
            find_token()
        assert str(caught.value).startswith(variable)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604])
def test_a_file_that_others_may_read_is_made_private(default, mode):
    default.write_text(SECRET)
    default.chmod(mode)
    assert find_token() == Token(SECRET, str(default))
    assert stat.S_IMODE(default.stat().st_mode) == 0o600


def test_another_users_file_that_all_may_read_is_refused(default, monkeypatch):
    default.write_text(SECRET)
    default.chmod(0o644)
    monkeypatch.setattr("os.getuid", lambda: default.stat().st_uid + 1)
    with pytest.raises(ClusterError, match="must not be readable by every user") as caught:
        find_token()
    assert SECRET not in str(caught.value)
    assert stat.S_IMODE(default.stat().st_mode) == 0o644


def test_another_users_file_that_lets_this_user_in_is_read(default, monkeypatch):
    default.write_text(SECRET)
    default.chmod(0o440)
    monkeypatch.setattr("os.getuid", lambda: default.stat().st_uid + 1)
    assert find_token() == Token(SECRET, str(default))
