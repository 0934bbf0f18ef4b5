import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from tune_distill.records.digests import DamagedError
from tune_distill.records.sealed import seal
from tune_distill.tasks.simulator import (
    SIMULATOR_VERSION,
    Simulator,
    fit_simulator_apart,
    ngrams,
)
from tune_distill.tasks.simulator_fit import fit_simulator

EXPLANATIONS = [
    "A man can't be asleep and run.",
    "A dog can't be a cat, and run.",
    "The man may be tall.",
    "Not every dog may run; the dog may be asleep.",
    "A man is a person.",
    "A dog is an animal, and to run is to move.",
]
LABELS = ["contradiction"] * 2 + ["neutral"] * 2 + ["entailment"] * 2

# Known, unknown and repeated words in any case.
WORDS = "a A man dog can't be and run The may is asleep, zebra É _x1 ."
TEXTS = st.lists(st.sampled_from(WORDS.split())).map(" ".join)


def sklearn_pipeline(explanations: list[str], labels: list[str]) -> Pipeline:
    vectorizer = CountVectorizer(
        lowercase=True, token_pattern=r"(?u)\w+", ngram_range=(1, 2), binary=True, min_df=2
    )
    return make_pipeline(vectorizer, LogisticRegression(max_iter=1000)).fit(explanations, labels)


def hand_made() -> Simulator:
    """Return a simulator: "not" means "no"; "is a" and texts without known n-grams mean "yes"."""
    weights = np.array([[2.0, 0.0], [0.0, 3.0]])
    return Simulator(("no", "yes"), {"not": 0, "is a": 1}, weights, np.array([0.0, 0.5]))


def damaged(simulator: Simulator, **changes: object) -> bytes:
    """Return the simulator's file with a changed description."""
    content = simulator.to_bytes("pool")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    description = json.loads(header["__metadata__"]["simulator"])["content"] | changes
    record = seal("simulator", {"simulator": "pool"}, description)
    return save(load(content), {"simulator": record.decode()})


def test_ngrams_are_words_and_pairs_of_neighbours():
    assert ngrams("CAN'T sit_down.") == ["can", "t", "sit_down", "can t", "t sit_down"]
    assert ngrams("Dogs run, dogs!") == ["dogs", "run", "dogs", "dogs run", "run dogs"]
    assert ngrams("?!") == []


def test_it_guesses_by_the_ngrams_a_text_holds():
    # Logits (no, yes): (2, 0.5), (2, 3.5), (0, 0.5), and (2, 0.5): repeated n-grams count once.
    texts = ["not so", "it is a man, not", "is so a", "NOT not"]
    assert hand_made().predict(texts) == ["no", "yes", "yes", "no"]


def test_accuracy_is_the_share_of_right_guesses():
    assert hand_made().accuracy(["not", "is a", "", "not"], ["no", "yes", "no", "yes"]) == 0.5


def test_accuracy_needs_a_label_for_every_explanation():
    with pytest.raises(ValueError, match="zip"):
        hand_made().accuracy(["not", "is a"], ["no"])


@pytest.mark.parametrize("num_labels", [2, 3])
def test_it_is_scikit_learns_own_pipeline(num_labels):
    explanations, labels = EXPLANATIONS[: 2 * num_labels], LABELS[: 2 * num_labels]
    simulator, pipeline = (
        fit_simulator(explanations, labels),
        sklearn_pipeline(explanations, labels),
    )
    assert list(simulator.vocabulary) == list(pipeline[0].get_feature_names_out())

    @given(st.lists(TEXTS, min_size=1, max_size=30))
    @settings(max_examples=40, deadline=None)
    def check(texts):
        assert simulator.predict(texts) == list(pipeline.predict(texts))

    check()
    # Otherwise two constants could be equal above.
    assert len(set(simulator.predict(EXPLANATIONS))) == num_labels


def test_fitting_again_gives_the_same_bytes():
    fitted = [fit_simulator(EXPLANATIONS, LABELS).to_bytes("pool") for _ in range(2)]
    assert fitted[0] == fitted[1]


def test_one_label_alone_cannot_be_told_apart():
    with pytest.raises(ValueError, match=r"two labels or more, got \['neutral'\]"):
        fit_simulator(["may be", "may not be"], ["neutral", "neutral"])


def test_without_a_word_in_common_it_is_blind():
    simulator = fit_simulator(["yes", "no"], ["entailment", "contradiction"])
    assert simulator.is_blind
    assert not hand_made().is_blind
    assert Simulator.from_bytes(simulator.to_bytes("pool"), "pool").is_blind


def test_it_learns_from_words_of_any_script():
    chinese = ["女人在睡觉", "男人在睡觉", "男人在跑步", "女人在跑步"]
    labels = ["contradiction", "contradiction", "entailment", "entailment"]
    assert fit_simulator(chinese, labels).predict(["睡觉", "跑步"]) == [labels[0], labels[2]]


def test_bytes_give_the_simulator_back():
    simulator = fit_simulator(EXPLANATIONS, LABELS)
    copy = Simulator.from_bytes(simulator.to_bytes("pool"), "pool")
    assert copy.labels == simulator.labels
    assert copy.vocabulary == simulator.vocabulary
    np.testing.assert_array_equal(copy.weights_VL, simulator.weights_VL)
    np.testing.assert_array_equal(copy.intercept_L, simulator.intercept_L)
    assert copy.to_bytes("pool") == simulator.to_bytes("pool")


@given(st.data())
@settings(deadline=None)
def test_a_changed_byte_is_refused_or_harmless(data):
    content = bytearray(hand_made().to_bytes("pool"))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        simulator = Simulator.from_bytes(bytes(content), "pool")
    except DamagedError:
        pass  # most positions, but not all
    else:
        assert simulator.to_bytes("pool") == hand_made().to_bytes("pool")


@given(st.integers(0, len(hand_made().to_bytes("pool")) - 1))
@settings(deadline=None)
def test_a_cut_file_is_refused(length):
    with pytest.raises(DamagedError):
        Simulator.from_bytes(hand_made().to_bytes("pool")[:length], "pool")


def test_a_changed_weight_is_refused():
    content = bytearray(hand_made().to_bytes("pool"))
    content[-1] ^= 1
    with pytest.raises(DamagedError, match="must have the digest"):
        Simulator.from_bytes(bytes(content), "pool")


def test_a_safetensors_file_of_something_else_is_refused():
    with pytest.raises(DamagedError, match=r"cannot be read \(KeyError"):
        Simulator.from_bytes(save({"weights": np.zeros(2)}), "pool")


def test_another_version_is_refused():
    assert Simulator.from_bytes(damaged(hand_made()), "pool").labels == ("no", "yes")
    with pytest.raises(DamagedError, match=f"version must be {SIMULATOR_VERSION}, got 99"):
        Simulator.from_bytes(damaged(hand_made(), version=99), "pool")


def test_the_simulator_of_another_pool_is_refused():
    with pytest.raises(DamagedError, match="simulator other"):
        Simulator.from_bytes(hand_made().to_bytes("other"), "pool")


def test_a_changed_vocabulary_is_refused():
    with pytest.raises(DamagedError, match="must have the digest"):
        Simulator.from_bytes(damaged(hand_made(), vocabulary=["not", "is"]), "pool")


def test_predicting_needs_numpy_alone():
    code = (
        "import sys; from tune_distill.tasks.simulator import Simulator;"
        f"print(Simulator.from_bytes({hand_made().to_bytes('pool')!r}, 'pool').predict(['not']));"
        "print(sorted({'sklearn', 'scipy', 'torch', 'nltk'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['no']", "[]"]


def test_one_that_is_fitted_in_its_own_process_is_the_same():
    explanations, labels = [*EXPLANATIONS, "\ud800 a lone surrogate"], [*LABELS, LABELS[0]]
    apart = fit_simulator_apart(explanations, labels)
    assert apart.to_bytes("pool") == fit_simulator(explanations, labels).to_bytes("pool")
    with pytest.raises(ValueError, match="two labels or more"):
        fit_simulator_apart(["may be", "may not be"], ["neutral", "neutral"])


PREPARING = """
import sys, threading
from tune_distill.training.inputs import Inputs
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.spec.yaml_files import load_profile
from pathlib import Path
inputs = Inputs()
profile = load_profile("mini")
inputs.corpus(profile.task, profile.data)
inputs._prepare_simulator(profile.task, profile.data, Store(Folder(Path(sys.argv[1]))))
print("threadpoolctl" in sys.modules, "sklearn" in sys.modules)
"""


def test_preparing_a_study_walks_through_no_libraries(tmp_path):
    """Other threads import Ray and others meanwhile, so both sides could deadlock."""
    ended = subprocess.run(
        [sys.executable, "-c", PREPARING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "False False\n"
