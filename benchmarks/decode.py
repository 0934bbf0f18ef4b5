"""All settings of the decoding study on one trained student: ours, and `generate` in file order.

The peer takes batches of 16 in file order, padded to their longest text, as the notebook does.
Greedy and beam search must give the same texts.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, T5ForConditionalGeneration

from benchmarks.measure import Promise, in_turn, ratio, report
from tune_distill.cli.options import parse_arguments
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.spec.plan import planned_trials
from tune_distill.spec.profile import Decode
from tune_distill.students.process import configure_torch
from tune_distill.students.registry import read_student
from tune_distill.students.tokens import Ints
from tune_distill.study import resolve
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

BATCH = 16
LEAST = 1.5


def main(given: argparse.Namespace) -> int:
    configure_torch(1)
    inputs = Inputs()
    trials = planned_trials(resolve("decoding", parse_arguments(["decoding"])), inputs)
    names = [trial.trial_id for trial in trials]
    settings = [trial.profile.decode for trial in trials]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Folder(Path(folder)))
        inputs.prepare([trial.profile for trial in trials], store)
        list(run_trial(trials[0], inputs, store))
        profile = trials[0].profile
        student = inputs.untrained[profile.student]
        with store.student(trials[0].run_key) as path:
            model, hf_model = student.load(path), T5ForConditionalGeneration.from_pretrained(path)
    package: Any = read_student(profile.student)
    tokens = inputs.tokens[profile.student, profile.task, profile.data.source].validation.sources
    sources = tokens.rows(inputs.data_identity(profile.task, profile.data).num_validation, 128)
    texts: dict[str, list[list[list[str]]]] = {}
    rows, ours_s, peers_s = [], [], []

    def ours(setting: Decode) -> float:
        started = time.perf_counter()
        texts.setdefault("ours", []).append(model.generate(student.texts, sources, setting))
        return time.perf_counter() - started

    def peers(setting: Decode) -> float:
        started = time.perf_counter()
        texts.setdefault("peer", []).append(
            in_file_order(hf_model, package.tokenizer, sources, setting)
        )
        return time.perf_counter() - started

    same = True
    for name, setting in zip(names, settings, strict=True):
        texts.clear()
        seconds = in_turn(
            {"ours": lambda: ours(setting), "peer": lambda: peers(setting)},  # noqa: B023
            given.rounds,
        )
        if setting.strategy != "sample":
            same = same and texts["ours"][0] == texts["peer"][0]
        ours_s.append(statistics.median(seconds["ours"]))
        peers_s.append(statistics.median(seconds["peer"]))
        rows.append(
            (
                name,
                len(sources) / ours_s[-1],
                len(sources) / peers_s[-1],
                1 / ratio(seconds, "ours", "peer"),
            )
        )
    promises = [
        Promise("all settings, times as fast", sum(peers_s) / sum(ours_s), LEAST, at_least=True),
        Promise("greedy and beam texts are the same", float(same), 1.0, at_least=True),
    ]
    columns = ("setting", "ours, examples/s", "generate, examples/s", "times as fast")
    return report("decode", columns, rows, promises, {}, given.json)


@torch.inference_mode()
def in_file_order(
    model: Any, tokenizer: Any, sources: Sequence[Ints], settings: Decode
) -> list[list[str]]:
    model.eval()
    config = generation_config(settings, model)
    samples = settings.num_samples if settings.strategy == "sample" else 1
    texts: list[str] = []
    for start in range(0, len(sources), BATCH):
        rows = [row.tolist() for row in sources[start : start + BATCH]]
        batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        answers = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            generation_config=config,
        )
        texts += tokenizer.batch_decode(answers, skip_special_tokens=True)
    return [texts[start : start + samples] for start in range(0, len(texts), samples)]


def generation_config(settings: Decode, model: Any) -> GenerationConfig:
    """Return HF's form of the decode settings, with nothing left to a model's own defaults."""
    config = model.config
    common: dict[str, Any] = {
        "max_new_tokens": settings.max_new_tokens,
        "pad_token_id": config.pad_token_id,
        "eos_token_id": config.eos_token_id,
        "decoder_start_token_id": config.decoder_start_token_id,
    }
    if settings.strategy == "greedy":
        return GenerationConfig(do_sample=False, num_beams=1, **common)
    if settings.strategy == "beam":
        return GenerationConfig(do_sample=False, num_beams=settings.num_beams, **common)
    return GenerationConfig(
        do_sample=True,
        num_beams=1,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        num_return_sequences=settings.num_samples,
        **common,
    )
