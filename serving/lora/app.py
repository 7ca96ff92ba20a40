"""What a serve.py with LoRA adapters shares with others of its kind: its arguments, and the Serve application."""

import os
from collections.abc import Collection
from typing import Any

import ray
from pydantic import field_validator
from ray.serve import Application
from ray.serve.llm import LLMConfig, LoraConfig

from serving.app import AppArgs, application, prepared, served
from serving.llm_config import lora_of
from serving.lora.ingress import AdapterIngress
from serving.lora.llm_server import LLMServer
from serving.lora.storage import AdapterStorage

OF_THE_CLOUD = "ANYSCALE_ARTIFACT_STORAGE"
"""A folder in the storage of an Anyscale cloud, which all of its clusters may read and write."""


class LoraArgs(AppArgs):
    """The `args` of a service with adapters. Unknown ones are errors."""

    adapters: str | None = None
    """The folder of S3 or Google Cloud Storage that has a folder for each adapter, such as s3://bucket/adapters; none
    means adapters/<model> in the artifact storage of the Anyscale cloud. The laptop profile has its own."""

    @field_validator("adapters")
    @classmethod
    def is_in_the_cloud(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("s3://", "gs://")):
            raise ValueError(
                f"{value} is not where adapters can be: write a URI such as s3://bucket/adapters or gs://..."
            )
        return value


def build(
    models: dict[str, LLMConfig], args: LoraArgs, *, gated: Collection[str], laptop_model: str, ingress: dict[str, Any]
) -> Application:
    """The Serve application of one base model and its adapters, which are loaded when they are asked for.

    Args:
        models: the base models by model id, the default first; each has a lora_config.
        args: which of them, where it runs, and where its adapters are.
        gated: the model ids whose weights need an HF_TOKEN.
        laptop_model: what stands in for them on the laptop profile, a name of `laptop.models.MODELS`.
        ingress: options of the ingress deployment.

    Raises:
        ValueError: as `served`, `prepared` and `application` do; or nobody said where the adapters are, or they cannot
            be read there.
    """
    (chosen,) = served(models, args, gated).values()
    if args.profile == "laptop":
        from laptop.adapters import laptop_adapters  # not needed in production, so not imported there
        from laptop.profile import laptop_ingress

        uri, environment = laptop_adapters()
        ingress = laptop_ingress(ingress, environment)
    else:
        uri, environment = args.adapters or of_the_cloud(chosen.model_id), {}
    config = prepared(chosen, args, laptop_model, {f"runtime_env.env_vars.{k}": v for k, v in environment.items()})
    lora_config = LoraConfig(**dict(lora_of(config)) | {"dynamic_lora_loading_path": uri})
    config = config.model_copy(update={"lora_config": lora_config, "server_cls": LLMServer})
    arguments = {
        "llm_configs": [config],
        "ingress_cls_config": {"ingress_cls": AdapterIngress},
        "ingress_deployment_config": ingress,
    }
    built = application(arguments, args)
    if args.profile == "gpu" and ray.is_initialized():  # it is not where scripts/check only looks at what is built
        refuse_unreadable(uri)
    return built


def of_the_cloud(model_id: str) -> str:
    storage = os.environ.get(OF_THE_CLOUD)
    if not storage:
        raise ValueError(
            f"Where the adapters are is not known: {OF_THE_CLOUD} is not set, as it is on Anyscale. Say it with "
            "adapters=s3://bucket/folder."
        )
    return f"{storage.rstrip('/')}/adapters/{model_id}"


def refuse_unreadable(uri: str) -> None:
    """An empty folder is legal: adapters may be uploaded while the service runs. Raises ValueError."""
    try:
        names = AdapterStorage(uri).names()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The adapters cannot be read from {uri}: {error}. The nodes need the right to list and read it: on S3, "
            "s3:ListBucket on the bucket and s3:GetObject on what is in the folder."
        ) from None
    print(f"{uri} holds {len(names)} adapters{': ' if names else '.'}{', '.join(names[:20])}", flush=True)
