"""The notebook's loop: all texts are padded to the maximum, and each setting has a fresh model.

Settings run one after the other in one process, with torch's defaults: AdamW updates one tensor at
a time, and all threads of the machine are used.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import AutoTokenizer, T5ForConditionalGeneration

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
    task, _ = task_of()
    tokenizer = AutoTokenizer.from_pretrained(task.student)
    train = DataLoader(encoded(task, tokenizer, task.train), task.batch_size, shuffle=True)
    validation = DataLoader(encoded(task, tokenizer, task.validation), task.batch_size)
    simulator = simulator_of(task)
    for smoothing in SMOOTHINGS:
        torch.manual_seed(SEED)
        model = T5ForConditionalGeneration.from_pretrained(task.student)
        train_model(task, model, train, validation, smoothing)
        texts = answers(task, model, tokenizer, validation)
        print(smoothing, metrics(task, texts, simulator), flush=True)
    return 0


def encoded(task: Task, tokenizer: Any, examples: Any) -> TensorDataset:
    """Return sources, masks and labels, all padded to the maximum."""

    def padded(texts: list[str], length: int) -> Any:
        return tokenizer(
            [text + tokenizer.eos_token for text in texts],
            max_length=length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )

    source = padded(sources(examples), task.max_source_length)
    target = padded(targets(examples), task.max_target_length)
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, -100)
    return TensorDataset(source["input_ids"], source["attention_mask"], labels)


def train_model(
    task: Task, model: Any, train: DataLoader, validation: DataLoader, smoothing: float
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=task.learning_rate)
    total = task.num_epochs * len(train)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    step = 0
    for _ in range(task.num_epochs):
        for batch in train:
            model.train()
            train_step(model, batch, optimizer, smoothing)
            schedule.step()
            step += 1
            if step % task.eval_steps == 0:
                evaluation_loss(model, validation)


def train_step(model: Any, batch: Any, optimizer: Any, smoothing: float) -> float:
    optimizer.zero_grad()
    loss = batch_loss(model, batch, smoothing)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def batch_loss(model: Any, batch: Any, smoothing: float = 0.0) -> torch.Tensor:
    ids, mask, labels = batch
    logits = model(input_ids=ids, attention_mask=mask, labels=labels).logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing
    )


@torch.no_grad()
def evaluation_loss(model: Any, validation: DataLoader) -> float:
    model.eval()
    return sum(batch_loss(model, batch).item() for batch in validation) / len(validation)


@torch.no_grad()
def answers(task: Task, model: Any, tokenizer: Any, validation: DataLoader) -> list[str]:
    """Return greedy answers in file order."""
    model.eval()
    texts: list[str] = []
    for ids, mask, _ in validation:
        out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=task.max_new_tokens)
        texts += tokenizer.batch_decode(out, skip_special_tokens=True)
    return texts


if __name__ == "__main__":
    sys.exit(main())
