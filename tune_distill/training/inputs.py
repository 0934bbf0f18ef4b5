"""What the trials of a study read, prepared once: corpora, tokens, students and simulators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tune_distill.records.digests import DamagedError
from tune_distill.records.examples import Example
from tune_distill.records.store import Store
from tune_distill.spec.errors import DataError
from tune_distill.spec.keys import SIMULATOR_VERSION, DataIdentity
from tune_distill.spec.profile import MINI_STUDENT, Data, Metrics, Profile, Student
from tune_distill.students.port import ReadStudent, Untrained
from tune_distill.students.registry import read_student, student_identity
from tune_distill.students.tokens import TokenPairs
from tune_distill.tasks.account import account
from tune_distill.tasks.corpus import Corpus
from tune_distill.tasks.outputs import source_text, target_text
from tune_distill.tasks.simulator import Simulator, fit_simulator_apart
from tune_distill.tasks.sources import read_source
from tune_distill.training.encoders import Encoder, read_encoder


@dataclass(frozen=True)
class Tokens:
    """Tokens of one corpus for one student, in the corpus's sampling order."""

    train: TokenPairs
    validation: TokenPairs

    def holds(self, num_train: int, num_validation: int) -> bool:
        """Whether so many examples are tokenised already."""
        return (
            len(self.train.sources) >= num_train and len(self.validation.sources) >= num_validation
        )


@dataclass
class Inputs:
    """Corpora, students, tokens and simulators by name; fills itself on demand.

    A student is read once, when it is identified: what is trained is what was identified, however
    its files change meanwhile. `tell` takes a line for each data source that was read.
    """

    corpora: dict[str, Corpus] = field(default_factory=dict)
    students: dict[Student, Mapping[str, str]] = field(default_factory=dict)
    packages: dict[Student, ReadStudent] = field(default_factory=dict)
    untrained: dict[Student, Untrained] = field(default_factory=dict)
    tokens: dict[tuple[Student, str], Tokens] = field(default_factory=dict)
    simulators: dict[str, Simulator] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)
    tell: Callable[[str], None] | None = None

    def student_identity(self, student: Student) -> Mapping[str, str]:
        """What the student is, by content.

        Raises:
            StudentError: the student is not supported, or cannot be found.
        """
        if student not in self.students:
            # The built-in is known without being built.
            built_in = student.source == MINI_STUDENT
            identity = student_identity(student) if built_in else self._package(student).identity
            self.students[student] = identity
        return self.students[student]

    def _package(self, student: Student) -> ReadStudent:
        if student not in self.packages:
            package = self.packages[student] = read_student(student)
            self.students[student] = package.identity
        return self.packages[student]

    def data_identity(self, data: Data) -> DataIdentity:
        """What the data section names, by content."""
        return self.corpus(data).identity(data)

    def encoder_identity(self, metrics: Metrics) -> str | None:
        """The digest of BERTScore's encoder, if the section names one."""
        encoder = self.encoder(metrics)
        return None if encoder is None else encoder.digest

    def encoder(self, metrics: Metrics) -> Encoder | None:
        """BERTScore's encoder, read once, if the section names one.

        Raises:
            MetricError: it cannot be found or read.
        """
        source = metrics.bertscore_model
        if source is None:
            return None
        if source not in self.encoders:
            self.encoders[source] = read_encoder(source)
        return self.encoders[source]

    def corpus(self, data: Data) -> Corpus:
        """The data section's source, read once."""
        if data.source not in self.corpora:
            raw = read_source(data.source)
            corpus = self.corpora[data.source] = Corpus.from_raw(data.source, raw)
            line = account(data.source, raw, corpus)
            if line and self.tell is not None:
                self.tell(line)
        return self.corpora[data.source]

    def prepare(self, profiles: Iterable[Profile], store: Store) -> None:
        """Read and make what trials of these profiles need.

        Raises:
            StudentError: a student that is not supported, or cannot be found.
            DataError: a training pool on which no simulator can be fitted.
            MetricError: an encoder for BERTScore that cannot be loaded.
        """
        needed: dict[tuple[Student, str], list[Data]] = {}
        profiles = list(profiles)
        for encoder in {self.encoder(profile.metrics) for profile in profiles} - {None}:
            # Rather now than after hours of training; torch is imported only where it is asked for.
            from tune_distill.training.bertscore import load_encoder

            assert encoder is not None
            load_encoder(encoder)
        for profile in profiles:
            needed.setdefault((profile.student, profile.data.source), []).append(profile.data)
            self._prepare_simulator(profile.data, store)
            if profile.student not in self.untrained:
                self.untrained[profile.student] = self._package(profile.student).untrained()
        for (student, source), sections in needed.items():
            corpus = self.corpora[source]
            num_train = max(corpus.num_pool(data) for data in sections)
            num_validation = max(corpus.num_validation(data) for data in sections)
            known = self.tokens.get((student, source))
            if known and known.holds(num_train, num_validation):
                continue
            package = self._package(student)
            self.tokens[student, source] = Tokens(
                _tokenized(package, corpus.train[:num_train]),
                _tokenized(package, corpus.validation[:num_validation]),
            )

    def for_workers(self) -> Inputs:
        """The same without the training texts, which workers know as tokens and digests, and
        without what only the driver needs of students."""
        corpora = {name: replace(corpus, train=[]) for name, corpus in self.corpora.items()}
        return replace(self, corpora=corpora, packages={}, tell=None)

    def validation(self, data: Data) -> list[Example]:
        """The validation examples of the data section."""
        corpus = self.corpus(data)
        return corpus.validation[: corpus.num_validation(data)]

    def ceiling(self, data: Data) -> float | None:
        """Accuracy of the simulator on gold validation explanations: faithfulness' ceiling.

        None if the simulator knows no word, so that there is no faithfulness.
        """
        simulator = self.simulators[self.data_identity(data).pool_digest]
        if simulator.is_blind:
            return None
        examples = self.validation(data)
        return simulator.accuracy(
            [example.explanations[0] for example in examples],
            [example.label for example in examples],
        )

    def _prepare_simulator(self, data: Data, store: Store) -> None:
        pool_digest = self.data_identity(data).pool_digest
        if pool_digest in self.simulators:
            return
        name = f"{pool_digest}-v{SIMULATOR_VERSION}"
        simulator = _stored_simulator(name, store)
        if simulator is None:
            simulator = self._fitted_simulator(data)
            store.save_simulator(name, simulator.to_bytes(name))
        self.simulators[pool_digest] = simulator

    def _fitted_simulator(self, data: Data) -> Simulator:
        corpus = self.corpus(data)
        pool = corpus.train[: corpus.num_pool(data)]
        try:
            return fit_simulator_apart(
                [example.explanations[0] for example in pool], [example.label for example in pool]
            )
        except ValueError as error:
            raise DataError(
                f"data: training pool of {len(pool)} examples from {data.source}: {error}"
            ) from error


def _tokenized(student: ReadStudent, examples: Sequence[Example]) -> TokenPairs:
    """The sources and the training targets (first explanation) of the examples."""
    sources = [source_text(example.premise, example.hypothesis) for example in examples]
    targets = [target_text(example.label, example.explanations[0]) for example in examples]
    return TokenPairs(student.encode(sources), student.encode(targets))


def _stored_simulator(name: str, store: Store) -> Simulator | None:
    """The simulator, or None. A damaged file is reported, set aside, and not found."""
    content = store.simulator(name)
    if content is None:
        return None
    try:
        return Simulator.from_bytes(content, name)
    except DamagedError as error:
        store.set_simulator_aside(name, error)
        return None
