import pytest

from ops.console import durations
from ops.console.cli import CommandError


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("1.5min", 90), ("2 h", 7200)])
def test_durations(text, seconds):
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("text", ["60", "s", "60sec", "-1s", ""])
def test_durations_without_a_unit_are_refused(text):
    with pytest.raises(CommandError, match="Write it with its unit"):
        durations.seconds(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.6, "1 min"), (65, "1 min 5 s"), (7200, "2 h"), (9015, "2 h 30 min")]
)
def test_lasting(seconds, words):
    assert durations.lasting(seconds) == words
