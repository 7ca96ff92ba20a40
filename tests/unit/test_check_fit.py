"""Faults planted in copies of services, one at a time."""

import shutil
from pathlib import Path

import pytest

from ops.check.rules import fit
from ops.project.service_files import ServiceFiles


def files_of(root: Path, service: str) -> ServiceFiles:
    return ServiceFiles(root, root / "services" / service)


def plant(root: Path, service: str, file: str, old: str, new: str) -> int:
    """Writes a fault in place of the first `old`; the number of its line."""
    path = root / "services" / service / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


def found(root: Path, service: str) -> list[tuple[str, str, int]]:
    """Check, file and line of each finding, once for all models that share the line."""
    findings = fit.quick_findings(files_of(root, service))
    return sorted({(finding.check, finding.file, finding.line) for finding in findings})


def test_the_untouched_services_have_no_findings(service, project):
    assert list(fit.quick_findings(ServiceFiles(project, service.folder))) == []


def test_each_model_fits_or_is_said_to_be_unknown(service, project):
    files = ServiceFiles(project, service.folder)
    unknown = list(fit.not_checked(files))
    assert len(list(fit.fits(files))) + len(unknown) == len(files.models)
    assert all("not in models.yaml" in sentence for sentence in unknown)


HEADS, CONTEXT = "tensor-parallel-does-not-divide-heads", "context-longer-than-model"
LLAMA_8B = 'tool_call_parser="llama3_json", max_model_len=8192'


@pytest.mark.parametrize(
    ("folder", "old", "new", "check"),
    [
        ("small_size_llm", LLAMA_8B, LLAMA_8B.replace("8192", "131072"), "does-not-fit"),
        ("small_size_llm", LLAMA_8B, f"{LLAMA_8B}, gpu_memory_utilization=0.98", "does-not-fit"),
        ("small_size_llm", LLAMA_8B, f"{LLAMA_8B}, kv_cache_memory_bytes=2**29", "does-not-fit"),
        ("small_size_llm", LLAMA_8B, f"{LLAMA_8B}, kv_cache_memory_bytes=2**33", "does-not-fit"),
        ("gpt_oss", 'accelerator_type="L4"', 'accelerator_type="T4"', "does-not-fit"),
        (
            "small_size_llm",
            "max_model_len=8192),\n        **COMMON",
            "max_model_len=40960),\n        **COMMON",
            CONTEXT,
        ),
        ("small_size_llm", "target_ongoing_requests=16", "target_ongoing_requests=40", "kv-cache-too-small"),
        ("medium_size_llm", "tensor_parallel_size=8", "tensor_parallel_size=2", "does-not-fit"),
        ("medium_size_llm", "tensor_parallel_size=4", "tensor_parallel_size=3", HEADS),
        ("medium_size_llm", "max_model_len=32768", "max_model_len=36864", CONTEXT),
        ("large_size_llm", "pipeline_parallel_size=2", "pipeline_parallel_size=1", "does-not-fit"),
        ("large_size_llm", "max_model_len=65536", "max_model_len=262144", CONTEXT),
        ("hybrid_reasoning_llm", "tensor_parallel_size=4", "tensor_parallel_size=1", "does-not-fit"),
        ("hybrid_reasoning_llm", "target_ongoing_requests=16", "target_ongoing_requests=300", "kv-cache-too-small"),
        ("reasoning_llm", "tensor_parallel_size=4", "tensor_parallel_size=16", HEADS),
        ("reasoning_llm", "max_model_len=262144", "max_model_len=524288", "does-not-fit"),
        ("vision_llm", "max_model_len=32768", "tensor_parallel_size=8, max_model_len=32768", HEADS),
        ("gpt_oss", 'accelerator_type="H100"', 'accelerator_type="L40S"', "does-not-fit"),
        ("gpt_oss", "target_ongoing_requests=16", "target_ongoing_requests=600", "kv-cache-too-small"),
    ],
)
def test_a_planted_fault_is_found(copied, folder, old, new, check):
    line = plant(copied, folder, "serve.py", old, new)
    assert found(copied, folder) == [(check, f"services/{folder}/serve.py", line)]


def test_it_says_which_context_and_how_many_requests_would_fit(copied):
    plant(copied, "small_size_llm", "serve.py", LLAMA_8B, LLAMA_8B.replace("8192", "131072"))
    plant(copied, "small_size_llm", "serve.py", "target_ongoing_requests=16", "target_ongoing_requests=40")
    files = files_of(copied, "small_size_llm")
    of = {model: one for one in fit.quick_findings(files) for model in files.models if model in one.what}
    estimates = {one.model.id: one.estimate for one in fit.fits(files)}
    assert f"max_model_len to {estimates['llama-3.1-8b'].largest_context} " in of["llama-3.1-8b"].fix
    assert (
        f"target_ongoing_requests to {int(estimates['phi-2'].concurrency_at(fit.TYPICAL_TOKENS))} " in of["phi-2"].fix
    )


def test_facts_that_cannot_be_read_are_found(copied):
    plant(copied, "gpt_oss", "models.yaml", "layers: 24", "layers: many")
    [finding] = fit.quick_findings(files_of(copied, "gpt_oss"))
    assert (finding.check, finding.file) == ("unreadable-model-facts", "services/gpt_oss/models.yaml")
    assert "openai/gpt-oss-20b.layers" in finding.what
    assert len(list(fit.not_checked(files_of(copied, "gpt_oss")))) == 2


def test_facts_that_differ_from_config_json_at_hand_are_found(copied, root, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    snapshot = tmp_path / "hf" / "hub" / "models--openai--gpt-oss-20b" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    config = root / "tests" / "fixtures" / "model_configs" / "openai__gpt-oss-20b.json"
    shutil.copy(config, snapshot / "config.json")
    line = plant(copied, "gpt_oss", "models.yaml", "  vocabulary: 201088", "  vocabulary: 32000")
    [finding] = fit.quick_findings(files_of(copied, "gpt_oss"))
    first = (copied / "services/gpt_oss/models.yaml").read_text().splitlines().index("openai/gpt-oss-20b:") + 1
    assert first < line
    assert (finding.check, finding.file, finding.line) == ("model-facts-differ", "services/gpt_oss/models.yaml", first)
    assert "vocabulary is 32000 here and 201088 in config.json" in finding.what


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('accelerator_type="L4"', 'accelerator_type="MI300X"', "MI300X is not in ops/sizing/hardware.yaml"),
        ('model_source="openai/gpt-oss-20b"', 'model_source="an/other-model"', "an/other-model is not in models.yaml"),
        ("max_model_len=32768", "max_model_len=32768, enable_lora=True", "LoRA adapters take"),
        ("max_model_len=32768", 'max_model_len="32k"', "max_model_len is '32k'"),
    ],
)
def test_what_is_not_known_is_said(copied, old, new, reason):
    plant(copied, "gpt_oss", "serve.py", old, new)
    files = files_of(copied, "gpt_oss")
    [sentence] = fit.not_checked(files)
    assert "gpt-oss-20b" in sentence
    assert reason in sentence
    assert list(fit.quick_findings(files)) == []
