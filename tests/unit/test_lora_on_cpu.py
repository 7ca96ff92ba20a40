"""The correction of vLLM's CPU kernels for adapters; when the first test fails, vLLM has its own and ours can go."""

import subprocess
import sys

import pytest

KERNEL = """
import torch
{before}
from vllm.lora.punica_wrapper.punica_cpu import bgmv_expand
weights = torch.ones(2, 1, 4, 3)  # of two adapters: outputs of 4, of rank 3
output = torch.zeros(3, 4)
bgmv_expand(torch.ones(3, 3), weights, output, torch.tensor([0, -1, 1]))
print(output[:, 0].tolist())
"""


@pytest.mark.parametrize(
    ("before", "printed"), [("", "[3.0, 3.0, 3.0]"), ("import laptop.lora_on_cpu", "[3.0, 0.0, 3.0]")]
)
def test_what_a_request_without_an_adapter_gets(root, before, printed):
    code = KERNEL.format(before=before)
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == printed
