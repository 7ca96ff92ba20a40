"""What several files say of one thing: versions, names, models and secrets are the same in all of them."""

import re
from collections.abc import Iterator

from ops.check.finding import Finding, Place
from ops.check.service_files import ServiceFiles

FROM = re.compile(r"\s*FROM\s+(\S+)", re.IGNORECASE)
PINNED = re.compile(r"\b(vllm|ray)(?:\[[\w,]*\])?\s*(==|>=|~=|<=|<|>)\s*[\w.]+")


def findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from image(files)
    yield from pinned_apart(files)
    yield from names(files)
    yield from model_of_args(files)
    yield from model_of_probe(files)
    yield from slo(files)
    yield from token(files)
    yield from laptop(files)


def image(files: ServiceFiles) -> Iterator[Finding]:
    base = files.versions["base_image"]
    named = [(match[1], number) for number, line in enumerate(files.containerfile, 1) if (match := FROM.match(line))]
    places = [(name, Place(files.folder / "Containerfile", number)) for name, number in named]
    uri = files.yaml.get("image_uri")
    if isinstance(uri, str) and not files.yaml.get("containerfile"):
        places.append((uri, files.yaml.place("image_uri")))
    for name, place in places:
        if name != base and is_public(name):
            yield files.finding(
                "another-image",
                place,
                what=f"The image is {name}, and versions.toml has {base}.",
                why="What is tested on a laptop and checked here is the Ray and vLLM of versions.toml; another image "
                "runs others.",
                fix=f"Write {base}, or change versions.toml and everything that follows from it.",
            )


def is_public(name: str) -> bool:
    """Whether it is one of Anyscale's or Ray's own images, whose versions its name tells."""
    return name.startswith(("anyscale/", "rayproject/"))


def pinned_apart(files: ServiceFiles) -> Iterator[Finding]:
    """Ray or vLLM installed on top of an image that has both."""
    for path in (files.folder / "Containerfile", files.folder / "serve.py", files.folder / "service.yaml"):
        for number, line in enumerate(files.lines(path), 1):
            code = line.partition("#")[0]
            if match := PINNED.search(code):
                yield files.finding(
                    "version-pinned-apart",
                    Place(path, number),
                    what=f"{match[0]} is installed on top of the image.",
                    why=f"The image has Ray {files.versions['ray']} and vLLM {files.versions['vllm']}, and a Ray works "
                    "with one vLLM only: another breaks at import, on every node.",
                    fix="Take it out. To change the version, change the image and versions.toml.",
                )


def names(files: ServiceFiles) -> Iterator[Finding]:
    expected = {
        ("name",): files.name,
        ("applications", 0, "name"): files.name,
        ("applications", 0, "import_path"): f"services.{files.folder.name}.serve:app",
    }
    for keys, value in expected.items():
        given = files.yaml.get(*keys)
        if isinstance(given, str) and given != value and (keys[-1] == "name" or is_service(files, given)):
            yield files.finding(
                "another-name",
                files.yaml.place(*keys),
                what=f"{'.'.join(map(str, keys))} is {given}, in the folder of {files.name}.",
                why="Commands find a service by its folder and deploy what is in it: under another name they would "
                "update or start another service than the one that was named.",
                fix=f"Write {value}.",
            )


def is_service(files: ServiceFiles, import_path: str) -> bool:
    """Whether it is the serve.py of a service; what no serve.py has, another check tells."""
    return (files.root / f"{import_path.partition(':')[0].replace('.', '/')}.py").is_file()


def model_of_args(files: ServiceFiles) -> Iterator[Finding]:
    given = files.arguments.get("model")
    if given is not None and files.serve.models and given not in files.serve.models:
        yield files.finding(
            "no-such-model",
            files.yaml.place("applications", 0, "args", "model"),
            what=f"service.yaml deploys the model {given}, which serve.py does not have.",
            why="The application is refused after the nodes are there and the image is pulled.",
            fix=f"Choose one of: {', '.join(files.serve.models)}.",
        )


def model_of_probe(files: ServiceFiles) -> Iterator[Finding]:
    probed, deployed = files.probe.get("model"), files.model
    if isinstance(probed, str) and deployed and probed != deployed.id:
        yield files.finding(
            "probe-of-another-model",
            files.probe.place("model"),
            what=f"probe.yaml asks for {probed}, and service.yaml deploys {deployed.id}.",
            why="Every check of the probe would get 404 from a service that works, and a rollout would be rolled back.",
            fix=f"Write {deployed.id} in probe.yaml, or deploy {probed}.",
        )


def slo(files: ServiceFiles) -> Iterator[Finding]:
    if not files.slo_file.is_file():
        yield files.finding(
            "no-slo",
            files.yaml.place("name"),
            what=f"{files.slo_file.relative_to(files.root)} is not there.",
            why="scripts/rollout judges a new version by it, and refuses to begin without it.",
            fix="Copy that of another service and put in what this one promises.",
        )


def token(files: ServiceFiles) -> Iterator[Finding]:
    deployed = files.model
    for model_id in sorted(files.serve.gated):
        if model_id in files.models and "HF_TOKEN" not in files.env_vars:
            yield files.finding(
                "gated-without-a-token",
                files.yaml.place("env_vars"),
                what=f"The weights of {model_id} are gated, and env_vars does not name HF_TOKEN.",
                why="The download is refused on the node, after it was paid for"
                + ("." if deployed and deployed.id == model_id else ", as soon as somebody chooses that model."),
                fix='Add HF_TOKEN: "" to env_vars; scripts/deploy passes its value on from your environment.',
            )


def laptop(files: ServiceFiles) -> Iterator[Finding]:
    if files.arguments.get("profile") == "laptop":
        yield files.finding(
            "laptop-profile-deployed",
            files.yaml.place("applications", 0, "args", "profile"),
            what="service.yaml deploys the laptop profile.",
            why="A tiny stand-in model would answer on the CPUs of GPU nodes.",
            fix="Write profile: gpu. On a laptop, scripts/dev chooses the profile by itself.",
        )
