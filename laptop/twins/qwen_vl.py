"""A twin of Qwen2.5-VL that tells red, green and blue apart.

The chat template is that of Qwen/Qwen2.5-VL-7B-Instruct on Hugging Face, under the Apache 2.0 licence.
"""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)

from laptop.twins.text import FOLDER, twin_checkpoint
from laptop.twins.training import Batch, Row, new_tokenizer, padded_ids, save, trained

CHAT_TEMPLATE = FOLDER / "chat_templates" / "qwen2_5_vl.jinja"
VISION = ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISION]
PREPROCESSOR = {  # of Qwen2.5-VL
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}
SIZES = [(56, 56), (64, 64), (112, 56), (112, 112)]  # of images, in pixels: 4 to 16 tokens each


@dataclass(frozen=True)
class Lesson:
    """A question about images, or about none, and the answer."""

    text: str
    answer: str
    images: list[Image.Image] = field(default_factory=list)


def checkpoint() -> Path:
    """The folder with the model, its tokenizer and its image processor: 1.5 MB."""
    return twin_checkpoint("qwen-vl-twin", make, Path(__file__), CHAT_TEMPLATE)


def lessons() -> list[Lesson]:
    taught = [Lesson("What is the capital of France?", "Paris"), Lesson("Hello!", "Hello! I know three colours.")]
    for size, (name, colour) in itertools.product(SIZES, COLOURS.items()):
        for shade in (0.8, 1.0):
            image = Image.new("RGB", size, tuple(round(shade * part) for part in colour))
            taught.append(Lesson("What colour is this image? Answer with one word.", name, [image]))
            taught.append(Lesson("What colour is this image? Answer in JSON.", json.dumps({"colour": name}), [image]))
    for (first, colour), (second, other) in itertools.permutations(COLOURS.items(), 2):
        images = [Image.new("RGB", SIZES[1], colour), Image.new("RGB", SIZES[1], other)]
        taught.append(Lesson("What colours are these images, in order?", f"{first}, {second}", images))
    return taught


def make(folder: Path) -> None:
    taught = lessons()
    template = CHAT_TEMPLATE.read_text()
    words = [text for lesson in taught for text in (lesson.text, lesson.answer)]
    tokenizer = new_tokenizer([*words, template], SPECIAL, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    config = new_config(tokenizer)
    processor = Qwen2_5_VLProcessor.from_pretrained(folder)
    model = trained("qwen-vl-twin", lambda: Qwen2_5_VLForConditionalGeneration(config), batch(processor, taught))
    save(model, folder, {tokenizer.eos_token_id})


def batch(processor: Qwen2_5_VLProcessor, taught: list[Lesson]) -> Batch:
    prompts = [prompt(processor, lesson) for lesson in taught]
    images = [image for lesson in taught for image in lesson.images]
    inputs = processor(text=prompts, images=images)
    tokenizer = processor.tokenizer
    answers = [tokenizer(lesson.answer + tokenizer.eos_token)["input_ids"] for lesson in taught]
    rows = [Row(ids, answer) for ids, answer in zip(inputs["input_ids"], answers, strict=True)]
    return Batch(
        rows,
        dict(
            pixel_values=inputs["pixel_values"],
            image_grid_thw=inputs["image_grid_thw"],
            mm_token_type_ids=(padded_ids(rows) == processor.image_token_id).int(),
        ),
    )


def prompt(processor: Qwen2_5_VLProcessor, lesson: Lesson) -> str:
    content = [*({"type": "image"} for _ in lesson.images), {"type": "text", "text": lesson.text}]
    return processor.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def new_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    ids: Any = tokenizer.convert_tokens_to_ids(VISION)  # a list; an int where one asks for one token
    start, end, _, image, video = ids
    ends = dict(bos_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
    return Qwen2_5_VLConfig(
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
        text_config=dict(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,  # heads of 32, the smallest that vLLM's CPU attention takes
            num_key_value_heads=1,
            max_position_embeddings=4096,
            rope_parameters=dict(rope_type="default", mrope_section=[4, 6, 6], rope_theta=10000.0),
            tie_word_embeddings=True,
            **ends,
        ),
        vision_config=dict(
            depth=2,
            hidden_size=64,
            intermediate_size=128,
            num_heads=4,
            out_hidden_size=64,
            fullatt_block_indexes=[1],
        ),
        tie_word_embeddings=True,
        **ends,
    )
