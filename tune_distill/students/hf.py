"""Students that transformers computes: any of its seq2seq models. Kind `t5` is tested against them.

Such a student trains with the module that `from_pretrained` makes, and answers with `generate`. Its
generation_config.json holds unless the decode section says otherwise. A T5 is several times faster
as kind `t5`, with the same losses and answers.

Shape suffixes: B examples in a batch, N answers (those to one example are adjacent), S source
tokens, T target tokens, M labels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor, LogitsProcessorList

from tune_distill.records.refusals import plain_os_errors
from tune_distill.spec.profile import Decode
from tune_distill.students.batches import length_sorted
from tune_distill.students.folder import trained_student_errors
from tune_distill.students.model import Model, Spell, samples_per_example
from tune_distill.students.precision import exact_products, products_in
from tune_distill.students.quiet import quiet_transformers
from tune_distill.students.sampling import draw, uniforms
from tune_distill.students.spelling import Spelling
from tune_distill.students.tokens import Ints, Pairs

ATTENTION = "eager"
"""The implementation of attention; others may add in another order from call to call."""

# Answers that are generated at a time.
_SEQUENCES = 64


class HfModel(Model):
    """A seq2seq model of transformers."""

    def __init__(self, hf: Any) -> None:
        super().__init__()
        self.hf = hf

    def label_logits(self, pairs: Pairs, indices: Sequence[int]) -> torch.Tensor:
        late = pairs.late_targets(indices, self.hf.generation_config.decoder_start_token_id)
        source_ids_BS, source_mask_BS = self._padded([pairs.sources[index] for index in indices])
        decoder_ids_BT, is_label_BT = self._padded(late)
        with products_in(self.precision, self.device):
            logits_BTV: torch.Tensor = self.hf(
                input_ids=source_ids_BS,
                attention_mask=source_mask_BS,
                decoder_input_ids=decoder_ids_BT,
                use_cache=False,
            ).logits
        return logits_BTV[is_label_BT].float()

    @exact_products()
    @torch.inference_mode()
    def generate(self, spell: Spell, sources: Sequence[Ints], decode: Decode) -> list[list[str]]:
        self.eval()
        texts: list[list[str]] = [[] for _ in sources]
        samples = samples_per_example(decode)
        width = decode.num_beams if decode.strategy == "beam" else samples
        with products_in(self.precision, self.device), quiet_transformers():
            for indices in length_sorted([*map(len, sources)], max(1, _SEQUENCES // width)):
                batch = [sources[index] for index in indices]
                answers = self._answers(batch, samples, decode)
                for at, index in enumerate(indices):
                    texts[index] = spell(answers[at * samples : (at + 1) * samples])
        return texts

    def _answers(self, sources: Sequence[Ints], samples: int, decode: Decode) -> list[list[int]]:
        """Return the tokens of the answers to a batch; those to one source are adjacent."""
        if decode.strategy != "sample":
            return self._generated(sources, LogitsProcessorList(), decode)
        rows = [row for row in sources for _ in range(samples)]
        numbers_NL = torch.cat([uniforms(row, samples, decode.max_new_tokens) for row in sources])
        answers = []
        for start in range(0, len(rows), _SEQUENCES):
            part = slice(start, start + _SEQUENCES)
            drawn = _Drawn(numbers_NL[part].to(self.device), decode)
            answers += self._generated(rows[part], LogitsProcessorList([drawn]), decode)
        return answers

    def _generated(
        self, sources: Sequence[Ints], processors: LogitsProcessorList, decode: Decode
    ) -> list[list[int]]:
        """Return the tokens of one answer to each source."""
        source_ids_NS, source_mask_NS = self._padded(sources)
        config = deepcopy(self.hf.generation_config)
        config.update(
            do_sample=False,  # `_Drawn` samples instead
            num_beams=decode.num_beams if decode.strategy == "beam" else 1,
            num_return_sequences=1,
            max_length=None,
            max_new_tokens=decode.max_new_tokens,
            return_dict_in_generate=False,
        )
        answers_NL = self.hf.generate(
            input_ids=source_ids_NS,
            attention_mask=source_mask_NS,
            generation_config=config,
            logits_processor=processors,
        )
        # The first token only starts the decoder.
        tokens: list[list[int]] = answers_NL[:, 1:].tolist()
        return tokens

    def _padded(self, rows: Sequence[Ints]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows' ids padded at their ends, int64 (B, S), and a mask: False at padding."""
        pad_token = self.hf.generation_config.pad_token_id
        ids = [torch.from_numpy(row.astype(np.int64)) for row in rows]
        present = [torch.ones(len(row), dtype=torch.bool) for row in rows]
        return (
            pad_sequence(ids, batch_first=True, padding_value=pad_token).to(self.device),
            pad_sequence(present, batch_first=True).to(self.device),
        )


def load_hf(model_class: Any, folder: Path | None, **given: Any) -> Any:
    """Load the float32 model of a folder, or of `config` and `state_dict`, with from_pretrained.

    Raises:
        ValueError: a weight is missing, not finite, or of another shape.
    """
    with quiet_transformers():
        hf, told = model_class.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            local_files_only=True,
            output_loading_info=True,
            **given,
        )
    if missing := sorted(told["missing_keys"]):
        raise ValueError(f"it has no weights for {missing[0]} and {len(missing) - 1} more")
    for name, value in hf.state_dict().items():
        if not value.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite numbers")
    return hf


class _Drawn(LogitsProcessor):
    """Makes `generate` choose the token that the source's own random numbers draw."""

    def __init__(self, numbers_NL: torch.Tensor, decode: Decode) -> None:
        self._numbers_NL, self._decode = numbers_NL, decode

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        at = input_ids.shape[1] - 1
        tokens_N = draw(scores.clone(), self._numbers_NL[:, at], self._decode)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens_N[:, None], 0.0)


@dataclass(frozen=True)
class UntrainedHf:
    """A model's class, configurations and weights, and its tokenizer's files.

    `weights` are its parameters and persistent buffers, with tied ones stored once. `names` maps
    each of their names to its name in `weights`.
    """

    model_class: Any
    config: Any
    generation_config: Any
    weights: dict[str, NDArray[Any]]
    names: dict[str, str]
    spelling: Spelling

    @classmethod
    def of(cls, hf: Any, spelling: Spelling) -> UntrainedHf:
        """Return the parts of a model of transformers.

        Raises:
            ValueError: the model's configuration describes another model.
        """
        kept: dict[str, NDArray[Any]] = {}
        names: dict[str, str] = {}
        first: dict[Any, str] = {}
        for name, value in hf.state_dict().items():
            names[name] = first.setdefault((value.data_ptr(), value.shape), name)
            kept.setdefault(names[name], value.numpy())
        made = cls(type(hf), hf.config, hf.generation_config, kept, names, spelling)
        if not made._is_as(hf):
            # from_pretrained does not tie tables that differ, whatever the configuration says.
            hf.config.tie_word_embeddings = False
            if not made._is_as(hf):
                raise ValueError("its configuration ties weights that differ in its files")
        return made

    @property
    def num_positions(self) -> int | None:
        """The smallest limit of positions that the configuration names; None if it names none."""
        names = (f"max_{part}position_embeddings" for part in ("", "encoder_", "decoder_"))
        found = [getattr(self.config, name, None) for name in names]
        return min((number for number in found if isinstance(number, int)), default=None)

    def _is_as(self, hf: Any) -> bool:
        ours, theirs = self.model().hf.state_dict(), hf.state_dict()
        return all(torch.equal(ours[name], value) for name, value in theirs.items())

    def model(self) -> HfModel:
        """Return a model to train, in float32 on the CPU."""
        # Building the model draws first weights; the trial's random numbers must not depend on it.
        with torch.random.fork_rng(devices=[]):
            hf = self.model_class(deepcopy(self.config))
        hf.generation_config = deepcopy(self.generation_config)
        # load_state_dict copies the arrays: all workers of a node share them in the object store.
        tensors = {name: torch.tensor(self.weights[kept]) for name, kept in self.names.items()}
        hf.load_state_dict(tensors)
        return HfModel(hf.train())

    def save(self, folder: Path, model: Model) -> None:
        """Write the trained student into `folder` with save_pretrained."""
        assert isinstance(model, HfModel)
        with plain_os_errors(), quiet_transformers():
            model.hf.save_pretrained(folder, max_shard_size="1000GB")
            self.spelling.save(folder)

    def load(self, folder: Path) -> HfModel:
        """Return the trained student that `save` wrote.

        Raises:
            StudentError: its weights are missing or damaged.
        """
        with trained_student_errors(folder):
            return HfModel(load_hf(self.model_class, folder))

    def texts(self, answers: list[list[int]]) -> list[str]:
        """Return the texts of the answers' tokens, without special tokens."""
        return self.spelling.texts(answers)
