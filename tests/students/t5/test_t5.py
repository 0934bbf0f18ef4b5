"""A T5 of every kind computes what HF's computes: logits, gradients and dropout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.students.random_t5 import ours
from tune_distill.spec.errors import StudentError
from tune_distill.students.mini import mini_student
from tune_distill.students.t5.architecture import ACTIVATIONS, Architecture
from tune_distill.students.t5.layout import Layout
from tune_distill.students.t5.model import T5

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "d_model": 24,
    "d_kv": 10,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "decoder_start_token_id": 0,
}


def hf_t5(**fields: Any) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    return T5ForConditionalGeneration(T5Config(**SMALL | fields))


def untie(model: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """Give the model a separate head, as newer T5s have, and return it."""
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight))
    return model


KINDS = {
    "first": lambda: hf_t5(feed_forward_proj="relu"),
    "gated": lambda: hf_t5(feed_forward_proj="gated-gelu"),
    "silu": lambda: hf_t5(feed_forward_proj="gated-silu"),
    "gelu": lambda: hf_t5(feed_forward_proj="gelu"),
    "untied": lambda: untie(hf_t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "near": lambda: hf_t5(relative_attention_num_buckets=8, relative_attention_max_distance=9),
    "mini": mini_student,
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_gradients_and_dropout_are_hf_s(kind: str, training: bool) -> None:
    theirs = KINDS[kind]().train(training)
    model = ours(theirs).train(training)
    torch.manual_seed(1)
    lengths, target_lengths = [21, 15, 3, 21, 1], [13, 2, 13, 1, 7]
    ids_BS, decoder_ids_BT = torch.randint(3, 50, (5, 21)), torch.randint(3, 50, (5, 13))
    mask_BS = (torch.arange(21) < torch.tensor(lengths)[:, None]).long()
    sources, targets = (Layout.of(each, ids_BS.device) for each in (lengths, target_lengths))
    ids_N, decoder_ids_N = (
        layout.unpad(ids[:, :, None])[:, 0]
        for layout, ids in ((sources, ids_BS), (targets, decoder_ids_BT))
    )
    torch.manual_seed(2)
    expected = theirs(
        input_ids=ids_BS,
        attention_mask=mask_BS,
        decoder_input_ids=decoder_ids_BT,
        use_cache=False,
    ).logits
    torch.manual_seed(2)
    logits = model.logits(model(ids_N, sources, decoder_ids_N, targets))
    expected = expected.flatten(0, 1)[targets.places_M]
    logits = logits[: len(expected)]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    # Both have drawn the same number of random numbers.
    drawn = torch.rand(1)
    torch.manual_seed(2)
    theirs(input_ids=ids_BS, attention_mask=mask_BS, decoder_input_ids=decoder_ids_BT)
    assert torch.equal(torch.rand(1), drawn)
    expected.log_softmax(-1)[..., 7].sum().backward()
    logits.log_softmax(-1)[..., 7].sum().backward()
    gradients = {name: value.grad for name, value in theirs.named_parameters()}
    for name, value in model.named_parameters():
        assert value.grad is not None
        scale = float(gradients[name].abs().max())
        torch.testing.assert_close(
            value.grad, gradients[name], rtol=1e-3, atol=1e-4 * scale, msg=name
        )


def test_the_encoder_alone_is_hf_s() -> None:
    theirs = hf_t5().eval()
    ids_BS, mask_BS = torch.randint(3, 50, (2, 9)), torch.ones(2, 9, dtype=torch.long)
    expected = theirs.encoder(input_ids=ids_BS, attention_mask=mask_BS).last_hidden_state
    layout = Layout.of([9, 9], ids_BS.device)
    found = ours(theirs).eval().encode(layout.unpad(ids_BS[:, :, None])[:, 0], layout)
    torch.testing.assert_close(found[:18], expected.flatten(0, 1))


def test_parameters_have_hf_s_names_in_hf_s_order() -> None:
    for kind in KINDS.values():
        theirs = kind()
        assert [name for name, _ in ours(theirs).named_parameters()] == [
            name for name, _ in theirs.named_parameters()
        ]


def test_weights_of_another_model_are_refused() -> None:
    theirs = hf_t5()
    architecture = Architecture.of(theirs.config, tied_head=True)
    weights = {name: value.detach() for name, value in theirs.named_parameters()}
    for spoilt in (
        {name: value for name, value in weights.items() if name != "shared.weight"},
        weights | {"lm_head.weight": torch.zeros(50, 24)},
        weights | {"shared.weight": torch.zeros(51, 24)},
    ):
        with pytest.raises(ValueError, match="not those of its configuration"):
            T5.of(architecture, spoilt)


def test_an_activation_that_is_none_of_ours_is_refused() -> None:
    config = T5Config(**SMALL, feed_forward_proj="gated-tanh")
    with pytest.raises(StudentError, match=rf"one of {', '.join(ACTIVATIONS)}.*got 'gated-tanh'"):
        Architecture.of(config, tied_head=True)
