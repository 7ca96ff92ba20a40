"""What is checked is what is deployed: service.yaml together with --set, --image-uri and the environment."""

import functools
import json
from pathlib import Path

import pytest
import yaml

from ops.check import before_deploy, result_cache, run
from ops.check.finding import Finding
from ops.check.rules import service_yaml_import
from ops.check.run import CheckResult
from ops.cloud import anyscale_cli, mutations, service_state, version_spec
from ops.cloud.anyscale_cli import Outcome
from ops.cloud.service_state import Target
from ops.commands import deploy, plan, rollout
from ops.console.cli import CommandError
from ops.probing import service_key
from ops.project import catalogue
from ops.project.catalogue import Service
from ops.project.service_files import ServiceFiles
from ops.rollouts import deploy_plan, journal
from tests import keys

SMALL = "small_size_llm"
OLD_IMAGE = "anyscale/ray-llm:2.58.0-py312-cu130"
TARGET = Target("my-llm", cloud=None, project=None)


@pytest.fixture
def small(copied: Path) -> Service:
    """A service in a copy of the repository, in which a test may change files."""
    return Service(copied / "services" / SMALL)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "the-token")


@pytest.fixture
def commands(small: Service, secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the commands hand to the Anyscale CLI, which refuses it: there is no Anyscale here.

    They check without the slow checks, which another test has.
    """
    handed: list[tuple[str, ...]] = []

    def taken(*words: str, **_) -> Outcome:
        handed.append(words)
        return Outcome(1, "Error: refused")

    monkeypatch.setattr(catalogue, "SERVICES", small.folder.parent)
    monkeypatch.setattr(journal, "FOLDER", tmp_path / "rollouts")
    monkeypatch.setattr(service_state, "find", lambda *_: None)
    monkeypatch.setattr(anyscale_cli, "run", taken)
    monkeypatch.setattr(before_deploy.run, "check", functools.partial(run.check, fast=True))
    return handed


def write(service: Service, settings: list[str], image_uri: str | None) -> Service:
    """The service with these values in its service.yaml."""
    file = service.folder / "service.yaml"
    content = yaml.safe_load(file.read_text())
    content["applications"][0]["args"] |= dict(setting.split("=", 1) for setting in settings)
    content |= {"image_uri": image_uri} if image_uri else {}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return Service(service.folder)


def found_in(service: Service, fast: bool = True) -> list[Finding]:
    return run.check(service.files.root, [service.files], fast).findings


def ids(service: Service) -> list[str]:
    return sorted(finding.check for finding in found_in(service))


OVERRIDES = {
    "a router that sees no prompt, in an older image": (["routing=prefix"], OLD_IMAGE),
    "a router that there is not": (["routing=random"], None),
    "an unknown model": (["model=unknown"], None),
    "another model": (["model=phi-4-mini"], None),
    "a key file that is missing": (["api_keys=none.yaml"], None),
    "keys in a variable that is not passed on": (["api_keys=env:CLIENTS"], None),
    "the laptop's profile": (["profile=laptop"], None),
    "a collector without a port": (["traces=collector"], None),
    "autoscaling by something unknown": (["autoscaling=queue"], None),
    "autoscaling by the engine": (["autoscaling=engine"], None),
    "an argument that there is not": (["models=phi-4-mini"], None),
    "several": (["model=phi-2", "profile=laptop", "routing=prefix"], OLD_IMAGE),
}
RIGHT = {"another model", "autoscaling by the engine"}


@pytest.mark.parametrize("what", OVERRIDES)
def test_an_option_has_the_findings_of_the_same_value_in_the_file(what, small):
    settings, image_uri = OVERRIDES[what]
    found = ids(small.with_options(settings, image_uri))
    assert found == ids(write(small, settings, image_uri))
    assert bool(found) == (what not in RIGHT)


def test_a_finding_names_the_option_that_gives_the_value(small):
    chosen = small.with_options(["routing=prefix", "traces=http://collector"], OLD_IMAGE)
    found = {finding.check: finding.where for finding in found_in(chosen)}
    assert found == {
        "image-of-other-versions": f"--image-uri {OLD_IMAGE}",
        "router-refused": "--set routing=prefix",
        "traces-not-a-collector": "--set traces=http://collector",
    }


def test_slow_checks_and_their_cache_see_the_options(small, tmp_path, monkeypatch):
    monkeypatch.setattr(result_cache, "CACHE", tmp_path / "cache")
    chosen = small.with_options([], "anyscale/ray-llm:1.0.0-py312-cu130")
    for _ in ("asked", "cached"):
        found = {finding.check: finding.where for finding in found_in(chosen, fast=False)}
        assert found["unknown-image"] == "--image-uri anyscale/ray-llm:1.0.0-py312-cu130"
    assert result_cache.read(small.files) is None, "what was found with an option stands for the file without it"


def test_an_image_replaces_a_containerfile(small):
    write(small, [], None)
    file = small.folder / "service.yaml"
    file.write_text(file.read_text().replace("image_uri: ", f"containerfile: services/{SMALL}/Containerfile\n#"))
    config = Service(small.folder).with_options([], "registry/team/image:1").config
    assert config["image_uri"] == "registry/team/image:1"
    assert "containerfile" not in config


def test_the_builder_runs_with_the_environment_of_the_cluster(small):
    """The router of prefixes is refused or not by a variable that service.yaml sets, and not by this machine's."""
    file = small.folder / "service.yaml"
    file.write_text(
        file.read_text().replace("env_vars:\n", 'env_vars:\n  RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY: "1"\n')
    )
    assert Service(small.folder).with_options(["routing=prefix"], None).files.serve.build_error == ""
    assert Service(small.folder).files.serve.build_error == ""


@pytest.mark.parametrize("command", [deploy.deploy, rollout.rollout], ids=["deploy", "rollout"])
def test_findings_of_options_stop_a_command_before_anything_is_sent(command, commands, capsys):
    with pytest.raises(CommandError, match="--force image-of-other-versions --force router-refused") as raised:
        command("small-size-llm", settings=["routing=prefix"], image_uri=OLD_IMAGE, yes=True)
    assert "nothing was changed" in str(raised.value)
    assert "--set routing=prefix  error router-refused" in capsys.readouterr().err
    assert commands == []


def test_a_setting_that_is_none_stops_a_deploy(commands):
    with pytest.raises(CommandError, match="phi-2 is not a setting"):
        deploy.deploy("small-size-llm", settings=["phi-2"], yes=True)
    assert commands == []


def test_a_secret_that_is_not_in_the_environment_stops_a_deploy(commands, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CommandError, match="export HF_TOKEN="):
        deploy.deploy("small-size-llm", settings=["model=phi-4-mini"], yes=True)
    assert commands == []


def test_keys_in_the_environment_are_those_that_are_passed_on(small, commands, tmp_path, monkeypatch):
    """Where env_vars does not name the variable, the cluster has none, whatever this shell has."""
    keys.make(tmp_path / "keys.yaml", alice={})
    monkeypatch.delenv(service_key.VARIABLE, raising=False)
    monkeypatch.setenv("CLIENTS", (tmp_path / "keys.yaml").read_text())
    forced = ["api-keys-variable-not-declared"]
    with pytest.raises(CommandError, match="CLIENTS is not set"):
        deploy.deploy("small-size-llm", settings=["api_keys=env:CLIENTS"], force=forced, yes=True)
    file = small.folder / "service.yaml"
    file.write_text(file.read_text().replace("env_vars:\n", 'env_vars:\n  CLIENTS: ""\n'))
    with pytest.raises(CommandError, match="SERVICE_API_KEY is not set"):
        deploy.deploy("small-size-llm", settings=["api_keys=env:CLIENTS"], yes=True)
    assert commands == []


def test_what_is_handed_to_the_cli_is_what_was_checked(small, commands, monkeypatch):
    checked, file, check = [], small.folder / "service.yaml", before_deploy.run.check

    def check_and_save(root: Path, services: list[ServiceFiles]) -> CheckResult:
        checked.extend(services)
        result = check(root, services)
        file.write_text(file.read_text().replace("max_nodes: 4", "max_nodes: 400"))  # somebody saves it meanwhile
        return result

    monkeypatch.setattr(before_deploy.run, "check", check_and_save)
    with pytest.raises(mutations.NotDone):
        deploy.deploy("small-size-llm", name="my-llm", settings=["model=phi-4-mini", "autoscaling=engine"], yes=True)
    (words,), (files,), (log,) = commands, checked, journal.of("my-llm")
    handed = yaml.safe_load(Path(words[words.index("-f") + 1]).read_text())
    assert handed == files.yaml.data | {"name": "my-llm", "version_name": log.plan.version}
    assert handed["applications"][0]["args"] == {"model": "phi-4-mini", "profile": "gpu", "autoscaling": "engine"}
    assert handed["compute_config"]["worker_nodes"][0]["max_nodes"] == 4
    assert words[words.index("--env") + 1] == "HF_TOKEN=the-token"


def test_plan_is_of_what_a_deploy_with_the_same_options_would_be(commands, capsys):
    with pytest.raises(SystemExit) as ended:
        plan.plan("small-size-llm", settings=["model=phi-4-mini"], image_uri=None, as_json=True)
    assert ended.value.code == 0
    assert [model["model"] for model in json.loads(capsys.readouterr().out)["models"]] == ["phi-4-mini"]


def test_a_rollback_says_that_it_goes_back_to_the_version_that_it_deploys_again(small, secrets):
    config = small.config | {"applications": [small.application | {"runtime_env": {}}]}
    broken = service_state.Version("2", "20261123-101500-bad", "RUNNING", 100, config)
    running = service_state.ServiceState(
        id="s", name="my-llm", state="RUNNING", url="", token="", primary=broken, canary=None, cloud=None
    )
    kept = version_spec.previous_of(broken, TARGET, small.env_vars)
    old = version_spec.of_previous(kept.model_copy(update={"version": "20261122-235912-good"}), TARGET)
    planned = deploy_plan.make("rollback", small, old, running, 60, [100])
    shown = deploy_plan.text(planned, small, old, running)
    (goes_back,) = [line.split()[-1] for line in shown.splitlines() if "goes back to" in line]
    assert goes_back == "20261122-235912-good"


OWN_ARGS = """
from ray.serve.config import AutoscalingConfig


class OwnArgs(AppArgs):
    target: str = "2"

    def model_post_init(self, _) -> None:
        AutoscalingConfig(target_ongoing_requests=self.target)


"""


def test_arguments_are_told_by_the_installed_ray_too(small):
    """A builder whose argument only the installed Ray refuses: without Ray, its classes take anything."""
    serve = small.folder / "serve.py"
    text = serve.read_text().replace("args: AppArgs", "args: OwnArgs")
    serve.write_text(text.replace("\nMODELS =", f"{OWN_ARGS}\nMODELS =", 1))
    assert list(service_yaml_import.findings(small.with_options(["target=4"], None).files)) == []
    chosen = small.with_options(["target=many"], None).files
    assert list(service_yaml_import.quick_findings(chosen)) == []
    (finding,) = service_yaml_import.findings(chosen)
    assert (finding.check, finding.where) == ("args-do-not-fit", "--set target=many")
