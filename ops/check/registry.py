"""Every rule of scripts/check: its id, its severity, what is wrong, why it matters and how to fix it.

An error makes a deploy fail, costs money, loses requests or secrets, or serves something other than the files say. It
blocks scripts/deploy and scripts/rollout. Everything else is a warning: it may be meant, rests on a guess, or is about
speed or prose. One id has one severity: a fault that is sometimes harmless has an id for each case.

A finding says what is wrong at its place, and where it knows more than the rule, why and what to do.
"""

from dataclasses import dataclass
from typing import Literal

from ops.console.cli import CommandError
from ops.console.suggestions import did_you_mean

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Rule:
    concern: str
    """The part of a service that it is about, in words."""
    id: str
    """Names the fault, in the words of `fault`."""
    fault: str
    """One line, without a full stop."""
    severity: Severity
    why: str
    fix: str


@dataclass(frozen=True)
class Concern:
    """A part of a service, and what makes its rules."""

    name: str

    def error(self, id: str, fault: str, *, why: str, fix: str) -> Rule:
        return Rule(self.name, id, fault, "error", why, fix)

    def warning(self, id: str, fault: str, *, why: str, fix: str) -> Rule:
        return Rule(self.name, id, fault, "warning", why, fix)


def find(id: str) -> Rule:
    """The rule of that id. Raises CommandError: there is none; the message names the nearest."""
    if id in RULES:
        return RULES[id]
    raise CommandError(f"There is no rule {id}.{did_you_mean(id, RULES)} scripts/check --list shows all of them.")


SERVICE_YAML = Concern("service.yaml")

UNREADABLE_YAML = SERVICE_YAML.error(
    "unreadable-yaml",
    "A YAML file of the service cannot be read",
    why="There is nothing to deploy or to probe with, and nothing else in it is checked.",
    fix="Correct it, or copy the one of another service: scripts/new makes a service with all its files.",
)
DUPLICATE_KEY = SERVICE_YAML.error(
    "duplicate-key",
    "A key is given twice",
    why="The last one counts. What the others say has no effect, and nothing else tells you.",
    fix="Keep one of them.",
)
UNKNOWN_KEY = SERVICE_YAML.error(
    "unknown-key",
    "Nothing reads a key",
    why="What reads the mapping refuses the key, and the deploy fails; or ignores it, and what it was meant to set "
    "keeps its default.",
    fix="Correct its spelling, or move it to where it belongs.",
)
REFUSED_VALUE = SERVICE_YAML.error(
    "refused-value",
    "The Anyscale SDK or Ray refuses a value of service.yaml",
    why="The deploy is refused, or fails on the head node.",
    fix="Write what the message asks for.",
)
NO_SUCH_PATH = SERVICE_YAML.error(
    "no-such-path",
    "A path of service.yaml leads nowhere",
    why="The Anyscale CLI looks for it from where it is run, the root of the repository, and fails.",
    fix="Write the path from the root of the repository.",
)
NAME_DIFFERS_FROM_FOLDER = SERVICE_YAML.warning(
    "name-differs-from-folder",
    "service.yaml has another name than its folder",
    why="Commands find a service by its folder and deploy the name that is in it: whoever knows one looks for the "
    "other.",
    fix="Write the name of the folder, unless the other name is meant.",
)
ENV_VAR_NOT_STRING = SERVICE_YAML.error(
    "env-var-not-string",
    "The value of an environment variable is not text",
    why="Environment variables are text: the Anyscale SDK and Ray take no other value, and the deploy fails.",
    fix="Put it in quotes.",
)
INVALID_ENV_VAR_NAME = SERVICE_YAML.warning(
    "invalid-env-var-name",
    "The name of an environment variable is malformed",
    why="The Anyscale SDK takes any text as a name; no shell can set or read this one.",
    fix="Use letters, digits and underscores, and no digit first.",
)
IMAGE_AND_CONTAINERFILE = SERVICE_YAML.error(
    "image-and-containerfile",
    "Both an image and a containerfile are named",
    why="Anyscale builds the containerfile, runs that, and says nothing of the image.",
    fix="Remove one of them.",
)
NO_IMAGE = SERVICE_YAML.error(
    "no-image",
    "Neither an image nor a containerfile is named",
    why="Anyscale then runs its default image, which has no vLLM.",
    fix="Write image_uri with the base image of versions.toml.",
)
UNKNOWN_IMAGE = SERVICE_YAML.error(
    "unknown-image",
    "Anyscale does not list the image",
    why="The cluster cannot start without its image. A tag that the installed SDK does not know has not been "
    "published, or is newer than the SDK.",
    fix="Write one that it lists.",
)
IMAGE_OF_OTHER_VERSIONS = SERVICE_YAML.error(
    "image-of-other-versions",
    "The image has another Ray or vLLM than versions.toml",
    why="What is tested on a laptop and checked here is the Ray and vLLM of versions.toml; another image runs others.",
    fix="Write the base image of versions.toml, or change versions.toml and everything that follows from it.",
)
RAY_OR_VLLM_PINNED_APART = SERVICE_YAML.error(
    "ray-or-vllm-pinned-apart",
    "Ray or vLLM is installed on top of the image",
    why="The image has both, and a Ray works with one vLLM only: another breaks at import, on every node.",
    fix="Remove it. To change the version, change the image and versions.toml.",
)
LAPTOP_PROFILE_DEPLOYED = SERVICE_YAML.error(
    "laptop-profile-deployed",
    "The laptop profile is deployed",
    why="A tiny stand-in model would answer on the CPUs of GPU nodes.",
    fix="Write profile: gpu. On a laptop, scripts/dev chooses the profile by itself.",
)

IMPORT_PATH = Concern("the import path")

NO_APPLICATION = IMPORT_PATH.error(
    "no-application",
    "service.yaml has no application",
    why="There is nothing to serve: the Anyscale SDK refuses the file.",
    fix="Write applications: with one entry, as in the service.yaml of another service.",
)
MALFORMED_IMPORT_PATH = IMPORT_PATH.error(
    "malformed-import-path",
    "An import path does not name a module and what is in it",
    why="The Anyscale SDK or Serve cannot import it, and the deploy fails.",
    fix="Write one such as services.my_llm.serve:app.",
)
IMPORT_PATH_OF_ANOTHER_SERVICE = IMPORT_PATH.error(
    "import-path-of-another-service",
    "The import path is that of another service",
    why="The files that are checked here are not those that would be deployed.",
    fix="Write the import path of this service.",
)
IMPORT_FAILS = IMPORT_PATH.error(
    "import-fails",
    "The module of the import path cannot be imported",
    why="The head node imports it to build the application, when the cluster is already paid for.",
    fix="Correct it; the same import must work here, from the root of the repository.",
)
APP_BUILT_AT_IMPORT = IMPORT_PATH.error(
    "app-built-at-import",
    "The application is built when the module is imported",
    why="That starts Ray: `serve run` then ignores --working-dir and --runtime-env, and the `args` of service.yaml "
    "have no effect.",
    fix="Call it in a builder function, and name that in the import path.",
)
NOT_A_BUILDER = IMPORT_PATH.error(
    "not-a-builder",
    "The import path does not name a builder function",
    why="Serve builds the application by calling what the import path names; the deploy fails.",
    fix="Name a function such as def app(args: AppArgs) -> Application.",
)
BUILDER_WITHOUT_ONE_PARAMETER = IMPORT_PATH.error(
    "builder-without-one-parameter",
    "The builder does not take exactly one parameter",
    why="Serve calls it with one, the `args` of service.yaml, and refuses a function that takes more or less.",
    fix="Give it one parameter, the args.",
)
ARGS_DO_NOT_FIT = IMPORT_PATH.error(
    "args-do-not-fit",
    "The builder does not take the args",
    why="It raises this on the head node, and the deploy fails.",
    fix="Write what the message asks for.",
)
MODEL_CHOSEN_WHERE_ALL_ARE_SERVED = IMPORT_PATH.error(
    "model-chosen-where-all-are-served",
    "The args choose a model, and the builder serves all of them",
    why="The builder refuses the argument on the head node, and the deploy fails.",
    fix="Remove it: requests name the model.",
)
NO_SUCH_MODEL = IMPORT_PATH.error(
    "no-such-model",
    "The args name a model that serve.py does not have",
    why="The application is refused after the nodes are there and the image is pulled.",
    fix="Choose one of the models in serve.py.",
)

ACCESS = Concern("secrets and access")

SECRET_IN_ENV_VARS = ACCESS.error(
    "secret-in-env-vars",
    "An environment variable has the value of a secret",
    why="Whoever can read the repository, or what is uploaded of it, has it. `anyscale service status -v` prints it "
    "too.",
    fix="Leave it empty, export it where you deploy from, and replace the one that was written.",
)
SECRET_IN_FILE = ACCESS.error(
    "secret-in-file",
    "A file holds a secret",
    why="Whoever can read the repository, or what is uploaded of it, has it.",
    fix="Remove it, replace it where it was issued, and pass the new one in an environment variable.",
)
GATED_WITHOUT_A_TOKEN = ACCESS.error(
    "gated-without-a-token",
    "A gated model is deployed without HF_TOKEN",
    why="The download is refused on the node, after it was paid for.",
    fix='Add HF_TOKEN: "" to env_vars; scripts/deploy passes its value on from your environment.',
)
GATED_CHOICE_WITHOUT_A_TOKEN = ACCESS.warning(
    "gated-choice-without-a-token",
    "A gated model could be chosen, and there is no HF_TOKEN",
    why="Its download is refused as soon as somebody deploys it.",
    fix='Add HF_TOKEN: "" to env_vars; scripts/deploy passes its value on from your environment.',
)
API_KEYS_REFUSED = ACCESS.error(
    "api-keys-refused",
    "The API keys cannot be read",
    why="The application is not built, and the deploy fails when the cluster is already paid for.",
    fix="Correct it, or make the file anew: scripts/keys new NAME --file FILE.",
)
API_KEYS_VARIABLE_NOT_DECLARED = ACCESS.error(
    "api-keys-variable-not-declared",
    "The variable of the API keys is not in env_vars",
    why="A deploy passes on the variables that env_vars names, and no other: the application is not built.",
    fix="Add it to env_vars with an empty value, and export it where you deploy from.",
)
VLLM_API_KEY_GUARDS_SOME_ROUTES = ACCESS.warning(
    "vllm-api-key-guards-some-routes",
    "vLLM's own API key guards some routes only",
    why="Everyone can read /metrics, /docs and /version and use /tokenize, and clients that send x-api-key, as "
    "Anthropic's do, are refused.",
    fix="Use api_keys in the args of service.yaml, which guards every route but /health: docs/authentication.md.",
)
PROTECTION_WITHOUT_EFFECT = ACCESS.error(
    "protection-without-effect",
    "A setting that guards the service has no effect",
    why="The file says that the service is guarded, and it is open to everyone who reaches it.",
    fix="Use api_keys in the args of service.yaml: docs/authentication.md.",
)
OPEN_TO_EVERYONE = ACCESS.error(
    "open-to-everyone",
    "The service asks nobody for a token or a key",
    why="Whoever knows or guesses the address uses your GPUs.",
    fix="Remove query_auth_token_enabled, or give the service api_keys: docs/authentication.md.",
)

UPLOAD = Concern("the upload")

CODE_NOT_UPLOADED = UPLOAD.error(
    "code-not-uploaded",
    "The code of the application would not be uploaded",
    why="The cluster cannot import the application, and the deploy fails when it is already paid for.",
    fix="Write working_dir: . and take what leaves it out from excludes and .gitignore.",
)
KEYS_NOT_UPLOADED = UPLOAD.error(
    "keys-not-uploaded",
    "The key file would not be uploaded",
    why="The cluster does not find it: the application is not built, and the deploy fails when it is already paid for.",
    fix="Take what leaves it out from excludes and .gitignore.",
)
DOTENV_IN_UPLOAD = UPLOAD.error(
    "dotenv-in-upload",
    "A .env file would be uploaded",
    why="Such files hold secrets, and whoever can read the bucket of the cloud can read the upload.",
    fix="Add it to excludes in service.yaml, and to .gitignore.",
)
VENV_IN_UPLOAD = UPLOAD.warning(
    "venv-in-upload",
    "A virtual environment would be uploaded",
    why="It is large, it does not work on another machine, and the image has all that is needed.",
    fix="Add it to excludes in service.yaml, or to .gitignore.",
)
LARGE_FILE_IN_UPLOAD = UPLOAD.warning(
    "large-file-in-upload",
    "A large file would be uploaded",
    why="It is uploaded at every deploy, and every node of the cluster downloads it before a replica starts.",
    fix="Add it to excludes in service.yaml. Weights are loaded from where model_source says.",
)
LARGE_UPLOAD = UPLOAD.warning(
    "large-upload",
    "The upload is large",
    why="It is uploaded at every deploy, and every node of the cluster downloads it before a replica starts.",
    fix="Add what the service does not need to excludes in service.yaml.",
)

ENGINE = Concern("the engine")

REFUSED_BY_LLM_CONFIG = ENGINE.error(
    "refused-by-llm-config",
    "Ray refuses a value of an LLMConfig",
    why="The application cannot be built, and the deploy fails on the head node.",
    fix="Write what the message asks for.",
)
UNKNOWN_ENGINE_ARGUMENT = ENGINE.error(
    "unknown-engine-argument",
    "vLLM does not know an engine argument",
    why="The configuration is refused, and no replica starts.",
    fix="Remove it, or see what replaced it in vLLM's release notes.",
)
INVALID_ENGINE_ARGUMENT = ENGINE.error(
    "invalid-engine-argument",
    "An engine argument has a value that vLLM does not take",
    why="Ray and vLLM use most values as they are given: it fails when a replica starts, or means something else.",
    fix="Write what vLLM takes.",
)
UNKNOWN_PARSER = ENGINE.error(
    "unknown-parser",
    "vLLM does not have the parser",
    why="No replica starts, and of a tool call parser vLLM says so only after it has loaded the weights.",
    fix="Write one that the installed vLLM has.",
)
REFUSED_SETTING = ENGINE.error(
    "refused-setting",
    "Ray or vLLM refuses a setting",
    why="The configuration is refused, and no replica starts.",
    fix="Remove it.",
)
IGNORED_SETTING = ENGINE.error(
    "ignored-setting",
    "A setting is ignored, and the service does something other than the file says",
    why="The service runs as if it were not there: another tokenizer, other routes or fewer replicas than the file "
    "says.",
    fix="Remove it, and set what has that effect.",
)
SETTING_WITHOUT_EFFECT = ENGINE.warning(
    "setting-without-effect",
    "A setting has no effect",
    why="Who reads the file believes that it is set, and the service runs as if it were not there.",
    fix="Remove it.",
)
OVERRIDDEN_SETTING = ENGINE.warning(
    "overridden-setting",
    "One setting overrides another",
    why="One of the two has no effect.",
    fix="Remove one of the two.",
)
NEEDS_ANOTHER_SETTING = ENGINE.error(
    "needs-another-setting",
    "A setting does not work without another one",
    why="What the file asks for is refused, or does not happen.",
    fix="Set the other one too, or remove this one.",
)
ARGUMENT_SET_TWICE = ENGINE.error(
    "argument-set-twice",
    "Two arguments set the same",
    why="vLLM refuses the two together, and no replica starts.",
    fix="Keep one of them.",
)
SIZE_ABOVE_ITS_LIMIT = ENGINE.error(
    "size-above-its-limit",
    "A size is above another that limits it",
    why="vLLM refuses that, and no replica starts.",
    fix="Lower the one or raise the other.",
)
METRICS_WITHOUT_STATISTICS = ENGINE.error(
    "metrics-without-statistics",
    "Engine metrics are on, and vLLM's statistics are off",
    why="Ray refuses the two together, and the application does not start.",
    fix="Remove `disable_log_stats`: the dashboard reads these metrics.",
)
MODEL_ID_WITH_A_MEANING = ENGINE.error(
    "model-id-with-a-meaning",
    "Ray gives a part of the model id a meaning",
    why="Ray's OpenAiIngress reads `:` and `--` in a model id, and answers 404 to requests for it.",
    fix="Use letters, digits, dots and single hyphens.",
)
MODEL_ID_FOR_DIRECT_STREAMING_ONLY = ENGINE.warning(
    "model-id-for-direct-streaming-only",
    "The model id works with direct streaming only",
    why="Ray's OpenAiIngress reads `:` and `--` in a model id, and answers 404 to requests for it once direct "
    "streaming is turned off.",
    fix="Use letters, digits, dots and single hyphens.",
)
MODEL_ID_TWICE = ENGINE.error(
    "model-id-twice",
    "Two models have one id",
    why="Requests tell models apart by it. Ray refuses to serve two of one id, and of two to choose from one is "
    "never found.",
    fix="Give each its own model_id.",
)
MODEL_NAME_DIFFERS_FROM_ITS_ID = ENGINE.warning(
    "model-name-differs-from-its-id",
    "A model has another name in MODELS than its model_id",
    why="`args` and commands go by the name, requests by the model_id: who knows one gets 404 for it.",
    fix="Write the same for both.",
)
UNKNOWN_VARIABLE = ENGINE.warning(
    "unknown-variable",
    "Neither Ray nor vLLM reads an environment variable",
    why="It has no effect, and at most a line in a log says so.",
    fix="Remove it.",
)
SERVE_VARIABLE_IN_RUNTIME_ENV = ENGINE.warning(
    "serve-variable-in-runtime-env",
    "A variable of Serve's is set where only some of its processes get it",
    why="Each process of Serve reads its variables when it is imported. The controller and the proxies do not get "
    "the runtime_env of an application or a model, and go on with the default.",
    fix="Set it in `env_vars` of service.yaml, which every process of the cluster gets.",
)
RUNTIME_ENV_REPLACED = ENGINE.error(
    "runtime-env-replaced",
    "The env_vars of a model replace those of the application",
    why="Ray takes each key of the model's runtime_env as a whole, so the replicas do not get the variables of the "
    "application.",
    fix="Set them in `env_vars` of service.yaml, or repeat them here.",
)

ADAPTERS = Concern("LoRA adapters")

ADAPTERS_ONE_AT_A_TIME = ADAPTERS.warning(
    "adapters-one-at-a-time",
    "A replica computes with one adapter at a time",
    why="A request for another adapter waits until no request for that one is running, however empty the batch is.",
    fix="Set `max_loras` in `engine_kwargs` to the number of adapters that are in use at the same time.",
)
ADAPTERS_READ_AGAIN = ADAPTERS.warning(
    "adapters-read-again",
    "vLLM keeps fewer adapters in memory than Ray counts as loaded",
    why="The others are read from disk when a request for one comes, and all running requests wait for that.",
    fix="Raise `max_cpu_loras`, or lower `max_num_adapters_per_replica`.",
)
ADAPTER_SLOTS_NEVER_USED = ADAPTERS.warning(
    "adapter-slots-never-used",
    "There are more slots for adapters than adapters",
    why="vLLM sets memory of the GPU aside for each, which the KV cache then lacks.",
    fix="Lower `max_loras`, or raise `max_num_adapters_per_replica`.",
)

ROUTING = Concern("requests and routing")

DIRECT_STREAMING_REFUSED = ROUTING.error(
    "direct-streaming-refused",
    "Serve refuses direct streaming with these settings",
    why="Ray refuses the application, or no replica starts.",
    fix="Turn direct streaming off, or take away what it does not go with.",
)
ROUTER_REFUSED = ROUTING.error(
    "router-refused",
    "Serve refuses the request router",
    why="The application is refused when it is built.",
    fix="Take another router, or set what this one needs.",
)
ROUTER_WITHOUT_PROMPTS = ROUTING.error(
    "router-without-prompts",
    "A router that chooses by the prompt does not get it",
    why="It cannot choose by what it never sees: any replica is taken.",
    fix="Set what sends prompts to the router, or take a router that needs a header only.",
)
PREFIX_ROUTER_REMEMBERS_NOTHING = ROUTING.error(
    "prefix-router-remembers-nothing",
    "Ray's prefix router does not work with direct streaming",
    why="There, Ray 2.59 does not tell it which replica was taken: it remembers no prompt and sends all requests to "
    "one replica.",
    fix="Remove it and write `routing: prefix` in `args` of service.yaml, which sets one that works.",
)
PREFIX_ROUTER_IGNORES_LOAD = ROUTING.warning(
    "prefix-router-ignores-load",
    "A prefix router never yields to load",
    why="By default it is infinite: prompts that begin alike all go to one replica, however long its queue is.",
    fix="Add `imbalanced_threshold=10` to `request_router_kwargs`: the difference of queue lengths from which on "
    "the load decides. The 10 is a guess to start from.",
)
PREFIX_ROUTER_NEVER_FORGETS = ROUTING.warning(
    "prefix-router-never-forgets",
    "A prefix router never forgets a prompt",
    why="It then remembers the prompts of all requests, and its actor's memory grows until it is killed.",
    fix="Add `do_eviction=True` to `request_router_kwargs`.",
)
ROUTER_OR_POLICY_NOT_IMPORTABLE = ROUTING.error(
    "router-or-policy-not-importable",
    "The class of a router or the policy of autoscaling cannot be imported",
    why="LLMConfig refuses it when the application is built, on a cluster that is already paid for.",
    fix="Write the module and what is in it, such as serving.autoscaling:EnginePolicy.",
)
ONE_INGRESS_REPLICA = ROUTING.warning(
    "one-ingress-replica",
    "Several replicas are behind one replica of the ingress",
    why="Ray Serve LLM gives the ingress one replica and never more by itself. Every token passes through it: "
    "more replicas of the model add hardly any throughput.",
    fix="Give ingress_deployment_config a num_replicas of two per replica, or use direct streaming.",
)
TOKENS_HELD_BACK = ROUTING.warning(
    "tokens-held-back",
    "Streamed tokens are held back",
    why="The first token too: it comes up to that much later, and the others come in bursts.",
    fix="Set experimental_configs=dict(stream_batching_interval_ms=0), or use direct streaming.",
)
MESSAGES_TOO_LARGE = ROUTING.warning(
    "messages-too-large",
    "Requests may be larger than a message within Serve",
    why="Ray Serve passes requests on by gRPC here. Larger ones fail, whatever the model would make of them.",
    fix="Raise the limit in env_vars, or use direct streaming, which passes requests on by HTTP.",
)

NODES = Concern("GPUs and nodes")

EXECUTOR_REFUSED = NODES.error(
    "executor-refused",
    "Ray or vLLM refuses the executor",
    why="Ray Serve LLM starts the engine with its own executor and refuses another: no replica starts.",
    fix="Remove it: Ray sets it.",
)
PLACEMENT_GROUP_REFUSED = NODES.error(
    "placement-group-refused",
    "The placement group does not fit the workers",
    why="vLLM needs a bundle with one GPU forevery worker: no replica starts.",
    fix="Write `bundle_per_worker=dict(GPU=1, CPU=1)`: Ray repeats it forevery worker.",
)
RESERVED_GPUS_LEFT_IDLE = NODES.error(
    "reserved-gpus-left-idle",
    "More GPUs are reserved than the workers use",
    why="They are paid for and left idle.",
    fix="Write `bundle_per_worker=dict(GPU=1, CPU=1)` in place of `bundles`: Ray repeats it forevery worker.",
)
ACCELERATOR_WITHOUT_GPU = NODES.error(
    "accelerator-without-gpu",
    "A GPU is named for a model that runs on CPUs",
    why="Ray refuses the two together, and the application does not start.",
    fix="Add `GPU=1` to the bundle of each worker, or remove `accelerator_type`.",
)
NO_NODE_WITH_THAT_GPU = NODES.error(
    "no-node-with-that-gpu",
    "No node has the GPU of the model",
    why="Its replicas wait for a node forever, and Ray does not call that a failure.",
    fix="Set accelerator_type to the GPU of the worker nodes, or add a group of nodes that have it.",
)
TOO_FEW_NODES = NODES.error(
    "too-few-nodes",
    "The nodes cannot hold the replicas that the service starts with",
    why="The service never runs: its replicas wait for a node forever.",
    fix="Raise max_nodes, or lower min_replicas or num_replicas in serve.py.",
)
TOO_FEW_NODES_AT_PEAK = NODES.warning(
    "too-few-nodes-at-peak",
    "The nodes cannot hold as many replicas as autoscaling may ask for",
    why="The replicas beyond that wait for a node forever, and the service never has the capacity that the file names.",
    fix="Raise max_nodes, or lower max_replicas in serve.py.",
)
TOO_FEW_NODES_FOR_ALL = NODES.warning(
    "too-few-nodes-for-all",
    "The nodes cannot hold the replicas of all models at their peak",
    why="When both are busy, the last to scale up waits for a node forever, and its requests with it.",
    fix="Raise max_nodes by what the others need, lower max_replicas in serve.py, or give each its own group.",
)
TENSOR_PARALLEL_LARGER_THAN_A_NODE = NODES.error(
    "tensor-parallel-larger-than-a-node",
    "A tensor parallel group must be on one node and is larger",
    why="With STRICT_PACK the replica waits for such a node forever.",
    fix="Lower tensor_parallel_size and raise pipeline_parallel_size, or take larger nodes.",
)
TENSOR_PARALLEL_OVER_NODES = NODES.warning(
    "tensor-parallel-over-nodes",
    "A tensor parallel group is larger than a node",
    why="The all-reduce of every layer crosses the network.",
    fix="Lower tensor_parallel_size and raise pipeline_parallel_size, or take larger nodes.",
)
TENSOR_PARALLEL_MAY_BE_SPLIT = NODES.warning(
    "tensor-parallel-may-be-split",
    "A tensor parallel group may be split over two nodes",
    why="Ray may then take some GPUs from one node and some from another without a word, and the all-reduce of "
    "every layer crosses the network.",
    fix='Set placement_group_config=dict(bundle_per_worker=dict(GPU=1, CPU=1), strategy="STRICT_PACK").',
)

MEMORY = Concern("memory and shape")

DOES_NOT_FIT = MEMORY.error(
    "does-not-fit",
    "The model does not fit its GPUs",
    why="vLLM loads the weights for minutes, and then refuses to start.",
    fix="Take GPUs with more memory, share the model among more of them, or use weights of fewer bits.",
)
KV_CACHE_TOO_SMALL = MEMORY.warning(
    "kv-cache-too-small",
    "The KV cache holds fewer requests than autoscaling aims at",
    why="The others wait, or lose their cache and are computed again, and Serve sees no need to scale.",
    fix="Lower target_ongoing_requests, or find more memory on each GPU.",
)
CONTEXT_LONGER_THAN_MODEL = MEMORY.error(
    "context-longer-than-model",
    "The context is longer than the model's",
    why="vLLM refuses to start with more positions than the model's config.json has.",
    fix="Shorten max_model_len, or stretch the positions with hf_overrides as the model card says.",
)
TENSOR_PARALLEL_DOES_NOT_DIVIDE_HEADS = MEMORY.error(
    "tensor-parallel-does-not-divide-heads",
    "The tensor parallel size does not divide the attention heads",
    why="vLLM gives each GPU as many heads as every other, and refuses to start where they cannot be divided so.",
    fix="Use a size that divides the heads.",
)
UNREADABLE_MODEL_FACTS = MEMORY.warning(
    "unreadable-model-facts",
    "models.yaml cannot be read",
    why="Without the facts of its models nobody can say whether the service fits its GPUs.",
    fix="Correct it; the models.yaml of the other services shows how facts are written.",
)
MODEL_FACTS_DIFFER = MEMORY.warning(
    "model-facts-differ",
    "models.yaml and the model's config.json differ",
    why="What fits and how fast it is are computed from models.yaml; the model is served as config.json says.",
    fix="Write in models.yaml what config.json has.",
)

SCALING = Concern("scaling")

NO_AUTOSCALING_TARGET = SCALING.error(
    "no-autoscaling-target",
    "Autoscaling has no target, and never adds a replica",
    why="Ray Serve LLM then takes 1,000,000,000 requests a replica as its target: it never adds a replica.",
    fix="Give it the requests that one replica is to have at a time, such as target_ongoing_requests=16.",
)
LIMIT_BELOW_TARGET = SCALING.error(
    "limit-below-target",
    "Replicas take fewer requests than autoscaling aims at, so it never adds one",
    why="A replica never has as many requests as autoscaling waits for, so none is ever added.",
    fix="Set max_ongoing_requests above the target, with room for bursts.",
)
QUEUE_LIMIT_WITHOUT_EFFECT = SCALING.error(
    "queue-limit-without-effect",
    "A limit of the queue has no effect",
    why="Without max_ongoing_requests a replica takes 1,000,000,000 requests at a time, so none ever waits in a queue.",
    fix="Set max_ongoing_requests, or remove the limit of the queue.",
)
REPLICAS_FIXED_AND_SCALED = SCALING.error(
    "replicas-fixed-and-scaled",
    "The number of replicas is both fixed and scaled",
    why="Ray Serve refuses a deployment that has both, after the image is built and the nodes are there.",
    fix="Keep one of them.",
)
SCALE_TO_ZERO_WITHOUT_A_NOTE = SCALING.warning(
    "scale-to-zero-without-a-note",
    "The service scales to zero, and its README does not say so",
    why="The first request after a pause waits for a node, the image, the weights and compilation: minutes. Clients "
    "give up sooner than that.",
    fix='Say under a heading with "scale to zero" in README.md how long it takes and how to warm it up, or set '
    "min_replicas=1.",
)
SCALE_TO_ZERO_KEEPS_NODES = SCALING.warning(
    "scale-to-zero-keeps-nodes",
    "The replicas scale to zero, and the nodes do not",
    why="The nodes are paid for while nothing runs on them.",
    fix="Set min_nodes: 0, or min_replicas=1 where the wait for a node would be too long.",
)
ENGINE_POLICY_WITHOUT_STATISTICS = SCALING.error(
    "engine-policy-without-statistics",
    "Autoscaling follows the engine, whose statistics are off",
    why="There is nothing to follow: serving/autoscaling.py refuses to build the application, or the number of "
    "requests is followed instead.",
    fix="Remove disable_log_stats, or write `autoscaling: requests`.",
)

TIMEOUTS = Concern("timeouts")

START_TIMEOUT_TOO_SHORT = TIMEOUTS.error(
    "start-timeout-too-short",
    "A start is given up before the model can be loaded",
    why="A start that takes longer than the limit is given up, and begun again from nothing.",
    fix="Raise the timeout in env_vars.",
)
PROXY_CUTS_STREAMS = TIMEOUTS.error(
    "proxy-cuts-streams",
    "The proxy cuts streams that a stopping replica may still finish",
    why="HAProxy reloads whenever replicas come or go, and cuts the streams that are older than this.",
    fix="Give the proxy as long as graceful_shutdown_timeout_s.",
)
SHUTDOWN_CUTS_ANSWERS = TIMEOUTS.warning(
    "shutdown-cuts-answers",
    "A stopping replica has less time than the longest answer takes",
    why="On every downscale, update and node replacement, answers longer than that are cut off.",
    fix="Raise graceful_shutdown_timeout_s.",
)
HEALTH_CHECK_TOO_IMPATIENT = TIMEOUTS.warning(
    "health-check-too-impatient",
    "A health check fails after a moment",
    why="A replica under load may take a second or more to answer. After three such checks Serve kills it, and "
    "loads the weights again, when it is needed most.",
    fix="Set health_check_timeout_s to 10, Ray Serve LLM's default.",
)

LAYOUTS = Concern("prefill, decode and ranks")

NO_KV_TRANSFER = LAYOUTS.error(
    "no-kv-transfer",
    "A side has no kv_transfer_config",
    why="Ray refuses prefill and decode of their own without one on each side.",
    fix="Set kv_transfer_config in the engine_kwargs of both sides.",
)
WRONG_KV_ROLE = LAYOUTS.error(
    "wrong-kv-role",
    "A side has another kv_role than its own",
    why="Without its role a side does not hand KV caches over, or vLLM refuses the connector.",
    fix="Set kv_role to kv_producer for prefill and kv_consumer for decode.",
)
UNSUPPORTED_KV_CONNECTOR = LAYOUTS.error(
    "unsupported-kv-connector",
    "Ray does not support the kv_connector",
    why="Ray gives the replicas of this one no ports and no names of their own: two on a node collide.",
    fix='Set kv_connector="NixlConnector".',
)
PREFILL_DECODE_DIFFER = LAYOUTS.error(
    "prefill-decode-differ",
    "Prefill and decode differ in what must be the same",
    why="A KV cache means nothing to a side with another model, or another shape of cache.",
    fix="Give both the same.",
)
NIXL_ADDRESSES_COLLIDE = LAYOUTS.error(
    "nixl-addresses-collide",
    "Replicas share a NIXL port or host",
    why="On a node with two of them, the second finds its port taken and does not start.",
    fix="Let Ray give each replica its own port and host.",
)
NIXL_WITH_PIPELINE_STAGES = LAYOUTS.error(
    "nixl-with-pipeline-stages",
    "KV caches of pipeline stages go by NIXL",
    why="vLLM 0.27 does not transfer the KV caches of several stages with this connector.",
    fix="Set pipeline_parallel_size=1, and share the model among GPUs by tensor_parallel_size or data_parallel_size.",
)
NIXL_NOT_IN_IMAGE = LAYOUTS.warning(
    "nixl-not-in-image",
    "The image may not have NIXL",
    why="vLLM says that NIXL is not available, and no replica starts.",
    fix="Take a ray-llm image, which has it, or add to the Containerfile: RUN pip install nixl[cu13].",
)
DATA_PARALLEL_OF_ONE_RANK = LAYOUTS.error(
    "data-parallel-of-one-rank",
    "The builder of data parallelism gets one rank",
    why="Its replicas belong to no group then, which Ray's server for ranks refuses: none starts.",
    fix="Set data_parallel_size in engine_kwargs, or build it with build_openai_app.",
)
DATA_PARALLEL_WITHOUT_ITS_BUILDER = LAYOUTS.error(
    "data-parallel-without-its-builder",
    "A data-parallel size is given to a builder that does not read it",
    why="It reserves tensor by pipeline parallel GPUs for a replica, whatever this says; only the builder for data "
    "parallelism makes groups of replicas.",
    fix="Build it with build_dp_openai_app of ray.serve.llm, or remove `data_parallel_size` and scale replicas.",
)
DATA_PARALLEL_WITHOUT_EXPERTS = LAYOUTS.error(
    "data-parallel-without-experts",
    "A model without experts is data parallel",
    why="vLLM refuses ranks of a model that has nothing to share out, and no replica starts.",
    fix="Remove data_parallel_size and set num_replicas, or autoscaling: replicas of their own do better.",
)
DATA_PARALLEL_SLICES_EXPERTS = LAYOUTS.warning(
    "data-parallel-slices-experts",
    "Data-parallel ranks cut every expert into slices",
    why="The slices are too small to keep a GPU busy.",
    fix="Set enable_expert_parallel=True: each GPU then has whole experts.",
)
EXPERTS_NOT_SHARED_EVENLY = LAYOUTS.warning(
    "experts-not-shared-evenly",
    "The GPUs do not divide the experts",
    why="Some GPUs get one more than others, and all wait for these; the faster exchanges of vLLM refuse it.",
    fix="Take a number of GPUs that divides that of the experts.",
)

PROBE = Concern("the probe and the SLO")

NO_SLO = PROBE.warning(
    "no-slo",
    "The service has no slo.yaml",
    why="scripts/rollout judges a new version by it, and refuses to begin without it.",
    fix="Copy that of another service and put in what this one promises.",
)
PROBE_OF_ANOTHER_MODEL = PROBE.error(
    "probe-of-another-model",
    "The probe asks for a model that is not deployed",
    why="The check would get 404 from a service that works, and a rollout would be rolled back.",
    fix="Find out which of the two is right, and correct the other.",
)
PROBE_LEAVES_A_MODEL_OUT = PROBE.warning(
    "probe-leaves-a-model-out",
    "The probe does not ask one of the models",
    why="A version whose answers of that model are wrong passes its probe, and gets all traffic.",
    fix="Add a check whose request names the model.",
)
UNKNOWN_REQUEST_FIELD = PROBE.warning(
    "unknown-request-field",
    "A request of the probe has a field that vLLM does not know",
    why="vLLM ignores it, so the check does not test what it says.",
    fix="Remove it.",
)
THINKING_BUDGET_REFUSED = PROBE.error(
    "thinking-budget-refused",
    "vLLM refuses the thinking budget of a request",
    why="The probe gets status 400 from a service that works, and the deploy counts as failed.",
    fix="Set what vLLM needs for it, or remove it.",
)

MONITORING = Concern("monitoring")

ENGINE_METRICS_OFF = MONITORING.warning(
    "engine-metrics-off",
    "The engine measures nothing",
    why="vLLM measures nothing then: the dashboard stays empty, and of the alerts only those on errors and replicas "
    "can fire.",
    fix="Remove it: it is on by default.",
)
TRACES_NOT_A_COLLECTOR = MONITORING.error(
    "traces-not-a-collector",
    "Traces are not sent to the address of a collector",
    why="The application is refused when it is built, after the nodes are there and the image is pulled.",
    fix="Write the address of the collector's gRPC receiver.",
)
TRACING_VARIABLE_WITHOUT_EFFECT = MONITORING.warning(
    "tracing-variable-without-effect",
    "A variable of tracing has no effect",
    why="Who reads the file believes that traces are sent as it says.",
    fix="Remove it, and write where traces go in `args`.",
)
TRACES_CONFIGURED_TWICE = MONITORING.warning(
    "traces-configured-twice",
    "Tracing is configured twice",
    why="Serve takes the exporter of `tracing_config`, and vLLM's spans go through it too: nothing arrives at the "
    "collector that `traces` names.",
    fix="Remove one of them.",
)

README = Concern("the README")

README_WITHOUT_THE_MODEL = README.warning(
    "readme-without-the-model",
    "The README and serve.py name different models",
    why="Whoever chooses a model by the README gets another one, or none.",
    fix="Find out which of the two is right, and correct the other.",
)
README_DIFFERS = README.warning(
    "readme-differs",
    "The README and serve.py differ in a value",
    why="Whoever goes by the README plans for a service that is not deployed.",
    fix="Find out which of the two is right, and correct the other.",
)
README_COMMAND_FAILS = README.warning(
    "readme-command-fails",
    "A command of the README cannot be run",
    why="Commands of a README are the first thing that is tried.",
    fix="Name a script that is there, and the service.",
)
README_NAMES_NO_MODEL_OF_THE_SERVICE = README.warning(
    "readme-names-no-model-of-the-service",
    "A request in the README asks for a model that the service does not have",
    why="The answer is 404.",
    fix="Find out which of the two is right, and correct the other.",
)

CHECKS = Concern("the checks")

IGNORE_WITHOUT_EFFECT = CHECKS.warning(
    "ignore-without-effect",
    "An entry of check-ignore.yaml silences nothing",
    why="It hides the next fault of its kind at that place, and its reason may no longer hold.",
    fix="Remove the entry, or correct its place.",
)

RULES = {rule.id: rule for rule in list(globals().values()) if isinstance(rule, Rule)}
"""All rules by id, in the order of this file."""
