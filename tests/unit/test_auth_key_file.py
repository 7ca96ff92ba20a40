"""Key files: what is wrong with one is said in a sentence, and scripts/keys writes right ones."""

import os

import pytest

from serving.auth import key_file

HASH = key_file.digest(b"a key").hex()
OTHER = key_file.digest(b"another").hex()
SECRET = "sk-the-plain-key-of-alice-which-no-message-repeats"


def entry(**fields: object) -> str:
    given = {"name": "alice", "sha256": HASH} | fields
    return "- {" + ", ".join(f"{name}: {value}" for name, value in given.items()) + "}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no keys: nobody could use the service"),
        ("keys: []", "has no keys"),
        ("- alice", "has no keys"),
        ("keys:\n" + entry() + entry(sha256=OTHER), "the name alice is given twice"),
        ("keys:\n" + entry() + entry(name="bob"), "alice and bob have the same hash"),
        ("keys:\n" + entry(rate=3), "rate of key 1 (alice): nothing reads it"),
        ("keys:\n" + entry() + "hosts: []", "hosts: nothing reads it"),
        (
            "keys:\n" + entry(sha256=SECRET),
            "sha256 of key 1 (alice): it is not a hash, which has 64 hexadecimal digits",
        ),
        ("keys:\n" + entry(sha256=HASH.upper()), "it is not a hash"),
        ("keys:\n- {name: alice}", "sha256 of key 1 (alice): it is missing"),
        ("keys:\n" + entry(requests_per_minute=-1), "requests_per_minute of key 1 (alice): it must be greater than 0"),
        ("keys:\n" + entry(tokens_per_day=0), "it must be greater than 0; leave it out for no limit"),
        ("keys:\n" + entry(tokens_per_day="many"), "it is not a whole number"),
        ("keys:\n" + entry(tokens_per_day=1.5), "it is not a whole number"),
        ("keys:\n" + entry(tokens_per_day="yes"), "it is not a whole number"),
        ("keys:\n" + entry(name='"a b"'), "name of key 1 (a b): it is not made of up to 64 letters"),
        ("keys:\n- just a text", "key 1: "),
        ("keys: all", "keys: "),
        ("keys:\n- name: alice\n  name: bob", "name is given twice, in lines 2 and 3"),
        ("keys: [", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_told_in_a_sentence(text, said, tmp_path):
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"keys\.yaml") as raised:
        key_file.load(str(file))
    assert said in str(raised.value)
    assert SECRET not in str(raised.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(ValueError, match=r"key 1 \(alice\).*key 2 \(bob\)"):
        key_file.parse("keys:\n" + entry(sha256="x") + entry(name="bob", tokens_per_day=0), "keys.yaml", False)


def test_a_file_that_is_missing_or_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"nokeys.yaml cannot be read: No such file.* scripts/keys new"):
        key_file.load(str(tmp_path / "nokeys.yaml"))
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        key_file.load(str(tmp_path))
    (tmp_path / "keys.gpg").write_bytes(b"\x85\xff\x00")
    with pytest.raises(ValueError, match=r"keys.gpg is not text"):
        key_file.load(str(tmp_path / "keys.gpg"))


def test_keys_of_an_environment_variable(monkeypatch):
    monkeypatch.setenv("CLIENTS", f'{{"keys": [{{"name": "alice", "sha256": "{HASH}", "tokens_per_day": 5}}]}}')
    (alice,) = key_file.load("env:CLIENTS")
    assert (alice.name, alice.digest, alice.tokens_per_day) == ("alice", key_file.digest(b"a key"), 5)
    monkeypatch.setenv("CLIENTS", "keys: [")
    with pytest.raises(ValueError, match="CLIENTS is not valid YAML"):
        key_file.load("env:CLIENTS")
    monkeypatch.setenv("CLIENTS", "")
    with pytest.raises(ValueError, match="api_keys is env:CLIENTS, and CLIENTS is not set"):
        key_file.load("env:CLIENTS")


def test_paths_are_relative_to_the_repository(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert key_file.path_of("keys.yaml") == root / "keys.yaml"
    assert key_file.path_of(os.fspath(tmp_path / "keys.yaml")) == tmp_path / "keys.yaml"
