import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizer, T5Config, T5Model

from tune_distill.spec.errors import MetricError
from tune_distill.training import bertscore as module
from tune_distill.training.bertscore import bertscore
from tune_distill.training.encoders import Encoder, read_encoder

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a man dog is are not sleeping running outside ."
VOCABULARY = WORDS.split()

EXPLANATIONS = [
    "the man is running",
    "a dog",
    "the zebra is a man",
    "man man man . the",
    "dog",
]
REFERENCES = [
    ["a man is running outside", "the dog"],
    ["the dog is sleeping .", "not a dog"],
    ["the unicorn is a dog"],
    ["dog are the", "the . man"],
    ["the dog is not running outside , the dog is not sleeping outside ."],
]
# Scores by the package bert-score 0.3.13 on the model below: score(EXPLANATIONS, REFERENCES,
# model_type=model, num_layers=2), with model_max_length set in the tokeniser.
FROM_BERT_SCORE = [0.93263, 0.915191, 0.984918, 0.968025, 0.562117]


def save_tiny_bert(path: Path) -> str:
    """Save a two-layer BERT whose weights come from a formula instead of a random generator."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    model = BertModel(config)
    with torch.no_grad():
        # Biases and layer norms start as constants.
        for seed, matrix in enumerate(p for p in model.parameters() if p.dim() == 2):
            steps = torch.arange(matrix.numel(), dtype=torch.float64)
            matrix.copy_(torch.sin((1.7 + seed) * steps**1.3).view_as(matrix))
    model.save_pretrained(path)
    save_tokenizer(path)
    return str(path)


def save_tokenizer(path: Path) -> None:
    BertTokenizer(vocab={word: row for row, word in enumerate(VOCABULARY)}).save_pretrained(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return read_encoder(save_tiny_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture
def own_model(model: Encoder, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(model.source, tmp_path / "bert"))


def test_it_is_what_the_authors_package_gives(model):
    assert bertscore(EXPLANATIONS, REFERENCES, model) == pytest.approx(FROM_BERT_SCORE, abs=1e-5)


def test_the_best_reference_counts(model):
    for explanation, references in zip(EXPLANATIONS, REFERENCES, strict=True):
        each = [bertscore([explanation], [[text]], model)[0] for text in references]
        assert bertscore([explanation], [references], model) == pytest.approx([max(each)], abs=1e-5)


def test_a_text_is_as_similar_to_itself_as_can_be(model):
    same = bertscore(EXPLANATIONS, [[text, "the"] for text in EXPLANATIONS], model)
    assert same == pytest.approx([1.0] * len(EXPLANATIONS), abs=1e-5)
    assert bertscore(["the man"], [["not outside ."]], model)[0] < 0.99


def test_an_empty_text_scores_zero(model):
    assert bertscore(["", " ", "the man"], [["the man"], ["a"], [""]], model) == [0.0, 0.0, 0.0]


def test_no_score_depends_on_its_company(model, monkeypatch):
    together = bertscore(EXPLANATIONS, REFERENCES, model)
    monkeypatch.setattr(module, "BATCH_SIZE", 1)
    monkeypatch.setattr(module, "CHUNK_SIZE", 2)
    assert bertscore(EXPLANATIONS, REFERENCES, model) == pytest.approx(together, abs=1e-5)


def test_a_text_beyond_the_models_positions_is_cut(model):
    # 22 positions are used; two hold [CLS] and [SEP].
    long, cut = "man dog " * 50, "man dog " * 10
    assert bertscore([long], [[cut]], model) == pytest.approx([1.0], abs=1e-5)


def test_f1_by_hand():
    def embedded(rows, counts):
        return module._Embedded(torch.tensor(rows), torch.tensor(counts))

    explanation = embedded([[1.0, 0.0], [0.6, 0.8]], [True, True])
    # The special token, first, best matches the explanation's first token, but has no recall.
    reference = embedded([[1.0, 0.0], [0.0, 1.0]], [False, True])
    # Precision (1 + 0.8) / 2, recall 0.8.
    assert module._f1(explanation, reference) == pytest.approx(2 * 0.9 * 0.8 / 1.7)
    opposite = embedded([[-1.0, 0.0]], [True])
    assert module._f1(embedded([[0.0, 1.0]], [True]), opposite) == 0.0


def test_a_missing_model_is_named(tmp_path):
    where = str(tmp_path / "missing")
    with pytest.raises(MetricError, match=r"metrics\.bertscore_model: must be .*missing"):
        read_encoder(where)


def test_damaged_weights_are_refused(own_model):
    weights = own_model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(MetricError, match="SafetensorError"):
        bertscore(["a"], [["a"]], read_encoder(str(own_model)))


def test_a_model_without_its_tokeniser_is_refused(own_model):
    for path in own_model.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(MetricError, match="no tokeniser beside the model"):
        bertscore(["a"], [["a"]], read_encoder(str(own_model)))


def test_an_encoder_decoder_is_refused(tmp_path):
    config = T5Config(
        vocab_size=len(VOCABULARY), d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    T5Model(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    with pytest.raises(MetricError, match=r"\(a t5 model\)"):
        bertscore(["a"], [["a"]], read_encoder(str(tmp_path)))


def without_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layer.1.attention.self.query.weight"]
    save_file(weights, path, {"format": "pt"})


def with_a_nan(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["embeddings.LayerNorm.bias"][3] = float("nan")
    save_file(weights, path, {"format": "pt"})


def layers(number: int):
    def change(folder: Path) -> None:
        path = folder / "config.json"
        raw = json.loads(path.read_text())
        path.write_text(json.dumps(raw | {"num_hidden_layers": number}))

    return change


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without_a_weight, "its weights must fit config.json, got none for encoder.layer.1"),
        (layers(3), "its weights must fit config.json, got none for encoder.layer.2"),
        (with_a_nan, "its weights must be finite, got another in embeddings.LayerNorm.bias"),
        (layers(100_000), "num_hidden_layers must be from 1 to 1000, got 100000"),
        (layers(-1), "num_hidden_layers must be from 1 to 1000, got -1"),
    ],
)
def test_an_encoder_that_is_not_whole_is_refused(own_model: Path, spoil, told: str) -> None:
    # Missing weights would be random, so that scores would differ from one command to the next.
    spoil(own_model)
    with pytest.raises(MetricError, match=told):
        bertscore(["a dog"], [["the dog"]], read_encoder(str(own_model)))


def test_an_encoder_without_its_pooler_is_whole(own_model: Path, model: Encoder) -> None:
    path = own_model / "model.safetensors"
    weights = {n: t for n, t in load_file(path).items() if not n.startswith("pooler.")}
    save_file(weights, path, {"format": "pt"})
    expected = bertscore(EXPLANATIONS, REFERENCES, model)
    assert bertscore(EXPLANATIONS, REFERENCES, read_encoder(str(own_model))) == expected
