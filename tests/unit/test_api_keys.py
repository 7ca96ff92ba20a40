"""scripts/keys: the key is printed once, the file has its hash."""

import pytest
import typer
import yaml
from typer.testing import CliRunner

from ops.commands import keys
from ops.console.cli import CommandError
from serving.auth import key_file


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.yaml"


def test_a_new_key_is_printed_once_and_kept_as_its_hash(file, capsys):
    keys.new("alice", 60, 1_000_000, file)
    printed = capsys.readouterr()
    key = printed.out.strip()
    assert key.startswith("sk-")
    assert len(key) == 46
    assert key not in printed.err + file.read_text()
    (alice,) = key_file.load(str(file))
    assert alice.digest == key_file.digest(key.encode())
    assert (alice.requests_per_minute, alice.tokens_per_day) == (60, 1_000_000)


def test_keys_are_added_listed_and_removed(file, capsys):
    for name in ("alice", "bob"):
        keys.new(name, None, None, file)
    keys.new("carol", 60, None, file)
    before = {key.name: key for key in key_file.load(str(file))}
    keys.remove("alice", file)
    assert key_file.load(str(file)) == [before["bob"], before["carol"]]
    capsys.readouterr()
    keys.show(file)
    assert capsys.readouterr().out == "bob: no limits\ncarol: 60 requests per minute\n"


def test_the_last_one_leaves_a_list_to_which_one_can_be_added(file):
    keys.new("alice", None, None, file)
    keys.remove("alice", file)
    assert yaml.safe_load(file.read_text()) == {"keys": []}
    keys.new("bob", None, None, file)
    assert [key.name for key in key_file.load(str(file))] == ["bob"]


def test_what_cannot_be_done_changes_nothing(file, tmp_path):
    keys.new("alice", None, None, file)
    before = file.read_text()
    with pytest.raises(CommandError, match="has a key named alice"):
        keys.new("alice", None, None, file)
    with pytest.raises(CommandError, match="a b cannot be the name of a key"):
        keys.new("a b", None, None, file)
    with pytest.raises(CommandError, match=r"has no key named bob\. It has: alice"):
        keys.remove("bob", file)
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        keys.new("bob", None, None, tmp_path / "nowhere" / "keys.yaml")


def test_a_file_that_is_something_else_is_left_alone(file):
    file.write_text("keys: [{name: alice, sha256: x}]\n")
    with pytest.raises(CommandError, match="it is not a hash"):
        keys.new("bob", None, None, file)
    assert "name: alice" in file.read_text()


def test_a_negative_limit_is_refused_by_the_command(file):
    app = typer.Typer()
    app.command()(keys.new)
    refused = CliRunner().invoke(app, ["alice", "--requests-per-minute", "-1", "--file", str(file)])
    assert refused.exit_code == 2
    assert not file.exists()
