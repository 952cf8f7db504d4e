"""Who may call, and how often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aircheck.gateway import access
from aircheck.gateway.access import Access, TokenFileError, new_token
from aircheck.gateway.errors import AccessError, OverloadedError


def entry(name: str, sha256: str, **limits: int) -> str:
    lines = [f"  - name: {name}", f"    sha256: {sha256}", *(f"    {key}: {value}" for key, value in limits.items())]
    return "\n".join(lines)


def write(path: Path, *entries: str) -> Path:
    path.write_text("tokens:\n" + "\n".join(entries) + "\n")
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tokens.yaml"


def test_each_token_has_its_name(file):
    (one, one_sha), (two, two_sha) = new_token(), new_token()
    door = Access(write(file, entry("ingestion", one_sha), entry("bulk", two_sha)))
    with door.call(f"Bearer {two}") as caller:
        assert caller == "bulk"
    with door.call(f"bearer {one}") as caller:
        assert caller == "ingestion"


@pytest.mark.parametrize("given", [None, "", "Bearer ", "Bearer wrong", "Basic abc"])
def test_nobody_else_comes_in(file, given):
    _, sha256 = new_token()
    door = Access(write(file, entry("ingestion", sha256)))
    with pytest.raises(AccessError, match="token"), door.call(given):
        pass


def test_the_hash_opens_nothing(file):
    _, sha256 = new_token()
    door = Access(write(file, entry("ingestion", sha256)))
    with pytest.raises(AccessError), door.call(f"Bearer {sha256}"):
        pass


def test_without_a_file_everybody_may_call():
    with Access(None).call(None) as caller:
        assert caller == ""


def test_a_changed_file_holds_from_the_next_call_on(file, monkeypatch, caplog):
    monkeypatch.setattr(access, "_CHECK_EVERY_S", 0.0)
    (old, old_sha), (new, new_sha) = new_token(), new_token()
    door = Access(write(file, entry("a", old_sha)))
    write(file, entry("a", old_sha), entry("second", new_sha))
    with door.call(f"Bearer {new}") as caller:
        assert caller == "second"
    file.write_text("tokens: broken")
    os.utime(file, ns=(1, 1))
    with door.call(f"Bearer {old}"):  # the former tokens stay in force
        pass
    assert "stay in force" in caplog.text
    assert old not in caplog.text


def test_calls_at_a_time_are_bounded(file):
    token, sha256 = new_token()
    door = Access(write(file, entry("a", sha256, parallel=2)))
    with door.call(f"Bearer {token}"):
        with (
            door.call(f"Bearer {token}"),
            pytest.raises(OverloadedError, match="2 calls under way"),
            door.call(f"Bearer {token}"),
        ):
            pass
        with door.call(f"Bearer {token}"):
            pass


def test_calls_a_minute_are_bounded_and_told_when_to_come_again(file, monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr(access.time, "monotonic", lambda: now_s)
    token, sha256 = new_token()
    door = Access(write(file, entry("a", sha256, calls_per_minute=120)))

    def call():
        with door.call(f"Bearer {token}"):
            pass

    call()
    call()
    with pytest.raises(OverloadedError, match="120 calls a minute") as raised:
        call()
    assert raised.value.retry_after_s == pytest.approx(0.5)
    now_s += 0.5
    call()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tokens: []\n", "tokens"),
        ("tokens:\n  - name: a\n    token: secret\n", "tokens.0"),
        ("tokens:\n  - {name: a, sha256: zz}\n", "sha256"),
        (f"tokens:\n  - {{name: a, sha256: {'a' * 64}}}\n  - {{name: a, sha256: {'b' * 64}}}\n", "stands twice"),
        ("{", "not valid YAML"),
    ],
)
def test_a_file_with_a_fault_is_named(file, text, words):
    file.write_text(text)
    with pytest.raises(TokenFileError, match=words) as raised:
        Access(file)
    assert str(file) in str(raised.value)


def test_a_missing_file_is_named(file):
    with pytest.raises(TokenFileError, match="cannot be read: No such file"):
        Access(file)
