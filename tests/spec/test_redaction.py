"""Secrets do not reach messages."""

from __future__ import annotations

import pickle
import traceback

import pytest

from tune_distill.spec import redaction
from tune_distill.spec.errors import StoreError
from tune_distill.spec.redaction import keep_secret, redacted

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What this process was told to hide before is of no matter."""
    monkeypatch.setattr(redaction, "_told", set())


@pytest.mark.parametrize(
    "name",
    [
        "RAY_AUTH_TOKEN",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AZURE_STORAGE_KEY",
        "WANDB_API_KEY",
        "DB_PASSWORD",
    ],
)
def test_what_the_environment_holds_is_hidden(monkeypatch, name):
    monkeypatch.setenv(name, SECRET)
    assert redacted(f"got {SECRET!r}; and {SECRET}") == "got '***'; and ***"


def test_each_line_of_a_secret_is_hidden(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", f"{SECRET}\nsecond-line\n")
    shown = redacted(f"Invalid header value {f'Bearer {SECRET}' + chr(10) + 'second-line'!r}")
    assert SECRET not in shown
    assert "second-line" not in shown


def test_names_of_files_and_short_words_stay(monkeypatch, tmp_path):
    (tmp_path / "key.json").touch()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/.ray/auth_token")
    monkeypatch.setenv("SOME_TOKEN", "short")
    text = f"{tmp_path}/key.json /home/me/.ray/auth_token short"
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://user:pass@host/x", "sftp://user:***@host/x"),
        ("http://:pass@head:8265", "http://:***@head:8265"),
        ("sftp://user:p@ss:word@host/x", "sftp://user:***@host/x"),
        ("sftp://user@host/x", "sftp://user@host/x"),
        ("https://h/x?sig=abc%2Fdef&v=1", "https://h/x?sig=***&v=1"),
        ("https://h/x?X-Amz-Security-Token=abc", "https://h/x?X-Amz-Security-Token=***"),
        ("authorization: Bearer abcdefgh12345", "authorization: Bearer ***"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "{'Authorization': 'Basic ***'}"),
        ("http://head:8265 must answer", "http://head:8265 must answer"),
        ("a@b.example: x", "a@b.example: x"),
    ],
)
def test_passwords_in_uris_and_headers_are_hidden(text, shown):
    assert redacted(text) == shown


def test_what_was_read_from_a_file_is_hidden():
    keep_secret(SECRET)
    assert redacted(SECRET) == "***"


def test_what_a_uri_holds_is_hidden_wherever_it_is_quoted():
    redaction.keep_secrets_of("sftp://user:p%40ssword@host/x?sig=abcdef")
    assert redacted('bucket "user:p@ssword" of abcdef') == 'bucket "user:***" of ***'


def test_an_error_never_holds_a_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    error = StoreError(f"s3://user:{SECRET}@bucket: got {SECRET}")
    again = pickle.loads(pickle.dumps(error))
    for shown in (str(error), repr(error), str(again), *traceback.format_exception(error)):
        assert SECRET not in shown
    assert str(again) == str(error) == "s3://user:***@bucket: got ***"
