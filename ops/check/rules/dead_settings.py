"""Settings that Ray 2.59 and vLLM 0.27 take without a word and ignore, and names that they refuse.

Each was looked for in the installed sources; the tests do it again for those that can be found by machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.registry import Rule
from ops.check.rules.environment_variables import variables
from ops.project.coercion import mapping, sequence
from ops.project.place import Place
from ops.project.service_files import ServiceFiles

Where = Literal["env_vars", "experimental_configs", "model_loading_config", "engine_kwargs", "request"]


@dataclass(frozen=True)
class Setting:
    where: Where
    name: str
    because: str
    """Why it has no effect."""
    instead: str
    """What to do."""
    only: Literal["always", "with direct streaming", "without direct streaming"] = "always"
    rule: Rule = registry.SETTING_WITHOUT_EFFECT


def unused_constant(name: str, instead: str) -> Setting:
    return Setting(
        "env_vars",
        name,
        "Ray reads it into a constant of ray/llm/_internal/serve/constants.py that nothing uses",
        instead,
    )


def of_vllms_own_server(name: str) -> Setting:
    return Setting(
        "engine_kwargs",
        name,
        "it belongs to the process that `vllm serve` starts; under Ray, Serve's proxies and replicas listen",
        "Remove it. Serve's own `http_options` and environment variables are for this.",
    )


def of_vllms_app(
    name: str,
    instead: str = "Turn direct streaming on, or remove it.",
    rule: Rule = registry.SETTING_WITHOUT_EFFECT,
) -> Setting:
    return Setting(
        "engine_kwargs",
        name,
        "vLLM's own app reads it, and without direct streaming Ray's OpenAiIngress answers in its place",
        instead,
        only="without direct streaming",
        rule=rule,
    )


def guided(name: str, instead: str) -> Setting:
    because = "vLLM has no such field any more and ignores it; the answer is free text"
    return Setting("request", name, because, instead, rule=registry.UNKNOWN_REQUEST_FIELD)


INGRESS_REPLICAS = (
    "Set `num_replicas` or `autoscaling_config` in `ingress_deployment_config`, or use direct streaming, which has no "
    "ingress replicas."
)

SETTINGS = [
    unused_constant("RAY_SERVE_LLM_ROUTER_MIN_REPLICAS", INGRESS_REPLICAS),
    unused_constant("RAY_SERVE_LLM_ROUTER_INITIAL_REPLICAS", INGRESS_REPLICAS),
    unused_constant("RAY_SERVE_LLM_ROUTER_MAX_REPLICAS", INGRESS_REPLICAS),
    unused_constant("RAY_SERVE_LLM_ROUTER_TARGET_ONGOING_REQUESTS", INGRESS_REPLICAS),
    unused_constant("RAY_SERVE_LLM_ROUTER_TO_MODEL_REPLICA_RATIO", INGRESS_REPLICAS),
    unused_constant("RAY_SERVE_LLM_DEFAULT_MAX_REPLICAS", "Set `max_replicas` in the model's `autoscaling_config`."),
    unused_constant(
        "RAYLLM_GUIDED_DECODING_BACKEND",
        "Set `structured_outputs_config=dict(backend=...)` in the model's `engine_kwargs`.",
    ),
    unused_constant("RAYLLM_ENABLE_REQUEST_PROMPT_LOGS", "Set `enable_log_requests` in the model's `engine_kwargs`."),
    unused_constant("RAYLLM_MAX_NUM_STOPPING_SEQUENCES", "Remove it: nothing limits the stop sequences of a request."),
    unused_constant("RAYLLM_HOME_DIR", "Set HF_HOME: that is where models are downloaded to."),
    Setting(
        "env_vars",
        "RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT",
        "Ray's OpenAiIngress reads it, and with direct streaming there is none",
        "Remove it, and set RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S if a request is to time out.",
        only="with direct streaming",
    ),
    Setting(
        "env_vars",
        "VLLM_API_KEY",
        "vLLM's own app reads it, and without direct streaming Ray's OpenAiIngress answers in its place, to anybody",
        "Turn direct streaming on, or rely on the bearer token of the Anyscale service.",
        only="without direct streaming",
        rule=registry.PROTECTION_WITHOUT_EFFECT,
    ),
    Setting(
        "env_vars",
        "VLLM_SERVER_DEV_MODE",
        "it adds routes to vLLM's own app, and without direct streaming Ray's OpenAiIngress answers in its place",
        "Turn direct streaming on, or remove it.",
        only="without direct streaming",
    ),
    Setting("env_vars", "VLLM_USE_V1", "vLLM has one engine only, and no longer reads it", "Remove it."),
    Setting(
        "env_vars",
        "VLLM_ATTENTION_BACKEND",
        "vLLM no longer reads it",
        "Set `attention_backend` in the model's `engine_kwargs`.",
    ),
    Setting(
        "env_vars",
        "VLLM_ALL2ALL_BACKEND",
        "vLLM no longer reads it",
        "Set `all2all_backend` in the model's `engine_kwargs`.",
    ),
    Setting(
        "env_vars",
        "VLLM_FLASH_ATTN_VERSION",
        "vLLM no longer reads it",
        "Set `attention_config=dict(flash_attn_version=...)` in the model's `engine_kwargs`.",
    ),
    Setting(
        "experimental_configs",
        "num_ingress_replicas",
        "Ray's documentation of LLMConfig names it, and no code reads it; there is one ingress replica",
        INGRESS_REPLICAS,
    ),
    Setting(
        "experimental_configs",
        "num_router_replicas",
        "LLMConfig says that it is now num_ingress_replicas, which no code reads",
        INGRESS_REPLICAS,
        rule=registry.REFUSED_SETTING,
    ),
    Setting(
        "experimental_configs",
        "dp_size_per_node",
        "an example in Ray's documentation has it, and no code reads it",
        "Remove it: Ray packs the replicas of a data-parallel group onto as few nodes as it can.",
    ),
    Setting(
        "model_loading_config",
        "tokenizer_source",
        "no code of Ray reads it; the tokenizer comes from the model's source",
        "Set `tokenizer` in the model's `engine_kwargs`.",
        rule=registry.IGNORED_SETTING,
    ),
    Setting(
        "engine_kwargs",
        "model",
        "Ray fills it in itself",
        "Set `model_source` in `model_loading_config`.",
        rule=registry.REFUSED_SETTING,
    ),
    Setting(
        "engine_kwargs",
        "served_model_name",
        "Ray fills it in itself",
        "Set `model_id` in `model_loading_config`.",
        rule=registry.REFUSED_SETTING,
    ),
    Setting(
        "engine_kwargs",
        "tool_parser_plugin",
        "`vllm serve` imports the plugin before it starts the engine; Ray does not, and its parsers stay unknown",
        "Remove it. Import the module with the parser in a `server_cls` of your own.",
        rule=registry.IGNORED_SETTING,
    ),
    Setting(
        "engine_kwargs",
        "reasoning_parser_plugin",
        "`vllm serve` imports the plugin in the process that answers; Ray does not, and its parsers stay unknown",
        "Remove it. Import the module with the parser in a `server_cls` of your own.",
        rule=registry.IGNORED_SETTING,
    ),
    Setting(
        "engine_kwargs",
        "max_parallel_loading_workers",
        "vLLM itself says that it is not supported and ignored",
        "Remove it. `load_format` chooses how weights are read.",
    ),
    Setting(
        "engine_kwargs",
        "device_ids",
        "it has no effect beside Ray's executor: Ray chooses the GPUs",
        "Remove it, and reserve GPUs with `placement_group_config`.",
    ),
    Setting(
        "engine_kwargs",
        "aggregate_engine_logging",
        "Ray starts the engine without passing it on",
        "Remove it.",
    ),
    *map(
        of_vllms_own_server,
        [
            "host",
            "port",
            "uds",
            "ssl_keyfile",
            "ssl_certfile",
            "ssl_ca_certs",
            "ssl_cert_reqs",
            "ssl_ciphers",
            "enable_ssl_refresh",
            "uvicorn_log_level",
            "disable_uvicorn_access_log",
            "disable_access_log_for_endpoints",
            "log_config_file",
            "h11_max_incomplete_event_size",
            "h11_max_header_count",
            "data_parallel_supervisor_port",
            "dp_supervisor_probe_interval_s",
            "dp_supervisor_probe_timeout_s",
            "dp_supervisor_probe_failure_threshold",
        ],
    ),
    of_vllms_app(
        "api_key",
        "Turn direct streaming on, or rely on the bearer token of the Anyscale service.",
        registry.PROTECTION_WITHOUT_EFFECT,
    ),
    of_vllms_app(
        "middleware",
        "Turn direct streaming on, or make the ingress of an app of your own with `make_fastapi_ingress`.",
        registry.IGNORED_SETTING,
    ),
    *map(
        of_vllms_app,
        [
            "allowed_origins",
            "allowed_methods",
            "allowed_headers",
            "allow_credentials",
            "root_path",
            "disable_fastapi_docs",
            "enable_offline_docs",
            "enable_request_id_headers",
            "enable_tokenizer_info_endpoint",
        ],
    ),
    Setting(
        "engine_kwargs",
        "lora_modules",
        "Ray's OpenAiIngress answers 404 to names of adapters that it did not load itself",
        "Turn direct streaming on, or let Ray load the adapters: `lora_config`.",
        rule=registry.IGNORED_SETTING,
        only="without direct streaming",
    ),
    guided("guided_json", "Write `response_format` with `type: json_schema`, or `structured_outputs: {json: ...}`."),
    guided("guided_regex", "Write `structured_outputs: {regex: ...}`."),
    guided("guided_choice", "Write `structured_outputs: {choice: [...]}`."),
    guided("guided_grammar", "Write `structured_outputs: {grammar: ...}`."),
    guided("guided_whitespace_pattern", "Write `structured_outputs: {whitespace_pattern: ...}`."),
    guided("guided_decoding_backend", "Set `structured_outputs_config=dict(backend=...)` in the `engine_kwargs`."),
]
BY_NAME = {(setting.where, setting.name): setting for setting in SETTINGS}


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for where, given, place in settings(files):
        setting = BY_NAME.get((where, given))
        if setting is None or not applies(setting, files):
            continue
        yield make_finding(
            files,
            setting.rule,
            place,
            what=f"`{given}` in {place_name(where)} "
            f"{'is refused' if setting.rule is registry.REFUSED_SETTING else 'has no effect'}: {setting.because}.",
            fix=setting.instead,
        )


def settings(files: ServiceFiles) -> Iterator[tuple[Where, str, Place]]:
    """The name of every setting that is given, and its place."""
    for variable in variables(files):
        yield "env_vars", variable.name, variable.place
    model_fields: tuple[Where, ...] = ("experimental_configs", "model_loading_config", "engine_kwargs")
    for model in files.models.values():
        for where in model_fields:
            for name in mapping(model.config.get(where)):
                yield where, str(name), model.place(where, name)
    for index, check in enumerate(sequence(files.probe.get("checks"))):
        for name in mapping(mapping(check).get("request")):
            yield "request", str(name), files.probe.place("checks", index, "request", name)


def applies(setting: Setting, files: ServiceFiles) -> bool:
    return setting.only == "always" or (setting.only == "with direct streaming") == files.direct_streaming


def place_name(where: Where) -> str:
    return "a request of the probe" if where == "request" else f"`{where}`"
