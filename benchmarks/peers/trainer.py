"""HF's Seq2SeqTrainer in a Ray Tune function trainable.

It has dynamic padding, fused AdamW, one CPU a trial and reused workers.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

from ray import tune

from benchmarks.peers.common import (
    SEED,
    SMOOTHINGS,
    Task,
    metrics,
    simulator_of,
    sources,
    targets,
    task_of,
)


def main() -> int:
    task, given = task_of()
    strategy = "group_by_length" if given.group_by_length else "random"
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(train_model, task=task, strategy=strategy), {"cpu": 1}
            ),
            param_space={"smoothing": tune.grid_search(list(SMOOTHINGS))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, name="peer", verbose=0),
        ).fit()
    for result in results:
        print(result.config, result.metrics, flush=True)
    return int(any(result.error for result in results))


def train_model(config: dict[str, Any], task: Task, strategy: str) -> None:
    from transformers import T5ForConditionalGeneration

    model = T5ForConditionalGeneration.from_pretrained(task.student)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(task, model, config["smoothing"], strategy, folder)
        trainer.train()
        trainer.args.predict_with_generate = True
        out = trainer.predict(trainer.eval_dataset, max_new_tokens=task.max_new_tokens).predictions
    tokenizer = trainer.processing_class
    out[out == -100] = tokenizer.pad_token_id
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    tune.report(metrics(task, texts, simulator_of(task)))


def make_trainer(task: Task, model: Any, smoothing: float, strategy: str, folder: str) -> Any:
    """Return a Seq2SeqTrainer at its defaults, with the notebook's settings."""
    from transformers import (
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(task.student)
    return Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(
            output_dir=folder,
            num_train_epochs=task.num_epochs,
            per_device_train_batch_size=task.batch_size,
            per_device_eval_batch_size=task.batch_size,
            learning_rate=task.learning_rate,
            label_smoothing_factor=smoothing,
            eval_strategy="steps",
            eval_steps=task.eval_steps,
            logging_steps=task.logging_steps,
            save_strategy="no",
            train_sampling_strategy=strategy,
            seed=SEED,
            disable_tqdm=True,
        ),
        train_dataset=encoded(task, tokenizer, task.train),
        eval_dataset=encoded(task, tokenizer, task.validation),
        data_collator=DataCollatorForSeq2Seq(tokenizer, model),
        processing_class=tokenizer,
    )


def encoded(task: Task, tokenizer: Any, examples: Any) -> list[dict[str, Any]]:
    """Return rows of ids, truncated but not padded: the collator pads each batch."""

    def ids(texts: list[str], length: int) -> list[list[int]]:
        marked = [text + tokenizer.eos_token for text in texts]
        found: list[list[int]] = tokenizer(marked, max_length=length, truncation=True)["input_ids"]
        return found

    source = ids(sources(examples), task.max_source_length)
    target = ids(targets(examples), task.max_target_length)
    return [
        {"input_ids": row, "attention_mask": [1] * len(row), "labels": labels}
        for row, labels in zip(source, target, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())
