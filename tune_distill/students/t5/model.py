"""A lean T5 with HF's weights under HF's names and only arithmetic in a pass.

HF's own model serves every use: a small student spends more time in its bookkeeping than in its
products, and seconds in its import. Students are read and written in HF's format; this module
computes them. With the same dropout masks, losses and gradients equal HF's up to the order of sums.

Source: Raffel et al. 2020, as in transformers' modeling_t5.

Shape suffixes: B rows, L tokens of the longest row, N and M the tokens of all rows (see Layout), T
tokens of targets if N are those of sources, Q and K query and key tokens, H heads, D model
dimensions, E dimensions of a head, G rows times heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import embedding

from tune_distill.spec.profile import Decode
from tune_distill.students.model import Model, Spell
from tune_distill.students.precision import products_in
from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.t5.batch import collate
from tune_distill.students.t5.decoding import answer
from tune_distill.students.t5.kernels import product
from tune_distill.students.t5.layers import Block, Matrix, Norm
from tune_distill.students.t5.layout import Layout
from tune_distill.students.tokens import Ints, Pairs


class T5(Model):
    """An encoder and a decoder that share one table of embeddings."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.config = config
        self.shared = Matrix(config.vocab_size, config.d_model)
        self.encoder = Stack(config, config.num_layers, is_decoder=False)
        self.decoder = Stack(config, config.num_decoder_layers, is_decoder=True)
        self.lm_head = Matrix(config.vocab_size, config.d_model)
        if config.tied_head:
            self.lm_head.weight = self.shared.weight

    @classmethod
    def of(cls, config: Architecture, weights: Mapping[str, torch.Tensor]) -> T5:
        """Return a T5 that owns these tensors, which have HF's names.

        Raises:
            ValueError: a tensor is missing, superfluous or of another shape.
        """
        model = cls(config)
        if model.shapes() != {name: value.shape for name, value in weights.items()}:
            raise ValueError("its weights are not those of its configuration")
        model.load_state_dict(dict(weights), strict=False, assign=True)
        if config.tied_head:
            model.lm_head.weight = model.shared.weight
        return model.requires_grad_()

    def shapes(self) -> dict[str, torch.Size]:
        """Return the shape of each weight, with HF's names and order."""
        return {name: value.shape for name, value in self.named_parameters()}

    def forward(
        self,
        source_ids_N: torch.Tensor,
        sources: Layout,
        target_ids_T: torch.Tensor,
        targets: Layout,
    ) -> torch.Tensor:
        """Return the decoder's output for each target token, (T, D): see `logits`.

        `target_ids_T` are the decoder's inputs: the targets, shifted right by one token.
        """
        # One look-up for both, because the gradient of each is as large as the table.
        both = torch.cat([source_ids_N, target_ids_T])
        embedded_ND, embedded_TD = embedding(both, self.shared.weight).split(
            [len(source_ids_N), len(target_ids_T)]
        )
        encoded_ND = self.encoder(embedded_ND, sources, self.encoder.bias(sources))
        hidden_TD: torch.Tensor = self.decoder(
            embedded_TD,
            targets,
            self.decoder.bias(targets),
            self.decoder.keys_values(encoded_ND, sources),
            self.decoder.hidden(sources),
        )
        return hidden_TD

    def label_logits(self, pairs: Pairs, indices: Sequence[int]) -> torch.Tensor:
        batch = collate(pairs, indices, self.config.decoder_start_token_id, self.device)
        with products_in(self.precision, self.device):
            hidden_ND = self(batch.source_ids_N, batch.sources, batch.decoder_ids_N, batch.targets)
            logits_NV = self.logits(hidden_ND)[: len(batch.targets.places_M)]
        return logits_NV.float()

    def generate(self, spell: Spell, sources: Sequence[Ints], decode: Decode) -> list[list[str]]:
        return answer(self, spell, sources, decode)

    def encode(self, source_ids_N: torch.Tensor, sources: Layout) -> torch.Tensor:
        """Return the encoder's output for the sources, (N, D)."""
        encoded_ND: torch.Tensor = self.encoder(
            embedding(source_ids_N, self.shared.weight), sources, self.encoder.bias(sources)
        )
        return encoded_ND

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Return the scores of every token of the vocabulary, (N, V)."""
        if self.config.scale_decoder_outputs:
            hidden_ND = hidden_ND * self.config.d_model**-0.5
        return product(hidden_ND, self.lm_head.weight)


class Stack(nn.Module):
    """The blocks of the encoder or of the decoder; the first holds the position biases of all."""

    block: Any  # a ModuleList, whose members torch does not type

    def __init__(self, config: Architecture, num_layers: int, *, is_decoder: bool) -> None:
        super().__init__()
        self.config, self.is_decoder = config, is_decoder
        self.block = nn.ModuleList(
            Block(config, is_decoder=is_decoder, has_bias=index == 0) for index in range(num_layers)
        )
        self.final_layer_norm = Norm(config)

    def forward(
        self,
        x_ND: torch.Tensor,
        layout: Layout,
        bias_GQK: torch.Tensor,
        keys_values: list[tuple[torch.Tensor, torch.Tensor]] | None = None,
        hidden_G1K: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the output (N, D); a decoder also takes its layers' keys and values of sources."""

        def dropped(x: torch.Tensor) -> torch.Tensor:
            return layout.dropout(x, self.config.dropout_rate, self.training)

        x = dropped(x_ND)
        for index, block in enumerate(self.block):
            x = x + dropped(block.layer[0](x, layout, bias_GQK))
            if keys_values is not None:
                x = x + dropped(block.layer[1](x, layout, keys_values[index], hidden_G1K))
            x = x + dropped(block.layer[-1](x, layout))
        return dropped(self.final_layer_norm(x))

    def bias(self, layout: Layout) -> torch.Tensor:
        """Return what self-attention adds to its scores, (G, L, L).

        It depends on the distance, and masks padding and, in a decoder, later tokens.
        """
        length = layout.longest
        by_distance_HLL = self.position_bias(length)
        seen_BLL = layout.mask()[:, None, :]
        if self.is_decoder:
            seen_BLL = seen_BLL & seen_BLL.new_ones(length, length).tril()
        lowest = torch.finfo(by_distance_HLL.dtype).min
        bias_BHLL = torch.where(seen_BLL[:, None], by_distance_HLL, lowest)
        return bias_BHLL.reshape(-1, length, length)

    def position_bias(self, length: int) -> torch.Tensor:
        """Return the heads' learnt biases by distance, (H, length, length)."""
        table = self.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        places = torch.arange(length, device=table.device)
        buckets = _buckets(places[None, :] - places[:, None], self.config, self.is_decoder)
        return embedding(buckets, table).permute(2, 0, 1)

    def hidden(self, layout: Layout) -> torch.Tensor:
        """Return what cross-attention adds to its scores, (G, 1, K), to mask padding."""
        seen_BK = layout.mask()
        hidden_BK = torch.zeros(seen_BK.shape, device=seen_BK.device)
        hidden_BK = hidden_BK.masked_fill(~seen_BK, torch.finfo(torch.float32).min)
        return hidden_BK.repeat_interleave(self.config.num_heads, 0)[:, None]

    def keys_values(
        self, encoded_ND: torch.Tensor, layout: Layout
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return each layer's keys and values of the sources, (G, S, E) each."""
        looks = [block.layer[1].EncDecAttention for block in self.block]
        weight = torch.cat([part.weight for look in looks for part in (look.k, look.v)])
        parts = looks[0].split_heads(product(encoded_ND, weight), 2 * len(looks), layout)
        return [(parts[index], parts[index + 1]) for index in range(0, len(parts), 2)]


def _buckets(distance: torch.Tensor, config: Architecture, is_decoder: bool) -> torch.Tensor:
    """Return the bucket of each distance from the query token.

    Short distances have a bucket each; longer ones share ever wider buckets, up to the largest.
    Each direction has half of the buckets; a decoder, which looks only back, uses all of them.
    """
    count = config.relative_attention_num_buckets
    if is_decoder:
        start, back = torch.zeros_like(distance), (-distance).clamp(min=0)
    else:
        count //= 2
        start, back = (distance > 0) * count, distance.abs()
    exact = count // 2
    wide = torch.log(back.float() / exact) / math.log(
        config.relative_attention_max_distance / exact
    )
    far = (exact + wide * (count - exact)).clamp(max=count - 1).long()
    return start + torch.where(back < exact, back, far)
