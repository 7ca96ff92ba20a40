"""The page of docs/reference that lists every rule of scripts/check."""

from itertools import groupby

from ops.check.registry import RULES, Rule

HEAD = """\
# Rules

Every rule of `scripts/check`, as `scripts/check --list` prints them; `scripts/check --explain ID` prints one. An
**error** makes a deploy fail, cost money, lose requests or secrets, or serve something other than the files say: it
blocks `scripts/deploy` and `scripts/rollout`. Everything else is a **warning**. How to silence a rule:
[before you pay](../before-you-pay.md#findings-that-you-accept).
"""


def page() -> str:
    """The text of docs/reference/rules.md."""
    parts = [HEAD]
    for concern, rules in groupby(RULES.values(), key=lambda rule: rule.concern):
        rows = [row(rule) for rule in rules]
        title = concern if "." in concern else concern[0].upper() + concern[1:]
        parts.append(
            "\n".join([f"## {title}\n", "| rule | severity | what is wrong | why | fix |", "|---" * 5 + "|", *rows])
        )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def row(rule: Rule) -> str:
    cells = (f"`{rule.id}`", rule.severity, rule.fault, rule.why, rule.fix)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
