"""Beam search as HF's `generate` does it: length penalty 1, no early stopping.

Shape suffixes: B examples, W beams, C candidates (the likeliest continuations of an example's
beams, at least 2 W), T tokens so far, L tokens at most, V vocabulary, N beams of all examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tune_distill.students.t5.incremental import Answers, IncrementalDecoder

# The score of a beam that does not exist or of an answer not found yet; no answer scores so low.
_NONE = -1.0e9


def beam_search(decoder: IncrementalDecoder, answers: Answers, best_BL: torch.Tensor) -> None:
    """Write each example's best answer to the beginning of its row of `best_BL`."""
    num_examples, longest = best_BL.shape
    width = answers.width
    search = _Search.of(decoder.first_tokens(num_examples * width).view(num_examples, width))
    for length in range(1, longest + 1):
        logits_NV = decoder.step(answers, search.running_BWT[:, :, -1].flatten())
        found = search.candidates(logits_NV, decoder.eos_tokens)
        if length == longest:
            found.ended_BC[:] = True
        search.finish(found, best_BL)
        parents_BW = search.go_on(found)
        open_B = search.can_improve()
        stay_B = open_B.nonzero()[:, 0]
        if length == longest or not len(stay_B):
            return
        if len(stay_B) < len(open_B):
            answers.keep(stay_B)
            search.keep(stay_B)
            parents_BW = parents_BW[stay_B]
        answers.continue_from((stay_B[:, None] * width + parents_BW).flatten())


@dataclass
class _Candidates:
    """The possible next beams of each example, the likeliest first."""

    log_probs_BC: torch.Tensor
    parents_BC: torch.Tensor
    tokens_BC: torch.Tensor
    ended_BC: torch.Tensor


@dataclass
class _Search:
    """The examples that are still searched, each with its beams and its complete answers."""

    examples_B: torch.Tensor
    running_BWT: torch.Tensor
    """The beams' tokens; the first one only starts the decoder."""
    log_probs_BW: torch.Tensor
    finished_BW: torch.Tensor
    """Log-probability per token of the best complete answers, best first."""

    @classmethod
    def of(cls, first_BW: torch.Tensor) -> _Search:
        finished_BW = torch.full_like(first_BW, _NONE, dtype=torch.float32)
        # At first all beams are equal, so only one of them counts.
        log_probs_BW = finished_BW.clone()
        log_probs_BW[:, 0] = 0.0
        examples_B = torch.arange(len(first_BW), device=first_BW.device)
        return cls(examples_B, first_BW[:, :, None], log_probs_BW, finished_BW)

    def candidates(self, logits_NV: torch.Tensor, eos_tokens: torch.Tensor) -> _Candidates:
        num_examples, width = self.log_probs_BW.shape
        log_probs_BWV = torch.log_softmax(logits_NV, -1).view(num_examples, width, -1)
        log_probs_BWV += self.log_probs_BW[:, :, None]
        # Enough that W candidates are open even if each beam ends with every end token.
        num_candidates = max(2, 1 + len(eos_tokens)) * width
        log_probs_BC, chosen_BC = log_probs_BWV.flatten(1).topk(num_candidates)
        num_tokens = logits_NV.shape[-1]
        tokens_BC = chosen_BC % num_tokens
        ended_BC = torch.isin(tokens_BC, eos_tokens)
        return _Candidates(log_probs_BC, chosen_BC // num_tokens, tokens_BC, ended_BC)

    def finish(self, found: _Candidates, best_BL: torch.Tensor) -> None:
        """Add the candidates that ended to the complete answers if they are good enough."""
        # Only candidates count that would be beams if they had not ended.
        width, length = self.finished_BW.shape[1], self.running_BWT.shape[-1]
        scores_BW = torch.where(found.ended_BC, found.log_probs_BC / length, _NONE)[:, :width]
        self.finished_BW, places_BW = torch.cat((self.finished_BW, scores_BW), 1).topk(width)
        # Only the best answer's tokens are kept; the others need only their scores.
        better_B = (places_BW[:, 0] >= width).nonzero()[:, 0]
        if len(better_B):
            which_B = places_BW[better_B, 0] - width
            parents_B = found.parents_BC[better_B, which_B]
            best_BL[self.examples_B[better_B], : length - 1] = self.running_BWT[
                better_B, parents_B, 1:
            ]
            best_BL[self.examples_B[better_B], length - 1] = found.tokens_BC[better_B, which_B]

    def go_on(self, found: _Candidates) -> torch.Tensor:
        """Make the likeliest open candidates the beams; return the number of each one's parent."""
        open_BC = found.log_probs_BC + found.ended_BC * _NONE
        self.log_probs_BW, order_BW = open_BC.topk(self.log_probs_BW.shape[1])
        parents_BW = found.parents_BC.gather(1, order_BW)
        tokens_BW1 = found.tokens_BC.gather(1, order_BW)[:, :, None]
        index_BWT = parents_BW[:, :, None].expand_as(self.running_BWT)
        self.running_BWT = torch.cat((self.running_BWT.gather(1, index_BWT), tokens_BW1), -1)
        return parents_BW

    def can_improve(self) -> torch.Tensor:
        """Return for each example whether its best beam would be good enough if it ended now."""
        length = self.running_BWT.shape[-1] - 1
        return self.log_probs_BW[:, 0] / length > self.finished_BW.amin(1)

    def keep(self, stay_B: torch.Tensor) -> None:
        self.examples_B, self.running_BWT = self.examples_B[stay_B], self.running_BWT[stay_B]
        self.log_probs_BW, self.finished_BW = self.log_probs_BW[stay_B], self.finished_BW[stay_B]
