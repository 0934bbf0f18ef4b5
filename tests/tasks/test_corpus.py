"""Every pool and fraction is a balanced prefix of one order, which depends only on the texts."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nli import LABELS, NLI, read_source
from tests.tiny import mini_examples, write_csv
from tune_distill.records.examples import Example
from tune_distill.spec.errors import DataError
from tune_distill.spec.profile import Data
from tune_distill.tasks.corpus import Corpus, sampling_order
from tune_distill.tasks.sources import RawCorpus


def numbered(label: str, number: int) -> Example:
    return Example(str(number), (f"premise {number}", "hypothesis"), label, (f"because {label}",))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    raw = RawCorpus(mini_examples("train", 200), mini_examples("validation", 50), {})
    return Corpus.from_raw("here", raw, NLI)


def data(**fields: object) -> Data:
    return Data.model_validate({"source": "here"} | fields)


def used(corpus: Corpus, **fields: object) -> list[Example]:
    """Return the training examples of a trial with these fields."""
    return corpus.train[: corpus.num_train(data(**fields))]


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=40))
@settings(deadline=None)
def test_labels_take_turns_while_they_last(labels: list[str]) -> None:
    order = sampling_order([numbered(label, number) for number, label in enumerate(labels)], LABELS)
    available = Counter(labels)
    assert Counter(example.label for example in order) == available
    for count in range(1, len(order) + 1):
        taken = Counter(example.label for example in order[:count])
        for label in available:
            is_used_up = taken[label] == available[label]
            assert is_used_up or taken[label] >= max(taken.values()) - 1


def test_the_order_is_not_that_of_the_file() -> None:
    examples = [numbered("neutral", number) for number in range(300)]
    order = [int(example.example_id) for example in sampling_order(examples, LABELS)]
    assert sorted(order) == list(range(300))
    # The first tenth comes from all over the file: its mean is 150 with a deviation of 15.
    assert 90 < sum(order[:30]) / 30 < 210


def test_the_order_of_the_file_does_not_matter() -> None:
    examples = mini_examples("train", 60)
    shuffled = random.Random(1).sample(examples, len(examples))
    assert shuffled != examples
    assert sampling_order(shuffled, LABELS) == sampling_order(examples, LABELS)


def test_the_order_is_the_same_in_every_format(tmp_path: Path) -> None:
    examples = [replace(e, example_id="") for e in mini_examples("train", 30)]
    write_csv(tmp_path / "train.csv", examples[::-1])
    write_csv(tmp_path / "dev.csv", examples[:9])
    read = Corpus.from_raw("files", read_source(str(tmp_path)), NLI)
    direct = Corpus.from_raw("memory", RawCorpus(examples, examples[:9], {}), NLI)
    assert [replace(e, example_id="") for e in read.train] == direct.train
    assert read.identity(data()) == direct.identity(data())


def test_without_labels_no_answer_takes_turns() -> None:
    examples = mini_examples("train", 60)
    order = sampling_order(examples, ())
    assert sorted(order, key=examples.index) == examples
    assert order not in (examples, sampling_order(examples, LABELS))


def test_equal_rows_are_kept() -> None:
    twins = [numbered("neutral", 1), numbered("neutral", 1)]
    assert sampling_order(twins, LABELS) == twins


def test_fractions_are_nested(corpus: Corpus) -> None:
    small = used(corpus, num_train=100, train_fraction=0.1)
    half = used(corpus, num_train=100, train_fraction=0.5)
    whole = used(corpus, num_train=100)
    assert (len(small), len(half), len(whole)) == (10, 50, 100)
    assert small == half[:10]
    assert half == whole[:50]
    assert len({example.example_id for example in whole}) == 100


def test_half_of_a_pool_is_the_pool_of_half_the_size(corpus: Corpus) -> None:
    half = corpus.identity(data(num_train=100, train_fraction=0.5))
    small = corpus.identity(data(num_train=50))
    assert half.train_digest == small.train_digest
    # The simulator is fitted on the whole pool.
    assert half.pool_digest != small.pool_digest
    assert half.pool_digest == corpus.identity(data(num_train=100)).train_digest


def test_a_fraction_leaves_one_example_at_least(corpus: Corpus) -> None:
    assert corpus.num_train(data(train_fraction=0.001)) == 1


def test_sizes_default_to_all_there_is(corpus: Corpus) -> None:
    identity = corpus.identity(data())
    assert (identity.num_train, identity.num_validation) == (200, 50)


def test_a_changed_example_changes_the_digest_of_its_split_alone() -> None:
    examples = mini_examples("train", 20)
    before = Corpus.from_raw("here", RawCorpus(examples, examples, {}), NLI).identity(data())
    for number in (0, 19):
        changed = list(examples)
        changed[number] = replace(examples[number], explanations=("Another reason.",))
        after = Corpus.from_raw("here", RawCorpus(changed, examples, {}), NLI).identity(data())
        assert after.train_digest != before.train_digest
        assert after.validation_digest == before.validation_digest


def test_another_prefix_is_another_identity(corpus: Corpus) -> None:
    sizes = [1, 2, 10, 199, 200]
    identities = [corpus.identity(data(num_train=n, num_validation=min(n, 50))) for n in sizes]
    assert len({identity.train_digest for identity in identities}) == 5
    assert len({identity.validation_digest for identity in identities}) == 4


@pytest.mark.parametrize(("split", "available"), [("train", 200), ("validation", 50)])
def test_more_than_there_is_is_refused(corpus: Corpus, split: str, available: int) -> None:
    expected = (
        rf"data\.num_{split}: here has {available} {split} examples, got {available + 1}; "
        rf"lower it with --set data\.num_{split}={available}$"
    )
    with pytest.raises(DataError, match=expected):
        corpus.identity(data(**{f"num_{split}": available + 1}))
