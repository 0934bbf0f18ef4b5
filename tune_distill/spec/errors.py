"""The errors that users may see, and the exit codes that they lead to.

    TuneDistillError          exit code 2: usage or configuration, found before a worker starts
      StudyFileError          a study, a profile, --set, or a name that does not exist
      DataError               a data source that cannot be read or has too few examples
      StudentError            a student that cannot be loaded
      MetricError             a metric whose package or model is missing
      StoreError              results or store that cannot be read or written
      ClusterError            Ray cannot be started or reached, or lacks the resources
    TrialError                one trial fails and becomes a row; the study goes on, exit code 1
      NonFiniteLossError      the loss became NaN or infinite

Messages read ``where: rule, got value; remedy``.
"""

from __future__ import annotations

from tune_distill.spec.redaction import redacted


class TuneDistillError(Exception):
    """The command cannot go on. The message, without secrets, is shown without a traceback."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(redacted(part) if isinstance(part, str) else part for part in said))


class StudyFileError(TuneDistillError):
    """A study, profile or override is not valid."""


class DataError(TuneDistillError):
    """A data source cannot be read, or holds fewer examples than asked for."""


class StudentError(TuneDistillError):
    """A student cannot be found or loaded."""


class MetricError(TuneDistillError):
    """A metric cannot be computed with what is installed."""


class StoreError(TuneDistillError):
    """The store or the results folder cannot be read or written."""


class ClusterError(TuneDistillError):
    """Ray cannot be started or reached, or can never fit a trial."""


class TrialError(Exception):
    """One trial failed; the others go on."""


class NonFiniteLossError(TrialError):
    """The training loss became NaN or infinite at `step`."""

    def __init__(self, step: int, loss: float, updates: int = 1) -> None:
        # All arguments go to Exception: it is pickled on its way from a worker to the driver.
        super().__init__(step, loss, updates)
        self.step = step
        self.loss = loss
        self.updates = updates
        """The least number of updates of the weights before `step`."""

    def __str__(self) -> str:
        remedy = "try a lower learning rate, more warm-up or stronger clipping"
        if not self.updates:
            # No update has happened yet, so training settings cannot be the cause.
            remedy = "the student itself overflows on these examples, so use another student"
        return f"train.loss: must be finite, got {self.loss} at step {self.step}; {remedy}"
