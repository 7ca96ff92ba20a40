"""The registry of rules, what blocks and what does not, and the file that silences findings."""

import json
import re
import shutil
from pathlib import Path

import pytest
import typer

from ops.check import before_deploy, ignore_file, registry, run
from ops.check.finding import Finding, finding_at
from ops.check.ignore_file import IgnoreEntry
from ops.check.registry import RULES
from ops.check.rules import service_yaml
from ops.commands import check, reference
from ops.console.cli import CommandError
from ops.project import catalogue
from ops.project.place import Place
from ops.project.service_files import ServiceFiles
from tests.planted import change, findings

CHECK = Path(registry.__file__).parent
SERVE, README = "services/small_size_llm/serve.py", "services/small_size_llm/README.md"
FEW_NODES = ("services/small_size_llm/service.yaml", "max_nodes: 4", "max_nodes: 2")
"""A warning: too-few-nodes-at-peak."""
UNSCALED = (SERVE, "target_ongoing_requests=16,", "")
"""An error: no-autoscaling-target."""


@pytest.fixture
def one_service(copied, monkeypatch) -> Path:
    """A repository with small-size-llm alone, and the commands looking at it."""
    for folder in (copied / "services").iterdir():
        if folder.name != "small_size_llm" and folder.is_dir():
            shutil.rmtree(folder)
    monkeypatch.setattr(catalogue, "ROOT", copied)
    monkeypatch.setattr(catalogue, "SERVICES", copied / "services")
    # They import Ray, vLLM and the SDK in processes of their own, 20 s each time, and no fault here is theirs to find.
    monkeypatch.setattr(run, "slow", lambda services: [])
    return copied


def ids(found: list[Finding]) -> list[str]:
    return [finding.check for finding in found]


# The registry.


def test_every_rule_is_used_and_every_id_is_the_name_of_its_rule():
    code = "\n".join(file.read_text() for file in CHECK.rglob("*.py") if file.name != "registry.py")
    used = set(re.findall(r"\bregistry\.([A-Z][A-Z0-9_]+)\b", code)) - {"RULES"}
    assert {id.upper().replace("-", "_") for id in RULES} == used
    assert all(getattr(registry, id.upper().replace("-", "_")) is rule for id, rule in RULES.items())


def test_no_two_rules_have_one_id():
    written = re.findall(r'^    "([a-z0-9-]+)",$', Path(registry.__file__).read_text(), re.MULTILINE)
    assert written == list(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_written_in_sentences(rule):
    assert rule.severity in ("error", "warning")
    assert rule.fault[0].isupper() or rule.fault.startswith(("service.yaml", "models.yaml", "vLLM"))
    assert not rule.fault.endswith(".")
    assert rule.why.endswith(".")
    assert rule.fix.endswith(".")


def test_what_is_said_about_readmes_is_never_an_error():
    assert {rule.severity for rule in RULES.values() if "README" in rule.fault} == {"warning"}


@pytest.mark.parametrize("name", ["rules.md", "commands.md"])
def test_the_reference_is_what_the_code_says(name, root):
    made = reference.pages()[name]
    written = (root / "docs/reference" / name).read_text()
    assert written == made, "run .venv/bin/python -m ops.commands.reference"


def test_list_prints_every_rule(capsys):
    check.check(list_rules=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [(rule.severity, rule.id) for rule in RULES.values()]


def test_list_as_json(capsys):
    check.check(list_rules=True, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert [rule["id"] for rule in listed] == list(RULES)
    assert listed[0].keys() == {"concern", "id", "fault", "severity", "why", "fix"}


def test_explain_prints_all_that_is_known_of_a_rule(capsys):
    check.check(explain="no-autoscaling-target")
    rule, said = RULES["no-autoscaling-target"], capsys.readouterr().out
    assert all(text in said for text in (rule.id, "error", rule.fault, rule.why, rule.fix, "--force"))


def test_explain_names_the_nearest_rule():
    with pytest.raises(CommandError, match=r"no rule no-autoscaling-targets\. Did you mean no-autoscaling-target\?"):
        check.check(explain="no-autoscaling-targets")


# What blocks.


def test_warnings_alone_are_no_failure(one_service, capsys):
    change(one_service, *FEW_NODES)
    check.check(fast=True)
    said = capsys.readouterr().out
    assert "warning: too-few-nodes-at-peak" in said
    assert "0 errors, 1 warning in 1 service" in said


def test_an_error_is_a_failure(one_service, capsys):
    change(one_service, *FEW_NODES)
    change(one_service, *UNSCALED)
    with pytest.raises(typer.Exit) as ended:
        check.check(fast=True, as_json=True)
    assert ended.value.exit_code == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["check"]: finding["severity"] for finding in found} == {
        "no-autoscaling-target": "error",
        "too-few-nodes-at-peak": "warning",
    }


def test_only_errors_stop_a_deploy_and_force_takes_their_ids(one_service, capsys):
    change(one_service, *FEW_NODES)
    before_deploy.refuse_findings(catalogue.find("small-size-llm"), [])
    assert "warning too-few-nodes-at-peak" in capsys.readouterr().err
    change(one_service, *UNSCALED)
    service = catalogue.find("small-size-llm")
    with pytest.raises(CommandError, match=r"--force no-autoscaling-target$"):
        before_deploy.refuse_findings(service, [])
    before_deploy.refuse_findings(service, ["no-autoscaling-target"])
    with pytest.raises(CommandError, match=r"Did you mean no-autoscaling-target\?"):
        before_deploy.refuse_findings(service, ["no-autoscaling-targt"])


def test_a_warning_does_not_hide_the_error_of_its_line(copied):
    place = Place(copied / SERVE, 3)
    found = [
        finding_at(copied, rule, place, "x") for rule in (registry.REFUSED_BY_LLM_CONFIG, registry.ADAPTERS_READ_AGAIN)
    ]
    assert ids(run.once(found)) == ["adapters-read-again", "refused-by-llm-config"]
    found.append(finding_at(copied, registry.ROUTER_OR_POLICY_NOT_IMPORTABLE, place, "x"))
    assert ids(run.once(found)) == ["adapters-read-again", "router-or-policy-not-importable"]


# The file that silences findings.


def ignore(root: Path, text: str) -> None:
    (root / ignore_file.NAME).write_text(text)


def entry(rule: str = "no-autoscaling-target", place: str = SERVE, reason: str = "one replica is enough") -> str:
    return f"- rule: {rule}\n  place: {place}\n  reason: {reason}\n"


def test_an_entry_silences_a_finding_and_its_reason_is_printed(one_service, capsys):
    change(one_service, *UNSCALED)
    ignore(one_service, entry())
    check.check(fast=True)
    said = capsys.readouterr().out
    assert "0 errors, 0 warnings" in said
    assert re.search(r"^silenced: services/small_size_llm/serve.py:\d+  no-autoscaling-target: one rep", said, re.M)
    before_deploy.refuse_findings(catalogue.find("small-size-llm"), [])
    assert "one replica is enough" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "silences"),
    [
        ("services/my_llm/serve.py", True),
        ("services/my_llm/serve.py:12", True),
        ("services/my_llm/serve.py:13", False),
        ("services/my_llm", True),
        ("services/my_llm/", True),
        ("./services/my_llm", True),
        ("services/*", True),
        ("services/*/serve.py", True),
        ("services/my", False),
        ("services/other_llm", False),
        ("serve.py", False),
    ],
)
def test_places(place, silences):
    found = finding_at(Path("/r"), registry.NO_SLO, Place(Path("/r/services/my_llm/serve.py"), 12), "x")
    assert IgnoreEntry(rule="no-slo", place=place, reason="x").silences(found) is silences
    assert not IgnoreEntry(rule="secret-in-file", place=place, reason="x").silences(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry(rule="no-autoscaling-targets"), "no rule no-autoscaling-targets. Did you mean no-autoscaling-target?"),
        ("- rule: no-slo\n  place: services\n", "reason: Field required"),
        (entry(reason='""'), "reason: .*it is empty"),
        (entry(reason=""), "reason: "),
        (entry(place='" "'), "place: .*it is empty"),
        (entry() + "  until: 2027\n", "until: "),
        (entry() + "  reason: another\n", "reason"),
        ("rule: no-slo\n", "is not a list of entries"),
        ("- 5\n", "is not a list of entries"),
        ("- [\n", "check-ignore.yaml"),
    ],
    ids=lambda text: text.split("\n")[0],
)
def test_a_file_that_cannot_be_used_ends_the_check(text, said, one_service):
    ignore(one_service, text)
    with pytest.raises(CommandError, match=said) as raised:
        check.check(fast=True)
    assert "check-ignore.yaml" in str(raised.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]\n"])
def test_a_file_without_entries_silences_nothing(text, one_service):
    ignore(one_service, text)
    assert ignore_file.read(one_service) == []


def test_an_entry_that_silences_nothing_is_a_warning_at_its_line(copied):
    ignore(copied, "# mine\n" + entry() + entry(place="services/gpt_oss") + entry(place="README.md"))
    entries = ignore_file.read(copied)
    unused = ignore_file.sort([], entries).unused

    def lines(folders: list[Path]) -> list[int]:
        found = ignore_file.stale(copied, folders, entries, unused)
        assert {(finding.check, finding.severity, finding.file) for finding in found} == {
            ("ignore-without-effect", "warning", "services/check-ignore.yaml")
        }
        return [finding.line for finding in found]

    folders = [file.parent for file in copied.glob("services/*/service.yaml")]
    assert lines(folders) == [2, 5, 8]
    assert lines([copied / "services/gpt_oss"]) == [5], "the others were not looked at"


def test_a_fast_check_does_not_call_an_entry_useless(one_service):
    ignore(one_service, entry(rule="unknown-key"))
    files = ServiceFiles(one_service, one_service / "services/small_size_llm")
    assert run.check(one_service, [files], fast=True).findings == []


# Advice that is not wrong.


@pytest.mark.parametrize(
    ("file", "right", "typo"),
    [
        (SERVE, 'model_source="microsoft/phi-2"', 'model_source="microsoft/phi_2"'),
        (SERVE, 'model_id="phi-2"', 'model_id="phi-two"'),
        (SERVE, "max_ongoing_requests=1024", "max_ongoing_requests=1042"),
        (SERVE, 'tokenizer_mode="mistral", max_model_len=8192', 'tokenizer_mode="mistral", max_model_len=8129'),
    ],
    ids=lambda value: value,
)
def test_a_typo_is_never_what_the_readme_should_say(file, right, typo, copied):
    change(copied, file, right, typo)
    (finding,) = [one for one in findings(copied) if one.file == README]
    wrong = re.findall(r"[\w/.-]+", typo)[-1]
    assert finding.severity == "warning"
    assert wrong not in finding.fix + finding.why
    assert f"{SERVE}:" in finding.what, "both places are named"


def test_a_readme_of_ones_own_is_no_fault(copied):
    (copied / README).write_text("# What we serve\n\nAsk the platform team.\n")
    assert findings(copied) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("max_ongoing_requests=8,", "Remove it: it belongs in deployment_config, which has it."),
        ("num_replicas=2,", "It belongs in deployment_config: move it there."),
        ("max_replica=4,", "Remove it, or write one of: "),
    ],
)
def test_the_fix_of_a_misplaced_key_names_its_place_and_no_key_that_stands_beside_it(given, said, copied):
    change(copied, SERVE, "min_replicas=1,", f"min_replicas=1, {given}")
    files = ServiceFiles(copied, copied / "services/small_size_llm")
    (finding,) = [one for one in service_yaml.findings(files) if one.check == "unknown-key"]
    assert finding.fix.startswith(said)
    listed = re.findall(r"\w+", finding.fix.partition("one of:")[2])
    assert not {"min_replicas", "max_replicas", "target_ongoing_requests"} & set(listed)
