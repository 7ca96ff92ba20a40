"""What scripts/chat sends, and how it shows what comes back."""

import base64

import pytest

from ops.commands import chat
from ops.console.cli import CommandError
from ops.probing import client


def test_image_file_is_sent_with_its_content(tmp_path):
    file = tmp_path / "photo.png"
    file.write_bytes(b"not really a picture")
    url = chat.image_part(str(file))["image_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == b"not really a picture"


def test_image_by_url_is_left_to_the_service():
    assert chat.image_part("https://host/photo.png")["image_url"]["url"] == "https://host/photo.png"


@pytest.mark.parametrize("name", ["missing.png", "notes.txt"])
def test_what_is_not_an_image_is_named(tmp_path, name):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(CommandError, match=f"{name} is not the path of an image file"):
        chat.image_part(str(tmp_path / name))


def test_thinking_options():
    assert chat.thinking_options(no_think=False, effort=None) == {}
    assert chat.thinking_options(no_think=True, effort=None) == {"chat_template_kwargs": {"enable_thinking": False}}
    assert chat.thinking_options(no_think=False, effort="low") == {"reasoning_effort": "low"}


def test_thoughts_and_answer_are_shown_apart_without_the_blank_lines_around_them(monkeypatch, capsys):
    pieces = [("reasoning", "\n"), ("reasoning", "Hm."), ("content", "\n\n"), ("content", "Paris"), ("content", "\n!")]

    def stream(_connection, _body, read):
        for kind, text in pieces:
            read.content += text * (kind == "content")
            yield client.Piece(kind, text)

    monkeypatch.setattr(client, "stream", stream)  # a service that streams so would take a minute to start
    assert chat.answer(None, {}) == "\n\nParis\n!"
    assert capsys.readouterr().out == "Hm.\nParis\n!\n"
