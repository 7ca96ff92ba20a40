"""scripts/bench: what it asks, what it makes of the figures, and what it refuses."""

import json
from pathlib import Path

import pytest

from ops.bench import figures, html_report, vllm_bench, workloads
from ops.bench.comparison import check_against
from ops.bench.figures import METRICS, BenchResult, Cell, LatencyMs
from ops.bench.stacks import BareVllm, flags
from ops.commands.bench import numbers
from ops.console.cli import CommandError

SERVICE, VLLM = "small-size-llm", "vllm serve"
THROUGHPUT, NUMBER = METRICS[0], "--num-prompts="


def cell(stack: str, round: int, concurrency: int, tokens: float, **more) -> Cell:
    times = LatencyMs(p50=10, p95=20, p99=30)
    measured = dict(requests=32, failed=0, first_error="", seconds=5, output_tokens_per_s=tokens)
    times = dict(ttft_ms=times, tpot_ms=times, itl_ms=times)
    return Cell(round=round, stack=stack, concurrency=concurrency, **measured | times | more)


def result(*cells: Cell, stacks: tuple[str, ...] = (SERVICE, VLLM)) -> BenchResult:
    machine = dict(date="2026-11-23", processor="a CPU", cores=2, memory_gb=24, gpus=[], versions={"ray": "2.59.0"})
    said = dict(service=SERVICE, model="llama-3.1-8b", workload="chat", profile="laptop", replicas=1, machine=machine)
    return BenchResult(**said, stacks=dict.fromkeys(stacks, "its command"), load="vllm bench serve", cells=list(cells))


@pytest.fixture
def three_rounds() -> BenchResult:
    """A machine that is half as fast in the second round: both stacks are, and their ratio is what it was."""
    rates = {SERVICE: (98, 50, 96), VLLM: (100, 50, 100)}
    return result(*[cell(stack, number, 16, rate) for stack in rates for number, rate in enumerate(rates[stack], 1)])


def test_ratios_are_of_the_same_round(three_rounds):
    found = figures.ratio(three_rounds, 16, THROUGHPUT)
    assert (found.median, found.least, found.most) == (0.98, 0.96, 1.0)


def test_table_has_medians_and_ratios(three_rounds):
    assert figures.columns(three_rounds) == ["concurrency", "", SERVICE, VLLM, "ratio (least-most)"]
    rows = figures.rows(three_rounds)
    assert rows[0] == ["16", "output tokens/s", "96", "100", "0.98 (0.96-1.00)"]
    assert rows[1] == ["16", "TTFT p50 ms", "10.0", "10.0", "1.00 (1.00-1.00)"]


def test_service_alone_has_no_ratio():
    alone = result(cell(SERVICE, 1, 1, 90), stacks=(SERVICE,))
    assert figures.columns(alone) == ["concurrency", "", SERVICE]
    assert figures.rows(alone)[0] == ["1", "output tokens/s", "90"]


def test_what_measured_nothing_has_no_ratio():
    nothing = result(cell(SERVICE, 1, 1, 90), cell(VLLM, 1, 1, 0))
    assert figures.rows(nothing)[0][-1] == "-"


def test_page_has_the_table_the_plots_and_what_failed(three_rounds):
    broken = cell(VLLM, 3, 1, 9, failed=3, first_error="<b>Service Unavailable</b>")
    html = html_report.html(
        three_rounds.model_copy(update={"cells": [*three_rounds.cells, cell(SERVICE, 3, 1, 9), broken]})
    )
    assert "0.98 (0.96-1.00)" in html
    assert html.count("<svg") == 3
    assert "3 of 32 requests of vllm serve failed at 1 in round 3: &lt;b&gt;Service Unavailable" in html
    assert "http" not in html.replace("http-equiv", ""), "it needs nothing else to be read"


def words(name: str, concurrency: int, tmp_path, seed: int = 1) -> list[str]:
    return workloads.words(name, "gpu", concurrency, seed, tmp_path)


def test_sizes_on_a_gpu(tmp_path):
    assert words("chat", 256, tmp_path)[1:] == ["--random-input-len=512", "--random-output-len=128", NUMBER + "1024"]
    assert words("long", 1, tmp_path)[1:] == ["--random-input-len=2000", "--random-output-len=200", NUMBER + "32"]


def test_burst_is_one_wave_of_requests(tmp_path):
    assert words("burst", 256, tmp_path)[-1] == NUMBER + "256"


def prompts(options: list[str]) -> list[str]:
    (file,) = [word.partition("=")[2] for word in options if word.startswith("--dataset-path=")]
    return [json.loads(line)["prompt"] for line in Path(file).read_text().splitlines()]


def test_conversations_repeat_what_was_said_and_none_is_like_another(tmp_path):
    asked = prompts(words("multi-turn", 4, tmp_path))
    together = len(asked) // workloads.WORKLOADS["multi-turn"].turns
    assert len(set(asked[:together])) == together == 4
    assert all(later.startswith(earlier) for earlier, later in zip(asked, asked[together:], strict=False))
    assert prompts(words("multi-turn", 4, tmp_path, seed=2))[0] != asked[0]


def test_file_of_requests_is_sent_as_it_is(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "Hi", "output_tokens": 3}\n{"prompt": "Ho", "output_tokens": 4}\n\n')
    assert {NUMBER + "2", "--disable-shuffle"} <= set(words(str(file), 8, tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no workload .*own.jsonl. There are: chat, long, burst, multi-turn; or the path"),
        ("", "has no requests"),
        ("Hi\n", "Line 1 of .* is not JSON"),
        ('{"prompt": "Hi", "output_tokens": 3}\n{"prompt": "Ho"}\n', "Line 2 .* wants .* number of tokens"),
        ('{"prompt": "Hi", "output_tokens": 0}\n', "Line 1 .* wants"),
        ("[1]\n", "Line 1 .* wants"),
    ],
)
def test_file_that_is_none_is_refused_before_anything_starts(tmp_path, content, said):
    file = tmp_path / "own.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match=said):
        workloads.check(str(file))


def test_concurrencies_are_numbers():
    assert numbers("256,1,32,1") == [1, 32, 256]
    for wrong in ("", "0,1", "many", "1;2"):
        with pytest.raises(CommandError, match="Write it like 1,32,256"):
            numbers(wrong)


def test_what_cannot_be_compared_with_is_refused():
    with pytest.raises(CommandError, match="neither vllm nor a URL"):
        check_against("sglang", 1)


def test_engine_arguments_become_options_of_vllm_serve():
    given = dict(
        max_model_len=8192, enable_prefix_caching=False, enforce_eager=True, tool_call_parser="hermes", seed=None
    )
    given |= dict(limit_mm_per_prompt={"image": 4}, allowed_media_domains=["a.org", "b.org"])
    assert flags(given) == [
        "--max-model-len=8192",
        "--no-enable-prefix-caching",
        "--enforce-eager",
        "--tool-call-parser=hermes",
        '--limit-mm-per-prompt={"image": 4}',
        "--allowed-media-domains",
        "a.org",
        "b.org",
    ]


def test_vllm_parses_the_options_of_every_service(category, laptop_packages):
    from vllm.entrypoints.openai.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    for config in category.MODELS.values():
        bare = BareVllm(config.model_id, "its/weights", config.engine_kwargs, {}, 1, None)
        parsed = vars(parser.parse_args(bare.options))
        for name in config.engine_kwargs:
            assert name in parsed


def sent(started: float, ttfts: list[float], gap: float, tokens: int, errors: list[str]) -> dict:
    """What `vllm bench serve` saves of requests that began at the same moment, each with the same gaps."""
    each = len(ttfts)
    gaps = [[gap] * (tokens - 1)] * each
    return dict(start_times=[started] * each, ttfts=ttfts, itls=gaps, output_lens=[tokens] * each, errors=errors)


def test_figures_of_one_load():
    cell = vllm_bench.cell([sent(100, [0.1, 0.3], gap=0.01, tokens=11, errors=["", ""])], 1, SERVICE, 2)
    assert (cell.requests, cell.failed, cell.seconds) == (2, 0, 0.4)
    assert cell.output_tokens_per_s == pytest.approx(22 / 0.4)
    assert (cell.ttft_ms.p50, cell.tpot_ms.p50, cell.itl_ms.p99) == (200, 10, 10)


def test_figures_of_several_loads_are_of_all_their_requests_and_tokens_of_the_time_in_which_all_sent():
    first = sent(100, [0.25], gap=0.125, tokens=9, errors=[""])  # events from 100.25 to 101.25
    second = sent(100.5, [0.25, 0], gap=0.25, tokens=5, errors=["", "Traceback\nBad Gateway\n"])  # 100.75 to 101.75
    cell = vllm_bench.cell([first, second], 1, SERVICE, 4)
    assert (cell.requests, cell.failed, cell.first_error) == (3, 1, "Bad Gateway")
    assert cell.seconds == 0.75
    assert cell.output_tokens_per_s == pytest.approx((7 + 3) / 0.75, rel=1e-3)
    assert cell.ttft_ms.p50 == 250


def test_figures_of_a_load_of_which_all_failed():
    cell = vllm_bench.cell([sent(1.0, [0.0], gap=0, tokens=1, errors=["refused"])], 1, SERVICE, 1)
    assert (cell.failed, cell.output_tokens_per_s, cell.ttft_ms.p50) == (1, 0, 0)


@pytest.mark.parametrize(("concurrency", "processes", "shares"), [(1, 4, [1]), (256, 2, [128, 128]), (5, 2, [3, 2])])
def test_several_loads_share_the_requests_at_a_time(concurrency, processes, shares):
    assert vllm_bench.shares(concurrency, processes) == shares
