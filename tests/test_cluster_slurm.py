"""The SLURM script, checked and run."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

import tune_distill
from tests.cluster_schemas import slurm
from tests.cluster_schemas.files import (
    text,
)
from tests.cluster_schemas.programs import tool
from tests.cluster_schemas.slurm import SCRIPT
from tests.guest import SMALL


class TestSlurm:
    def test_bash_and_shellcheck_accept_it(self) -> None:
        subprocess.run(["bash", "-n", SCRIPT], check=True)
        ended = subprocess.run([tool("shellcheck"), SCRIPT], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (0, "")

    def test_shellcheck_refuses_a_slip(self, tmp_path: Path) -> None:
        spoilt = tmp_path / "slurm.sh"
        spoilt.write_text(text("slurm.sh").replace('rm -rf -- "$private"', "rm -rf -- $private"))
        ended = subprocess.run([tool("shellcheck"), spoilt], capture_output=True, text=True)
        assert "SC2086" in ended.stdout

    def test_slurm_reads_its_directives(self) -> None:
        """SLURM ignores directives after the first command."""
        before, _, after = text("slurm.sh").partition("set -euo pipefail")
        directives = re.findall(r"^#SBATCH --(\S+)$", before, re.MULTILINE)
        assert {"requeue", "no-kill", "signal=B:TERM@120", "ntasks-per-node=1"} <= set(directives)
        assert len(directives) == before.count("#SBATCH")
        assert "#SBATCH" not in after

    def test_the_script_describes_its_use(self) -> None:
        ended = subprocess.run(["bash", SCRIPT], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("usage: sbatch")


@pytest.mark.proof
class TestSlurmJob:
    def test_a_study_runs_on_all_nodes_and_leaves_nothing(self, tmp_path: Path) -> None:
        with slurm.job(tmp_path, "smoothing", *SMALL) as (job, private):
            shown, _ = job.communicate(timeout=240)
        assert job.returncode == 0, shown
        assert "2 of 2 nodes joined Ray at 127.0.0.1:" in shown
        assert "3 trials: 3 complete" in shown
        assert set(tune_distill.load("smoothing", results=tmp_path / "results")["state"]) == {
            "complete"
        }
        assert not (tmp_path / ".ray" / "auth_token").exists()
        slurm.assert_nothing_stays(private)

    def test_a_job_at_its_time_limit_writes_its_tables(self, tmp_path: Path) -> None:
        with slurm.job(tmp_path, "smoothing", "--seeds", "9", *SMALL) as (job, private):
            assert job.stdout
            shown = []
            for line in job.stdout:
                shown.append(line)
                if line.startswith("complete"):
                    token = private / "auth_token"
                    assert (token.stat().st_mode, private.stat().st_mode) == (0o100600, 0o040700)
                    job.send_signal(signal.SIGTERM)
                    break
            rest, _ = job.communicate(timeout=240)
        assert job.returncode == 1, "".join(shown) + rest
        states = tune_distill.load("smoothing", results=tmp_path / "results")["state"]
        assert "complete" in set(states)
        assert len(states) == 27
        slurm.assert_nothing_stays(private)
