"""What the dashboard and the alerts ask Prometheus: expressions over what Ray Serve 2.59 and vLLM 0.27 measure.

vLLM's metrics name a replica by its id and nothing else of Serve's. Serve's controller knows the application of each:
with its help engine metrics are asked for by application, so that two services with one model stay apart.
"""

from dataclasses import dataclass

TTFT = "time_to_first_token_seconds"
"""The time from the arrival at the engine, not at HAProxy, to the first token: queueing and prefill."""
INTER_TOKEN = "inter_token_latency_seconds"
"""The time between two tokens of an answer; one sample a token."""
TPOT = "request_time_per_output_token_seconds"
"""The mean time per token after the first; one sample an answer."""

SERVER_ERROR = 'status_code=~"5..|408"'
"""Answers that failed for a reason of ours; 499 is a client that hung up, 429 one that was told to wait."""


@dataclass(frozen=True)
class Scope:
    """Whose metrics, and over which time.

    The first three are label matchers, such as `application="small-size-llm"` or `model_name=~"$model"`; none is all.
    """

    application: str
    deployment: str = ""
    model: str = ""
    window: str = "5m"

    @property
    def replicas(self) -> str:
        """One series for each replica of the application, with its id as vLLM's metrics have it."""
        return f'label_replace({self.deployed("deployment_replica_healthy")}, "ReplicaId", "$1", "replica", "(.+)")'

    def serve(self, name: str, *matchers: str) -> str:
        """A metric of Serve that has an `application`."""
        return f"ray_serve_{name}{{{', '.join(filter(None, [self.application, *matchers]))}}}"

    def deployed(self, name: str) -> str:
        """A metric of Serve that has an `application` and a `deployment`."""
        return self.serve(name, self.deployment)

    def engine(self, name: str) -> str:
        """A gauge of vLLM."""
        return self.of_replicas(self.vllm(name))

    def engine_rate(self, name: str) -> str:
        return self.of_replicas(f"rate({self.vllm(name)}[{self.window}])")

    def engine_increase(self, name: str) -> str:
        return self.of_replicas(self.increase(self.vllm(name)))

    def vllm(self, name: str) -> str:
        """A metric of vLLM, of every application."""
        return f"ray_vllm_{name}{{{self.model}}}" if self.model else f"ray_vllm_{name}"

    def of_replicas(self, expression: str) -> str:
        return f"({expression} and on (ReplicaId) {self.replicas})"

    def increase(self, counter: str) -> str:
        """How much a counter rose, from nothing too.

        Ray makes the series of a counter when it is first raised, and PromQL's `increase` does not see that: of an
        error that happens once, nothing.
        """
        return f"clamp_min(({counter} - {counter} offset {self.window}) or {counter}, 0)"

    def serve_rate(self, name: str, *matchers: str) -> str:
        return f"rate({self.serve(name, *matchers)}[{self.window}])"

    def quantile(self, share: float, histogram: str, by: str = "model_name") -> str:
        """A percentile of a histogram of vLLM, by model; NaN where nothing was observed."""
        return f"histogram_quantile({share}, sum by ({by}, le) ({self.engine_rate(f'{histogram}_bucket')}))"

    def observed(self, histogram: str) -> str:
        """How many samples a histogram of vLLM got, by model."""
        return f"sum by (model_name) ({self.engine_increase(f'{histogram}_count')})"

    @property
    def error_share(self) -> str:
        """The share of the application's requests that failed; no series where there were no requests."""
        failed, all_of_them = (
            f"sum({self.increase(self.serve('num_http_requests_total', *matchers))})"
            for matchers in ((SERVER_ERROR,), ())
        )
        return f"({failed} or vector(0)) / ({all_of_them} > 0)"

    @property
    def prefix_cache_hits(self) -> str:
        hits, queries = (self.engine_rate(f"prefix_cache_{name}_total") for name in ("hits", "queries"))
        return (
            f"(sum by (model_name) ({hits}) or 0 * sum by (model_name) ({queries})) / sum by (model_name) ({queries})"
        )
