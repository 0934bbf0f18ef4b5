import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from tests.nli import NLI
from tune_distill.records.examples import Example
from tune_distill.tasks.scoring import (
    ExampleLoss,
    PredictionRow,
    grounding,
    rouge,
    score_predictions,
    summarize,
)
from tune_distill.tasks.simulator import Simulator

# Words that Porter's stemmer merges or not, and what its tokeniser drops or splits.
WORDS = "The dogs dog running runs ran a women's sitting cafe 2 , - it's"
TEXTS = st.lists(st.sampled_from(WORDS.split())).map(" ".join)

EXAMPLE = Example(
    example_id="e1",
    inputs=("A man plays the guitar.", "A person is playing."),
    label="entailment",
    explanations=("a man is a person", "playing the guitar is playing"),
)
OTHER = replace(EXAMPLE, example_id="e2", label="neutral", explanations=("he may sit",))
LOSS, OTHER_LOSS = ExampleLoss(3.0, 2), ExampleLoss(2.0, 8)


def simulator() -> Simulator:
    """Guesses neutral of a text that holds "may", and entailment of any other."""
    weights = np.array([[0.0, 2.0]])
    return Simulator(("entailment", "neutral"), {"may": 0}, weights, np.array([1.0, 0.0]))


def scored(text: str) -> PredictionRow:
    """The row of one answer to EXAMPLE."""
    (row,) = score_predictions(NLI, [EXAMPLE], [[text]], [LOSS], simulator())
    return row


def row(**changes: object) -> PredictionRow:
    return replace(scored(""), **changes)


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
@settings(max_examples=200, deadline=None)
def test_rouge_is_rouge_scores_to_the_last_bit(references, text):
    assume(any(re.search("[a-z0-9]", each) for each in references))
    oracle = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    best = oracle.score_multi(references, text)
    assert rouge(tuple(references), text) == tuple(score.fmeasure for score in best.values())


ASCII = st.text(st.characters(max_codepoint=127), max_size=60)


@given(ASCII, ASCII)
@settings(max_examples=300, deadline=None)
def test_rouge_is_rouge_scores_on_any_ascii_text(reference, text):
    oracle = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = oracle.score(reference, text)
    if re.search("[A-Za-z0-9]", reference):
        assert rouge((reference,), text) == tuple(score.fmeasure for score in scores.values())
    else:
        assert rouge((reference,), text) == (None, None, None)


@given(st.text(), st.text())
@settings(deadline=None)
def test_rouge_of_any_text_is_a_share_and_one_for_the_reference_itself(reference, text):
    found = rouge((reference,), text)
    assert found == (None, None, None) or all(0.0 <= value <= 1.0 for value in found)
    assert rouge((reference,), reference)[0] in (None, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "拥抱的女人不一定是姐妹",
        "सभी लोग बाहर खेल रहे हैं",
        "العربية لغة جميلة",
        "ผู้หญิงกอดกัน",
        "Die Bären mögen Äpfel",
    ],
)
def test_identical_texts_of_any_script_score_one(text):
    assert rouge((text,), text) == (1.0, 1.0, 1.0)


def test_words_with_umlauts_do_not_match_in_pieces():
    # Split at ä and ö, both would hold "b" and "m".
    assert rouge(("Bären mögen",), "Bäume mähen") == (0.0, 0.0, 0.0)


def test_chinese_is_scored_by_the_character_as_by_hand():
    # Two of four characters of each, next to one another.
    assert rouge(("女人拥抱",), "女人跑步") == (0.5, pytest.approx(1 / 3), 0.5)


def test_rouge_is_absent_where_no_reference_holds_a_word():
    assert rouge(("...", "?! 🙂"), "a dog") == (None, None, None)
    assert rouge(("...", "a dog"), "a dog") == (1.0, 1.0, 1.0)
    assert rouge(("a dog",), "...") == (0.0, 0.0, 0.0)


def test_grounding_sees_words_of_any_script():
    assert grounding("दो लड़के दौड़ रहे हैं", ["दो लड़के दौड़ रहे हैं", ""]) == 1.0
    assert grounding("女人", ["一个女孩"]) == 0.5


def test_rouge_by_hand():
    # Stems: run dog | run fast dog. Unigrams 2 of 2 and 2 of 3, no bigram, the sequence run-dog.
    assert rouge(("running fast dogs",), "runs dog") == pytest.approx((0.8, 0.0, 0.8))


def test_rouge_takes_the_best_reference_of_each_type():
    # Unigrams prefer the first reference (3 of 3 against 2 of 3), bigrams the second.
    rouge1, rouge2, _ = rouge(("cat big the", "the big dog"), "the big cat")
    assert (rouge1, rouge2) == (1.0, 0.5)


def test_grounding_by_hand():
    # Content: man, play, piano. The guitar man of the premise plays, no piano is there.
    assert grounding("The man is playing a piano.", EXAMPLE.inputs) == pytest.approx(2 / 3)
    assert grounding("persons", EXAMPLE.inputs) == 1.0
    assert grounding("Piano, piano and piano; a man", EXAMPLE.inputs) == 0.5


@pytest.mark.parametrize("text", ["", "?!", "It is not the", "isn't", "🙂"])
def test_without_content_words_there_is_no_grounding(text):
    assert grounding(text, EXAMPLE.inputs) is None


@given(TEXTS, TEXTS, TEXTS)
@settings(deadline=None)
def test_grounding_is_a_share_and_repeating_changes_nothing(text, premise, hypothesis):
    share = grounding(text, [premise, hypothesis])
    assert share is None or 0.0 <= share <= 1.0
    assert grounding(f"{text} {text}", [premise, hypothesis]) == share
    assert grounding(text, [premise, f"{hypothesis} {text}"]) in (None, 1.0)


def test_a_row_holds_the_scores_of_one_text():
    text = "entailment explanation: playing the guitar is playing"
    assert scored(text) == PredictionRow(
        example_id=EXAMPLE.digest().hex(),
        sample=0,
        gold_label="entailment",
        predicted_label="entailment",
        correct=True,
        prediction=text,
        explanation="playing the guitar is playing",
        rouge1=1.0,
        rouge2=1.0,
        rougeL=1.0,
        faithful=True,
        grounding=1.0,
        eval_loss=1.5,
        num_target_tokens=2,
    )


def test_rows_come_by_example_and_then_by_sample():
    rows = score_predictions(
        NLI,
        [EXAMPLE, OTHER],
        [["entailment", "neutral"], ["neutral"]],
        [LOSS, OTHER_LOSS],
        simulator(),
    )
    first, second = EXAMPLE.digest().hex(), OTHER.digest().hex()
    assert [(r.example_id, r.sample, r.prediction, r.correct) for r in rows] == [
        (first, 0, "entailment", True),
        (first, 1, "neutral", False),
        (second, 0, "neutral", True),
    ]
    # Each sample of an example repeats the loss of its target.
    assert [(r.eval_loss, r.num_target_tokens) for r in rows] == [(1.5, 2), (1.5, 2), (0.25, 8)]


def test_every_example_needs_its_predictions_and_its_loss():
    with pytest.raises(ValueError, match="zip"):
        score_predictions(NLI, [EXAMPLE, OTHER], [["entailment"]], [LOSS, OTHER_LOSS], simulator())
    with pytest.raises(ValueError, match="zip"):
        score_predictions(NLI, [EXAMPLE, OTHER], [["entailment"], ["neutral"]], [LOSS], simulator())


@pytest.mark.parametrize(
    ("text", "faithful"),
    [
        ("neutral explanation: he may sit", True),  # wrong, and faithful all the same
        ("entailment explanation: he may sit", False),
        ("entailment explanation: he sits", True),
        ("contradiction explanation: he sits", False),
        ("he explanation: he sits", False),  # no label
        ("entailment explanation:", False),  # the guess from nothing agrees by chance
        ("entailment explanation: ...", False),
        ("entailment he sits", False),
    ],
)
def test_faithful_means_that_the_explanation_alone_gives_the_students_label(text, faithful):
    assert scored(text).faithful is faithful


def test_an_unparsable_output_is_wrong():
    odd = scored("It is entailment explanation: a man")
    assert (odd.predicted_label, odd.correct, odd.explanation) == (None, False, "a man")
    # Two of two words are in the first reference's five: the explanation is scored all the same.
    assert odd.rouge1 == pytest.approx(4 / 7)


def test_the_summary_is_the_mean_over_rows():
    rows = [
        row(predicted_label="neutral", correct=True, faithful=True, grounding=0.5, rouge1=1.0),
        row(predicted_label="neutral", correct=False, faithful=True, grounding=None, rouge1=0.5),
        row(predicted_label="neutral", correct=False, faithful=False, grounding=0.0, rouge2=0.4),
        row(predicted_label=None, correct=False, faithful=False, grounding=0.1, rougeL=0.2),
    ]
    assert summarize(rows) == pytest.approx(
        {
            "label_accuracy": 0.25,
            "parse_rate": 0.75,
            "rouge1": 0.375,
            "rouge2": 0.1,
            "rougeL": 0.05,
            "faithfulness": 0.5,
            "grounding": 0.2,  # of three rows: the second has none
        }
    )


def test_mean_grounding_is_nan_where_no_row_has_one():
    summary = summarize([row(grounding=None), row(grounding=None)])
    assert math.isnan(summary["grounding"])
    assert summary["faithfulness"] == 0.0


def test_a_simulator_that_knows_no_word_judges_nothing():
    blind = Simulator(("entailment", "neutral"), {}, np.zeros((0, 2)), np.zeros(2))
    rows = score_predictions(NLI, [EXAMPLE], [["entailment explanation: a man"]], [LOSS], blind)
    assert rows[0].faithful is None
    assert math.isnan(summarize(rows)["faithfulness"])


def test_without_a_simulator_no_answer_is_faithful_or_unfaithful():
    (odd,) = score_predictions(NLI, [EXAMPLE], [["entailment explanation: a man"]], [LOSS], None)
    assert odd.faithful is None
    assert odd.correct


def test_means_leave_out_rows_without_a_value():
    rows = [row(rougeL=None, rouge1=0.5), row(rougeL=0.5, rouge1=None)]
    assert summarize(rows)["rougeL"] == summarize(rows)["rouge1"] == 0.5
    assert math.isnan(summarize([row(rouge2=None)])["rouge2"])


def test_importing_the_module_is_cheap():
    code = (
        "import sys, tune_distill.tasks.scoring;"
        "print(sorted({'nltk', 'rouge_score', 'sklearn', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
