"""Stand-ins for SLURM's commands: a job of two nodes, both of them this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.cluster_schemas.files import CLUSTER

SCRIPT = CLUSTER / "slurm.sh"

# Options are for SLURM; what follows them runs here, once, even where it is for every node. Its
# signals are the command's own.
_SRUN = """\
#!/usr/bin/env bash
while [[ $1 == --* ]]; do
  if [[ $1 == --output=* ]]; then exec >> "${1#*=}" 2>&1; fi
  shift
done
exec "$@"
"""
_SCONTROL = """\
#!/usr/bin/env bash
[[ $* == "show hostnames pair" ]] && printf 'first\\nsecond\\n'
"""
# Loopback, whatever this machine's name resolves to.
_GETENT = """\
#!/usr/bin/env bash
[[ $* == "ahostsv4 first" ]] && echo "127.0.0.1 STREAM first"
"""


def write_commands(folder: Path) -> None:
    """`folder` holds the stand-ins."""
    folder.mkdir()
    for name, text in {"srun": _SRUN, "scontrol": _SCONTROL, "getent": _GETENT}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)


def job_environment(job_id: int, commands: Path, home: Path) -> dict[str, str]:
    """What SLURM would give the batch script, with `home` as the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = [str(commands), str(Path(sys.executable).parent), kept["PATH"]]
    return kept | {
        "HOME": str(home),
        "PATH": os.pathsep.join(path),
        "SLURM_JOB_ID": str(job_id),
        "SLURM_JOB_NODELIST": "pair",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_MEM_PER_NODE": "3000",
    }


def free_job_id() -> int:
    """A job id whose ports nobody listens on, and which no test beside this one takes."""
    # The script takes ports from the id's last three digits; the others keep its folder its own.
    for last_digits in ((os.getpid() + n) % 1000 for n in range(1000)):
        if all(_is_free(20000 + last_digits * 10 + n) for n in range(2)):
            return os.getpid() * 1000 + last_digits
    raise RuntimeError("no job id has free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def job(folder: Path, *study: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The batch script as SLURM would run it, and the folder that it makes for itself."""
    write_commands(folder / "commands")
    job_id = free_job_id()
    script = subprocess.Popen(
        ["bash", SCRIPT, *study],
        cwd=folder,
        env=job_environment(job_id, folder / "commands", home=folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with script:
        try:
            yield script, Path(f"/tmp/tune_distill-{job_id}")
        finally:
            script.terminate()


def assert_nothing_stays(private: Path) -> None:
    """The job's folder is gone, and so is every process that was started for it."""
    assert not private.exists()
    started = [p for p in psutil.process_iter(["cmdline"]) if str(private) in str(p.info)]
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
