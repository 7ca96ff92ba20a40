"""Names that are not known, and what was meant."""

import difflib
from collections.abc import Collection, Iterable


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that is most like this one; None where none is. The likeness is difflib's, 1 for equal names."""
    of_folded = {candidate.lower().replace("-", "_"): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower().replace("-", "_"), of_folded, n=1, cutoff=likeness)
    return of_folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest, after a space; empty where none is like it."""
    close = nearest(name, known)
    return f" Did you mean {close}?" if close else ""


def instead(name: str, known: Iterable[str], otherwise: str, likeness: float = 0.6, given: Collection[str] = ()) -> str:
    """What to do about an unknown name, as a sentence; never to write a name that is given already."""
    close = nearest(name, known, likeness)
    return f"Write {close} instead, if that is meant." if close and close not in given else otherwise
