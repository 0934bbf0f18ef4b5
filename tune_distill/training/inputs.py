"""The inputs of a study's trials, prepared once: corpora, tokens, students and simulators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tune_distill.records.digests import DamagedError
from tune_distill.records.examples import Example
from tune_distill.records.store import Store
from tune_distill.spec.errors import DataError
from tune_distill.spec.keys import SIMULATOR_VERSION, DataIdentity
from tune_distill.spec.metrics import METRICS, function
from tune_distill.spec.profile import Data, Metrics, Profile, Student
from tune_distill.spec.profile import Task as TaskChoice
from tune_distill.spec.task import TaskDescription
from tune_distill.students.port import ReadStudent, Untrained
from tune_distill.students.registry import known_identity, read_student
from tune_distill.students.tokens import TokenPairs
from tune_distill.tasks.account import account
from tune_distill.tasks.corpus import Corpus
from tune_distill.tasks.registry import task_of
from tune_distill.tasks.simulator import Simulator, fit_simulator_apart
from tune_distill.tasks.sources import read_source
from tune_distill.tasks.task import Task
from tune_distill.training.compatibility import require_positions, require_writing
from tune_distill.training.encoders import Encoder, read_encoder


@dataclass(frozen=True)
class Tokens:
    """Tokens of one corpus for one student, in the corpus's sampling order."""

    train: TokenPairs
    validation: TokenPairs

    def holds(self, num_train: int, num_validation: int) -> bool:
        """Return whether this many examples are tokenised already."""
        return (
            len(self.train.sources) >= num_train and len(self.validation.sources) >= num_validation
        )


@dataclass
class Inputs:
    """Tasks, corpora, students, tokens and simulators by name, made on demand.

    A student is read once, when it is identified, so a later change of its files does not change
    what is trained. `tell` takes a line about each data source that was read.
    """

    tasks: dict[TaskChoice, Task] = field(default_factory=dict)
    corpora: dict[tuple[TaskChoice, str], Corpus] = field(default_factory=dict)
    students: dict[Student, Mapping[str, str]] = field(default_factory=dict)
    packages: dict[Student, ReadStudent] = field(default_factory=dict)
    untrained: dict[Student, Untrained] = field(default_factory=dict)
    tokens: dict[tuple[Student, TaskChoice, str], Tokens] = field(default_factory=dict)
    simulators: dict[str, Simulator] = field(default_factory=dict)
    encoders: dict[str, Encoder] = field(default_factory=dict)
    tell: Callable[[str], None] | None = None

    def student_identity(self, student: Student) -> Mapping[str, str]:
        """Return the identity of the student, by content.

        Raises:
            StudentError: the student is not supported, or cannot be found.
        """
        if student not in self.students:
            self.students[student] = known_identity(student) or self._package(student).identity
        return self.students[student]

    def _package(self, student: Student) -> ReadStudent:
        if student not in self.packages:
            package = self.packages[student] = read_student(student)
            self.students[student] = package.identity
        return self.packages[student]

    def task(self, choice: TaskChoice) -> Task:
        """Return the task that the section names, read once.

        Raises:
            StudyFileError: there is no such task, or its file has faults.
        """
        if choice not in self.tasks:
            self.tasks[choice] = task_of(choice.source)
        return self.tasks[choice]

    def description(self, task: TaskChoice) -> TaskDescription:
        """Return the description of the task."""
        return self.task(task).description

    def data_identity(self, task: TaskChoice, data: Data) -> DataIdentity:
        """Return the identity of the task's data section, by content."""
        return self.corpus(task, data).identity(data)

    def encoder_identity(self, metrics: Metrics) -> str | None:
        """Return the digest of BERTScore's encoder, or None if the section names none."""
        encoder = self.encoder(metrics)
        return None if encoder is None else encoder.digest

    def encoder(self, metrics: Metrics) -> Encoder | None:
        """Return BERTScore's encoder, read once, or None if the section names none.

        Raises:
            MetricError: the encoder cannot be found or read.
        """
        source = metrics.bertscore_model
        if source is None:
            return None
        if source not in self.encoders:
            self.encoders[source] = read_encoder(source)
        return self.encoders[source]

    def corpus(self, task: TaskChoice, data: Data) -> Corpus:
        """Return the corpus of the data section's source, read once for the task."""
        name = task, data.source
        if name not in self.corpora:
            asked = self.task(task)
            raw = read_source(data.source, asked)
            corpus = self.corpora[name] = Corpus.from_raw(data.source, raw, asked)
            line = account(data.source, raw, corpus)
            if line and self.tell is not None:
                self.tell(line)
        return self.corpora[name]

    def prepare(self, profiles: Iterable[Profile], store: Store) -> None:
        """Read and make what trials of these profiles need.

        Raises:
            StudentError: a student is not supported, cannot be found, cannot write the task's
                answers or cannot read texts as long as the profile's.
            DataError: no simulator can be fitted on a training pool.
            MetricError: an encoder for BERTScore cannot be loaded.
        """
        needed: dict[tuple[Student, TaskChoice, str], list[Data]] = {}
        profiles = list(profiles)
        for encoder in {self.encoder(profile.metrics) for profile in profiles} - {None}:
            # Try the encoder now, so that it does not fail after hours of training.
            function(METRICS["bertscore"].computed_by)(["a"], [["a"]], encoder)
        for profile in profiles:
            name = profile.student, profile.task, profile.data.source
            needed.setdefault(name, []).append(profile.data)
            if self.description(profile.task).labels:
                self._prepare_simulator(profile.task, profile.data, store)
            if profile.student not in self.untrained:
                self.untrained[profile.student] = self._package(profile.student).untrained()
            require_positions(profile, self.untrained[profile.student].num_positions)
        for (student, task, source), sections in needed.items():
            corpus = self.corpora[task, source]
            num_train = max(corpus.num_pool(data) for data in sections)
            num_validation = max(corpus.num_validation(data) for data in sections)
            known = self.tokens.get((student, task, source))
            if known and known.holds(num_train, num_validation):
                continue
            package, asked = self._package(student), self.task(task)
            require_writing(package, self.untrained[student], asked, corpus.train)
            self.tokens[student, task, source] = Tokens(
                _tokenized(package, asked, corpus.train[:num_train]),
                _tokenized(package, asked, corpus.validation[:num_validation]),
            )

    def for_workers(self) -> Inputs:
        """Return what workers need of these inputs.

        Workers use tokens and digests, so they need no training texts and no student packages.
        """
        corpora = {name: replace(corpus, train=[]) for name, corpus in self.corpora.items()}
        return replace(self, corpora=corpora, packages={}, tell=None)

    def validation(self, task: TaskChoice, data: Data) -> list[Example]:
        """Return the validation examples of the data section."""
        corpus = self.corpus(task, data)
        return corpus.validation[: corpus.num_validation(data)]

    def simulator(self, task: TaskChoice, data: Data) -> Simulator | None:
        """Return the training pool's simulator, which `prepare` has made; None without labels."""
        if not self.description(task).labels:
            return None
        return self.simulators[self.data_identity(task, data).pool_digest]

    def ceiling(self, task: TaskChoice, data: Data) -> float | None:
        """Return the simulator's accuracy on gold validation explanations: faithfulness' ceiling.

        None if the simulator knows no words or the task has no labels: faithfulness is absent then.
        """
        simulator = self.simulator(task, data)
        if simulator is None or simulator.is_blind:
            return None
        examples = self.validation(task, data)
        return simulator.accuracy(
            [example.explanations[0] for example in examples],
            [example.label for example in examples],
        )

    def _prepare_simulator(self, task: TaskChoice, data: Data, store: Store) -> None:
        pool_digest = self.data_identity(task, data).pool_digest
        if pool_digest in self.simulators:
            return
        name = f"{pool_digest}-v{SIMULATOR_VERSION}"
        simulator = _stored_simulator(name, store)
        if simulator is None:
            simulator = self._fitted_simulator(task, data)
            store.save_simulator(name, simulator.to_bytes(name))
        self.simulators[pool_digest] = simulator

    def _fitted_simulator(self, task: TaskChoice, data: Data) -> Simulator:
        corpus = self.corpus(task, data)
        pool = corpus.train[: corpus.num_pool(data)]
        try:
            return fit_simulator_apart(
                [example.explanations[0] for example in pool], [example.label for example in pool]
            )
        except ValueError as error:
            raise DataError(
                f"data: training pool of {len(pool)} examples from {data.source}: {error}"
            ) from error


def _tokenized(student: ReadStudent, task: Task, examples: Sequence[Example]) -> TokenPairs:
    """Return the tokens of the sources and the targets of the task's examples."""
    sources = student.encode(list(map(task.source_text, examples)))
    return TokenPairs(sources, student.encode(list(map(task.target_text, examples))))


def _stored_simulator(name: str, store: Store) -> Simulator | None:
    """Return the stored simulator, or None; report a damaged file and set it aside."""
    content = store.simulator(name)
    if content is None:
        return None
    try:
        return Simulator.from_bytes(content, name)
    except DamagedError as error:
        store.set_simulator_aside(name, error)
        return None
