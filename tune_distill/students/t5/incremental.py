"""A T5's decoder that writes all answers of a batch one token at a time.

What depends only on the source is computed once per example and shared by its answers: beams and
samples are more queries to the same keys and values, which are never copied or reordered.

Shape suffixes: B examples, W answers an example (beams or samples), N answers (B times W, those of
an example side by side), S source tokens, T new tokens, H heads, D values of a head, K model width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import embedding, pad

from tune_distill.students.t5.batch import joined
from tune_distill.students.t5.kernels import product
from tune_distill.students.t5.layout import Layout
from tune_distill.students.tokens import Ints

if TYPE_CHECKING:
    from tune_distill.students.t5.model import T5

# Sources that the encoder takes at a time, so that its activations fit a CPU's cache.
_ENCODED_AT_ONCE = 32

# Attention looks at a multiple of this many positions and masks future ones, because softmax and
# small products are several times slower on short and odd lengths.
_POSITIONS = 32

_MASKED = float("-inf")


class _Cache:
    """Keys or values (N, H, T, D) of the tokens so far; future positions have arbitrary numbers."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows
        self._spare = rows

    def grow(self) -> None:
        # Zeros, because masked numbers must not be NaN.
        self.rows = pad(self.rows, (0, 0, 0, _POSITIONS))
        self._spare = torch.empty_like(self.rows)

    def select(self, rows_N: torch.Tensor) -> None:
        # Reuse memory, because new memory costs more than the copy.
        chosen = self._spare[: len(rows_N)]
        torch.index_select(self.rows, 0, rows_N, out=chosen)
        self.rows, self._spare = chosen, self.rows


@dataclass
class Answers:
    """The decoder's state: B sources, and W answers under way to each."""

    width: int
    mask_B11S: torch.Tensor
    sources: list[tuple[torch.Tensor, torch.Tensor]]
    """Keys and values (B, H, S, D) of each layer."""
    caches: list[tuple[_Cache, _Cache]]
    bias_HT: torch.Tensor
    """The bias of attention, from the farthest token to the current one, then of masked ones."""
    longest: int
    length: int = 0

    def keep(self, examples_B: torch.Tensor) -> None:
        """Keep only the sources of these examples; `continue_from` selects their answers."""
        self.mask_B11S = self.mask_B11S.index_select(0, examples_B)
        self.sources = [
            (keys.index_select(0, examples_B), values.index_select(0, examples_B))
            for keys, values in self.sources
        ]

    def continue_from(self, rows_N: torch.Tensor) -> None:
        """Continue answer n from the former answer `rows_N[n]`."""
        for keys, values in self.caches:
            keys.select(rows_N)
            values.select(rows_N)


class IncrementalDecoder:
    """The decoder of a T5 with the weights that the model has now."""

    def __init__(self, model: T5) -> None:
        config = model.config
        self._model = model
        self._start_token = config.decoder_start_token_id
        self.pad_token = config.pad_token_id
        self.eos_tokens = torch.tensor(config.eos_token_ids, dtype=torch.long, device=model.device)
        # Cast the weights here instead of at each step.
        dtype = torch.bfloat16 if model.precision == "bf16" else torch.float32
        self._layers = [_Layer(block, config.num_heads, dtype) for block in model.decoder.block]

    def padding(self, *shape: int) -> torch.Tensor:
        """Return padding tokens of this shape."""
        return self.eos_tokens.new_full(shape, self.pad_token)

    def first_tokens(self, num_answers: int) -> torch.Tensor:
        """Return the tokens (N,) that the first step takes for this many answers."""
        return self.eos_tokens.new_full((num_answers,), self._start_token)

    def start(self, sources: Sequence[Ints], width: int, max_new_tokens: int) -> Answers:
        """Return the state of `width` empty answers to each source."""
        layout = Layout.of([len(row) for row in sources], self._model.device)
        states_BSK = self._encode(sources, layout)
        longest = _rounded_up(max_new_tokens)
        rows = len(sources) * width
        bias_HT = self._model.decoder.position_bias(longest)[:, -1]
        mask_BS = torch.where(layout.mask(), 0.0, _MASKED)
        return Answers(
            width,
            mask_BS[:, None, None],
            [layer.source(states_BSK) for layer in self._layers],
            [layer.caches(rows) for layer in self._layers],
            pad(bias_HT, (0, _POSITIONS), value=_MASKED),
            longest,
        )

    def step(
        self, answers: Answers, tokens_N: torch.Tensor, rows_M: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the logits (N, V) of the tokens after `tokens_N`, or (M, V) of some answers."""
        length = answers.length
        start = answers.longest - 1 - length
        bias_HT = answers.bias_HT[:, start : start + _rounded_up(length + 1)]
        x_NK = embedding(tokens_N, self._model.shared.weight)
        for layer, caches, source in zip(
            self._layers, answers.caches, answers.sources, strict=True
        ):
            x_NK += layer.look_back(x_NK, caches, length, bias_HT)
            x_NK += layer.look_at_source(x_NK, source, answers.mask_B11S)
            x_NK += layer.feed_forward(x_NK)
        answers.length += 1
        if rows_M is not None:
            x_NK = x_NK[rows_M]
        return self._model.logits(self._model.decoder.final_layer_norm(x_NK)).float()

    def _encode(self, sources: Sequence[Ints], layout: Layout) -> torch.Tensor:
        """Return the encoder's states (B, S, K), with zeros for padding."""
        parts = [
            sources[at : at + _ENCODED_AT_ONCE] for at in range(0, len(sources), _ENCODED_AT_ONCE)
        ]
        states = []
        for part in parts:
            ids_N, own = joined(part, self._model.device)
            states.append(self._model.encode(ids_N, own)[: len(own.places_M)])
        return layout.pad(torch.cat(states))


class _Layer:
    """One layer; each of its three parts computes what is added to the answers' states."""

    def __init__(self, block: Any, heads: int, dtype: torch.dtype) -> None:
        back, source, forward = block.layer
        self._heads = heads
        self._norms = [part.layer_norm for part in (back, source)]
        self._back, self._source = back.SelfAttention, source.EncDecAttention
        parts = (self._back.q, self._back.k, self._back.v)
        self._qkv = torch.cat([part.weight for part in parts]).to(dtype)
        self._feed_forward = forward

    def source(self, states_BSK: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values (B, H, S, D) of the encoder's states."""
        keys, values = (
            product(states_BSK, part.weight).unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for part in (self._source.k, self._source.v)
        )
        return keys.contiguous(), values.contiguous()

    def caches(self, num_rows: int) -> tuple[_Cache, _Cache]:
        width = len(self._qkv) // 3 // self._heads
        keys, values = self._qkv.new_zeros(2, num_rows, self._heads, 0, width)
        return _Cache(keys), _Cache(values)

    def look_back(
        self, x_NK: torch.Tensor, caches: tuple[_Cache, _Cache], at: int, bias_HT: torch.Tensor
    ) -> torch.Tensor:
        """Return each answer's attention to its own tokens; `x_NK` is the one at position `at`."""
        rows, heads = len(x_NK), self._heads
        query, key, value = product(self._norms[0](x_NK), self._qkv).chunk(3, -1)
        for cache, new in zip(caches, (key, value), strict=True):
            if at == cache.rows.shape[2]:
                cache.grow()
            cache.rows[:, :, at] = new.view(rows, heads, -1)
        keys, values = (cache.rows.flatten(0, 1) for cache in caches)
        scores = torch.bmm(query.reshape(rows * heads, 1, -1), keys.transpose(1, 2)).float()
        scores.view(rows, heads, -1).add_(bias_HT)
        mixed = torch.bmm(scores.softmax(-1), values)
        return product(mixed.view(rows, -1), self._back.o.weight)

    def look_at_source(
        self,
        x_NK: torch.Tensor,
        source: tuple[torch.Tensor, torch.Tensor],
        mask_B11S: torch.Tensor,
    ) -> torch.Tensor:
        """Return the answers' attention to their sources, for all answers to an example at once."""
        keys_BHSD, values_BHSD = source
        shape_BWHD = len(mask_B11S), -1, self._heads, keys_BHSD.shape[-1]
        query_NK = product(self._norms[1](x_NK), self._source.q.weight)
        scores = query_NK.view(shape_BWHD).transpose(1, 2) @ keys_BHSD.transpose(2, 3)
        mixed = scores.float().add_(mask_B11S).softmax(-1) @ values_BHSD
        return product(mixed.transpose(1, 2).reshape(len(x_NK), -1), self._source.o.weight)

    def feed_forward(self, x_NK: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._feed_forward(x_NK)
        return result


def _rounded_up(length: int) -> int:
    return -(-length // _POSITIONS) * _POSITIONS
