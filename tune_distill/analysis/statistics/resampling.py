"""Names that the reports import."""

from tune_distill.analysis.statistics.estimates import Estimate as Estimate

NUM_RESAMPLES = 4000
