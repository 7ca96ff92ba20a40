"""A rehearsal, as a user runs it: three engines started one after the other, and nothing faked above the API."""

import re


def test_rehearsal_of_a_service_comes_out_as_it_should(checkout, left):
    played = checkout.run("rehearse", "small-size-llm")
    assert played.returncode == 0, played.stdout + played.stderr[-5000:]
    lines = played.stdout.splitlines()
    held = next(int(line.removeprefix("streams held open: ")) for line in lines if line.startswith("streams held"))
    assert held > 2
    assert "streams cut: 0" in lines
    back_s = next(line.partition(": ")[2] for line in lines if line.startswith("seconds from bad step to rolled back:"))
    assert float(back_s) > 0
    assert re.fullmatch(r"The rehearsal of small-size-llm came out as it should: 6 acts in \d+ s\.", lines[-1])
    assert left() == []
