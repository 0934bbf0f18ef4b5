"""Messages do not contain secrets."""

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
    """Forget the secrets that earlier tests registered."""
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
def test_secrets_in_the_environment_are_hidden(monkeypatch, name):
    monkeypatch.setenv(name, SECRET)
    assert redacted(f"got {SECRET!r}; and {SECRET}") == "got '***'; and ***"


def test_each_line_of_a_secret_is_hidden(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", f"{SECRET}\nsecond-line\n")
    shown = redacted(f"Invalid header value {f'Bearer {SECRET}' + chr(10) + 'second-line'!r}")
    assert SECRET not in shown
    assert "second-line" not in shown


def test_file_names_and_short_words_are_not_hidden(monkeypatch, tmp_path):
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


def test_a_registered_secret_is_hidden():
    keep_secret(SECRET)
    assert redacted(SECRET) == "***"


def test_a_uris_password_is_hidden_outside_of_it_too():
    redaction.keep_secrets_of("sftp://user:p%40ssword@host/x?sig=abcdef")
    assert redacted('bucket "user:p@ssword" of abcdef') == 'bucket "user:***" of ***'


def test_an_error_never_holds_a_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    error = StoreError(f"s3://user:{SECRET}@bucket: got {SECRET}")
    again = pickle.loads(pickle.dumps(error))
    for shown in (str(error), repr(error), str(again), *traceback.format_exception(error)):
        assert SECRET not in shown
    assert str(again) == str(error) == "s3://user:***@bucket: got ***"
