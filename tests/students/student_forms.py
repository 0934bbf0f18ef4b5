"""Small T5s in all forms in which T5s are stored, tied and tokenized."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import (
    AutoTokenizer,
    ByT5Tokenizer,
    GenerationConfig,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.tiny import at, untrained
from tune_distill.tasks.mini.corpus import vocabulary

WEIGHTS = "model.safetensors"


def edit_json(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file; `...` removes one."""
    raw = json.loads(path.read_text()) if path.exists() else {}
    raw |= fields
    path.write_text(json.dumps({name: value for name, value in raw.items() if value is not ...}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change the tensors of a student in one file."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        folder / WEIGHTS,
        {"format": "pt"},
    )


def sharded(folder: Path) -> None:
    """Save in several shards with an index: four, with the tokenizer of these tests."""
    model = T5ForConditionalGeneration.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="85KB")
    assert len(list(folder.glob("model-0*"))) > 2


def sharded_twice(folder: Path) -> None:
    """Add shards of an earlier save, in which all weights are zero."""
    tensors = load_file(folder / WEIGHTS)
    sharded(folder)
    names = sorted(tensors)
    for number in (1, 2):
        own = {name: torch.zeros_like(tensors[name]) for name in names[number - 1 :: 2]}
        save_file(own, folder / f"model-{number:05}-of-00002.safetensors", {"format": "pt"})


def shards_of_other_names(folder: Path) -> None:
    """Rename the shards, because the index may name them freely."""
    sharded(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-0", "part-0"))
    for path in folder.glob("model-0*"):
        path.rename(folder / path.name.replace("model-0", "part-0"))


def whole_beside_shards(folder: Path) -> None:
    """Keep the whole file beside shards of zeros; transformers reads the whole file."""
    content = (folder / WEIGHTS).read_bytes()
    sharded(folder)
    (folder / WEIGHTS).write_bytes(content)
    shard = next(iter(sorted(folder.glob("model-0*"))))
    save_file({name: torch.zeros_like(value) for name, value in load_file(shard).items()}, shard)


def stored_as(dtype: torch.dtype) -> Callable[[Path], None]:
    def store(folder: Path) -> None:
        model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        model.to(dtype).save_pretrained(folder)

    return store


def untied(folder: Path) -> None:
    """Give it a separate head, as T5 1.1 and later have."""
    edit_weights(folder, lambda t: t.update({"lm_head.weight": random_head(t["shared.weight"])}))
    edit_json(folder / "config.json", tie_word_embeddings=False, scale_decoder_outputs=...)


def head_alone(folder: Path) -> None:
    """Store the only table of embeddings under the head's name."""
    edit_weights(folder, lambda t: t.update({"lm_head.weight": t.pop("shared.weight")}))


def unscaled(folder: Path) -> None:
    edit_json(folder / "config.json", scale_decoder_outputs=False)


def other_activation(folder: Path) -> None:
    """Write an activation that overrides the one in feed_forward_proj."""
    edit_json(folder / "config.json", dense_act_fn="silu")


def added_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["explanation:", AddedToken("<sep>", special=True)])
    tokenizer.save_pretrained(folder)
    model = T5ForConditionalGeneration.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)


def own_ends(folder: Path) -> None:
    edit_json(folder / "generation_config.json", eos_token_id=[1, 44, 51], num_beams=3)


def starts_elsewhere(folder: Path) -> None:
    edit_json(folder / "generation_config.json", decoder_start_token_id=7)
    edit_json(folder / "config.json", decoder_start_token_id=7)


def without_generation_config(folder: Path) -> None:
    (folder / "generation_config.json").unlink()


def byt5(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    ByT5Tokenizer().save_pretrained(folder)
    config = T5Config.from_pretrained(folder, vocab_size=384)
    random_model(T5ForConditionalGeneration, config).save_pretrained(folder)


def begins_texts(folder: Path) -> None:
    """Make the tokenizer also put a token before each text, as CodeT5's does."""
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<unk>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {
            "<unk>": {"id": "<unk>", "ids": [2], "tokens": ["<unk>"]},
            "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]},
        },
    }
    path.write_text(json.dumps(raw))


def mt5(folder: Path) -> None:
    fields = T5Config.from_pretrained(folder).to_dict()
    names = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
    config = MT5Config(**{name: fields[name] for name in names})
    model = random_model(MT5ForConditionalGeneration, config)
    model.lm_head.weight = torch.nn.Parameter(random_head(model.shared.weight))
    for name in ("config.json", "generation_config.json"):
        (folder / name).unlink()
    model.save_pretrained(folder)


def sentencepiece_model(folder: Path) -> None:
    """Leave only T5's file of pieces to make a tokenizer from."""
    import sentencepiece

    for path in folder.glob("tokenizer*"):
        path.unlink()
    texts = [f"{word} {other}." for word in vocabulary() for other in ("man", "dog", "child")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "spiece"),
        vocab_size=300,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()


FORMS: Mapping[str, Callable[[Path], Any]] = {
    "as it is": lambda _: None,
    "an end told twice": lambda folder: edit_json(
        folder / "generation_config.json", eos_token_id=[1, 1]
    ),
    "chat templates": lambda folder: edit_json(
        folder / "tokenizer_config.json",
        chat_template=[
            {"name": "default", "template": "x"},
            {"name": "tool_use", "template": "y"},
        ],
    ),
    "sharded": sharded,
    "sharded twice": sharded_twice,
    "shards of other names": shards_of_other_names,
    "whole beside shards": whole_beside_shards,
    "bf16": stored_as(torch.bfloat16),
    "fp16": stored_as(torch.float16),
    "fp64": stored_as(torch.float64),
    "untied": untied,
    "head alone": head_alone,
    "unscaled": unscaled,
    "other activation": other_activation,
    "added tokens": added_tokens,
    "own ends": own_ends,
    "starts elsewhere": starts_elsewhere,
    "without generation_config.json": without_generation_config,
    "ByT5": byt5,
    "begins texts": begins_texts,
    "mT5": mt5,
}
"""Forms that behave as in transformers: functions that change a T5's folder."""


def random_model(kind: Any, config: Any, seed: int = 0) -> Any:
    """Return a model whose answers depend on its input."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        config.initializer_factor = 2.0
        model = kind(config)
    return model.eval()


def random_head(embeddings: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return a separate head for these embeddings, with the same numbers on every machine."""
    drawn = np.random.default_rng(seed).standard_normal(tuple(embeddings.shape))
    return torch.from_numpy(drawn).to(embeddings.dtype)


def hf_model(folder: Path) -> Any:
    """Return the model that transformers loads from the folder, in float32."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    model_class = MT5ForConditionalGeneration if kind == "mt5" else T5ForConditionalGeneration
    return model_class.from_pretrained(folder, dtype=torch.float32).eval()


def hf_texts(folder: Path, sources: list[str], **settings: Any) -> list[str]:
    """Return the answers of transformers' own `generate`, one source at a time."""
    model, tokenizer = hf_model(folder), AutoTokenizer.from_pretrained(folder)
    texts = []
    for source in sources:
        ids = tokenizer(source)["input_ids"]
        if ids[-1] != tokenizer.eos_token_id:  # some T5 tokenizers were saved without it
            ids = [*ids, tokenizer.eos_token_id]
        answer = model.generate(torch.tensor([ids]), do_sample=False, **settings)
        # The first token only starts the decoder.
        texts += tokenizer.batch_decode(answer[:, 1:], skip_special_tokens=True)
    return texts


def save_trained(folder: Path, into: Path) -> Path:
    """Save the folder's student as a run does, but without training it; return `into`."""
    student = untrained(at(folder))
    into.mkdir()
    student.save(into, student.model())
    return into


def generation_of(folder: Path) -> GenerationConfig:
    return GenerationConfig.from_pretrained(folder)
