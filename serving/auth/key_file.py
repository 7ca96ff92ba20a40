"""The keys of a service's clients: names, hashes and limits, in a YAML file or in an environment variable.

Only SHA-256 hashes are kept. A fast hash is enough: a key has 256 random bits, so there is nothing to guess.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from serving import strict_yaml

ROOT = Path(__file__).resolve().parents[2]
"""What a path is relative to: the root of the repository, on Anyscale the working directory."""
ENVIRONMENT = "env:"
"""Before the name of an environment variable that holds the text of a key file."""
MADE_WITH = "scripts/keys new NAME --file FILE makes one"
MESSAGES = {
    "extra_forbidden": "nothing reads it; an entry has name, sha256, requests_per_minute and tokens_per_day",
    "missing": "it is missing",
    "int_type": "it is not a whole number",
    "int_from_float": "it is not a whole number",
    "greater_than": "it must be greater than 0; leave it out for no limit",
    "string_pattern_mismatch": "it is not made of up to 64 letters, digits, dots, hyphens and underscores",
}


def sha256_hex(text: str) -> str:
    """Raises ValueError: that is not the SHA-256 of anything. The message does not have it: it may be a key."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("it is not a hash, which has 64 hexadecimal digits")
    return text


Limit = Annotated[int, Field(gt=0, strict=True)]


class ApiKey(BaseModel):
    """One client: who it is, and how much it may ask. Without a limit, as much as it likes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    """What logs and metrics call it."""
    sha256: Annotated[str, AfterValidator(sha256_hex)]
    """The hash of the key, in hexadecimal digits."""
    requests_per_minute: Limit | None = None
    """The most requests to all routes together in any 60 seconds."""
    tokens_per_day: Limit | None = None
    """The most tokens of prompts and answers together in a day of UTC."""

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.sha256)


class KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: list[ApiKey]


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def path_of(source: str) -> Path | None:
    """The key file that `source` names; None where it names an environment variable."""
    return None if source.startswith(ENVIRONMENT) else ROOT / source


def load(source: str, may_be_empty: bool = False, environment: Mapping[str, str] = os.environ) -> list[ApiKey]:
    """The keys that a service takes.

    Args:
        source: the path of a key file, or `env:NAME` for an environment variable with the text of one.
        may_be_empty: whether a list without keys is one. No service starts with it, but the last key can be revoked.
        environment: where `env:NAME` is looked up.

    Raises:
        ValueError: there is no such file or variable, or it is not a list of keys; a sentence for each fault.
    """
    if (path := path_of(source)) is None:
        variable = source.removeprefix(ENVIRONMENT)
        text = environment.get(variable)
        if not text:
            raise ValueError(
                f"api_keys is {source}, and {variable} is not set. Declare it in env_vars of service.yaml, and: "
                f'export {variable}="$(cat keys.yaml)"'
            )
        return parse(text, variable, may_be_empty)
    try:
        return parse(path.read_text(), source, may_be_empty)
    except OSError as error:
        raise ValueError(f"The key file {source} cannot be read: {error.strerror}. {MADE_WITH}.") from None
    except UnicodeDecodeError:
        raise ValueError(f"The key file {source} is not text. {MADE_WITH}.") from None


def parse(text: str, where: str, may_be_empty: bool) -> list[ApiKey]:
    """The keys of a key file's text; `where` it is from is in the messages. Raises ValueError, as `load` does."""
    content = strict_yaml.loads(text, where)
    if not isinstance(content, dict) or not (content.get("keys") or (may_be_empty and content.get("keys") == [])):
        raise ValueError(f"{where} has no keys: nobody could use the service. {MADE_WITH}.")
    try:
        keys = KeyFile.model_validate(content).keys
    except ValidationError as error:
        refuse(where, [sentence(fault, content["keys"]) for fault in error.errors(include_input=False)])
    twice = [f"the name {name} is given twice" for name in repeated(key.name for key in keys)]
    for sha256 in repeated(key.sha256 for key in keys):
        names = " and ".join(key.name for key in keys if key.sha256 == sha256)
        twice.append(f"{names} have the same hash")
    if twice:
        refuse(where, twice)
    return keys


def refuse(where: str, faults: list[str]) -> NoReturn:
    raise ValueError(f"{where} is not a key file: {'; '.join(faults)}.")


def sentence(fault: Any, entries: Any) -> str:
    """A fault in words, with the name of the entry that has it, and never its value."""
    way = [part for part in fault["loc"][1:] if not isinstance(part, int)]
    message = fault["ctx"]["error"] if fault["type"] == "value_error" else MESSAGES.get(fault["type"], fault["msg"])
    index = next((part for part in fault["loc"] if isinstance(part, int)), None)
    if index is None:
        return f"{fault['loc'][0]}: {message}"
    entry = entries[index]
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"{' of '.join([*way, f'key {index + 1}' + (f' ({name})' if name else '')])}: {message}"


def repeated(values: Any) -> list[str]:
    return [value for value, times in Counter(values).items() if times > 1]
