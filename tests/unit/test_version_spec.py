"""What is handed to Anyscale, and what is kept to hand it over again."""

import json
import os
from pathlib import Path

import pytest

from ops.cloud import anyscale_cli, upload, version_spec
from ops.cloud.service_state import Target, Version
from ops.console.cli import CommandError

TARGET = Target("my-llm", cloud="staging")


@pytest.fixture
def secrets(service, monkeypatch) -> dict[str, str]:
    """The service's secrets, set in the environment."""
    values = {name: f"the-value-of-{name}" for name, value in service.env_vars.items() if not value}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def test_a_release_is_written_without_its_secrets(service, secrets, tmp_path):
    new = version_spec.of_service(service, TARGET)
    text = new.write(tmp_path).read_text()
    assert new.secrets == secrets
    assert "name: my-llm" in text
    assert "cloud: staging" in text
    assert not [value for value in secrets.values() if value in text]


def test_an_image_replaces_the_containerfile(service, secrets):
    config = version_spec.of_service(service.with_options([], "registry/team/image:1"), TARGET).config
    assert config["image_uri"] == "registry/team/image:1"
    assert "containerfile" not in config


def test_an_image_that_is_none_is_refused(service, secrets):
    with pytest.raises(CommandError, match=r"does not take this service\.yaml"):
        version_spec.of_service(service.with_options([], "not an image"), TARGET)


def test_a_version_is_kept_without_values_that_are_not_in_the_repository(service):
    public = service.env_vars
    env_vars = dict(public) | {"HF_TOKEN": "hf_secret", "SET_BY_HAND": "who-knows"}
    application = service.application | {"runtime_env": {"working_dir": "s3://bucket/pkg.zip", "env_vars": env_vars}}
    version = Version("1", "v1", "RUNNING", 100, service.config | {"applications": [application]})
    kept = version_spec.previous_of(version, TARGET, public)
    assert {"HF_TOKEN", "SET_BY_HAND"} <= set(kept.secrets)
    assert "hf_secret" not in kept.model_dump_json()
    assert "who-knows" not in kept.model_dump_json()
    assert kept.config["env_vars"]["VLLM_ENGINE_READY_TIMEOUT_S"] == public["VLLM_ENGINE_READY_TIMEOUT_S"]
    assert "pkg.zip" in json.dumps(kept.config)


def test_a_version_that_is_deployed_again_keeps_its_name_in_the_new_one(service, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    kept = version_spec.previous_of(Version("1", "v1", "RUNNING", 100, service.config), TARGET, service.env_vars)
    once = version_spec.of_previous(kept, TARGET)
    twice = version_spec.of_previous(kept.model_copy(update={"version": once.version}), TARGET)
    assert once.version.endswith("-as-v1")
    assert twice.version.endswith("-as-v1")
    assert twice.version.count("-as-") == 1


def test_the_upload_has_the_code_and_no_journals(service, copied, monkeypatch):
    monkeypatch.setattr(upload, "ROOT", copied)
    before = upload.upload(service.config)
    (copied / "rollouts" / "x").mkdir(parents=True)
    (copied / "rollouts" / "x" / "service.yaml").write_text("name: x")
    assert upload.upload(service.config) == before
    assert 50 < before.files < 1000
    assert before.size_bytes < 20e6, "something large would be uploaded"


@pytest.mark.parametrize(
    ("text", "gone", "kept"),
    [
        ('curl -H "Authorization: Bearer abc.def" http://x/', "abc.def", "http://x/"),
        ("query_auth_token: abc.def\nstate: RUNNING", "abc.def", "state: RUNNING"),
        ("HF_TOKEN=hf_secret is set", "hf_secret", "is set"),
    ],
)
def test_what_the_cli_prints_is_shown_without_secrets(text, gone, kept):
    shown = anyscale_cli.redacted(text, ["hf_secret", ""])
    assert gone not in shown
    assert kept in shown


def test_version_names_say_which_commit(root: Path):
    if not (root / ".git").exists() or "GIT_DIR" in os.environ:
        pytest.skip("this is no clone")
    assert version_spec.version_name().endswith(version_spec.commit())
    assert version_spec.commit()
