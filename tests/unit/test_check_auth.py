"""Mistakes around who may use a service, planted one at a time in a copy of the repository."""

import json

import pytest

from ops.check import run
from ops.check.rules import auth, upload
from ops.project.service_files import ServiceFiles
from tests import keys
from tests.planted import Fault, change, findings, places, plant

YAML, SERVE, SMALL = "services/small_size_llm/service.yaml", "services/small_size_llm/serve.py", "small_size_llm"
PROFILE = "      profile: gpu\n"
LLAMA_TOOLS = 'tool_call_parser="llama3_json", max_model_len=8192'
DIRECT = '  RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING: "1"  # from HAProxy straight to the replica\n'
PLAIN = "sk-" + "Zt4Kq9Lw2Xc7Vb1Nm8Rp5Ys3Jd6Hf0Ga_Qe-UiOoPl1"  # in two parts, so that no search for secrets stops here

FAULTS = [
    Fault(
        "a key of vLLM's",
        SERVE,
        LLAMA_TOOLS,
        f'{LLAMA_TOOLS}, api_key=["from somewhere"]',
        "vllm-api-key-guards-some-routes",
        'api_key=["from',
    ),
    Fault(
        "a key of vLLM's in the environment",
        YAML,
        '  HF_TOKEN: ""',
        '  VLLM_API_KEY: ""\n  HF_TOKEN: ""',
        "vllm-api-key-guards-some-routes",
        "VLLM_API_KEY",
    ),
    Fault(
        "open to everyone",
        YAML,
        "working_dir: .",
        "query_auth_token_enabled: false\nworking_dir: .",
        "open-to-everyone",
        "query_auth_token_enabled",
    ),
    Fault("no file", YAML, PROFILE, f"{PROFILE}      api_keys: keys.yaml\n", "api-keys-refused", "api_keys:"),
    Fault(
        "undeclared variable",
        YAML,
        PROFILE,
        f"{PROFILE}      api_keys: env:CLIENTS\n",
        "api-keys-variable-not-declared",
        "api_keys:",
    ),
    Fault(
        "middleware without direct streaming",
        SERVE,
        LLAMA_TOOLS,
        f'{LLAMA_TOOLS}, middleware=["x.Y"]',
        "ignored-setting",
        "middleware=",
        also=((YAML, DIRECT, ""),),
    ),
    Fault("plain key", YAML, PROFILE, f"{PROFILE}      # for alice: {PLAIN}\n", "secret-in-file", "# for alice"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_planted_fault_is_found_and_nothing_else(fault, copied):
    expected = plant(copied, fault)
    found = [finding for finding in findings(copied) if finding.check != "one-ingress-replica"]
    assert places(found) == [expected]
    assert PLAIN not in "".join(finding.model_dump_json() for finding in found)


def with_keys(copied, source: str = "keys.yaml") -> ServiceFiles:
    change(copied, YAML, PROFILE, f"{PROFILE}      api_keys: {source}\n")
    return ServiceFiles(copied, copied / "services" / SMALL)


def test_a_right_key_file_is_no_finding(copied):
    keys.make(copied / "keys.yaml", alice={})
    files = with_keys(copied)
    assert findings(copied) == []
    assert list(upload.findings(files)) == []


@pytest.mark.parametrize("text", ["keys: []", "keys: [{name: alice, sha256: " + PLAIN + "}]", "keys: [", "\0"])
def test_a_wrong_key_file_is_one_finding_without_its_content(copied, text):
    (copied / "keys.yaml").write_text(text)
    (finding,) = auth.findings(with_keys(copied))
    assert (finding.check, finding.file) == ("api-keys-refused", YAML)
    assert PLAIN not in finding.model_dump_json()


@pytest.mark.parametrize("ignored_by", ["excludes", ".gitignore"])
def test_a_key_file_that_is_not_uploaded(copied, ignored_by):
    keys.make(copied / "keys.yaml", alice={})
    files = with_keys(copied)
    if ignored_by == "excludes":
        change(copied, YAML, "  - .env\n", "  - .env\n  - keys.yaml\n")
    else:
        (copied / ".gitignore").write_text("*.yaml\n")
    assert "keys-not-uploaded" in [finding.check for finding in upload.findings(files)]


def test_keys_in_a_declared_variable(copied, monkeypatch):
    change(copied, YAML, '  HF_TOKEN: ""', '  CLIENTS: ""\n  HF_TOKEN: ""')
    files = with_keys(copied, "env:CLIENTS")
    assert list(auth.findings(files)) == [], "it is a secret: a deploy asks for it"
    monkeypatch.setenv("CLIENTS", json.dumps({"keys": [keys.entry("alice", PLAIN)]}))
    assert list(auth.findings(files)) == []
    monkeypatch.setenv("CLIENTS", PLAIN)
    (finding,) = auth.findings(files)
    assert finding.check == "api-keys-refused"
    assert PLAIN not in finding.model_dump_json()


def test_a_key_file_on_a_disk_of_the_nodes_is_not_known_here(copied):
    files = with_keys(copied, "/mnt/shared_storage/keys.yaml")
    assert list(auth.findings(files)) == []
    assert any("/mnt/shared_storage/keys.yaml" in unknown.what for unknown in run.unknown([files]))


@pytest.mark.parametrize("source", ["", "[1, 2]", "{a: b}", "3", "''", "env:", "."])
def test_strange_values_raise_nothing(copied, source):
    list(auth.findings(with_keys(copied, source)))


def test_keys_are_enough_where_anyscale_asks_for_no_token(copied):
    change(copied, YAML, "working_dir: .", "query_auth_token_enabled: false\nworking_dir: .")
    keys.make(copied / "keys.yaml", alice={})
    assert list(auth.findings(with_keys(copied))) == []
