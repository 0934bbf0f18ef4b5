#!/usr/bin/env bash
# A study on a Ray cluster that lives as long as one SLURM job: the head and the driver on the job's first
# node, a worker on each of the others. From the folder that shall get results/, with the environment that
# has the package activated:
#
#   sbatch cluster/slurm.sh smoothing --seeds 3
#   sbatch --nodes=4 --gpus-per-node=1 cluster/slurm.sh all --profile esnli --student ./flan-t5-small
#
# The same sbatch again goes on where it stopped. Results and store are written on the first node, so they
# belong on a disk that it shares with you, as the folder of sbatch usually is; the other nodes need to see
# the environment, and no more.

#SBATCH --job-name=tune_distill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
# A lost worker node does not end the job, since studies survive it. A lost first node does; then the
# job runs again, and goes on.
#SBATCH --no-kill
#SBATCH --requeue
# Two minutes before the time is up this script is told, and the study writes the tables it has.
#SBATCH --signal=B:TERM@120

set -euo pipefail
# Ray opens many files; its nodes inherit this.
ulimit -Sn hard

if (($# == 0)); then
  echo "usage: sbatch [SLURM option ...] $0 STUDY [study option ...]" >&2
  exit 2
fi

# Its own ports and folder, so that two jobs share a node in peace. The folder's name is short, because
# sockets lie in it. Ray opens its own folder to everyone, so that one is inside a closed one.
port=$((20000 + SLURM_JOB_ID % 1000 * 10))
private=/tmp/tune_distill-$SLURM_JOB_ID
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
read -r head_ip _ < <(getent ahostsv4 "${nodes[0]}")
address=$head_ip:$port

# One step for each node, so that a lost node ends its own step and no other. Ray takes what SLURM gave, and
# not what else the machine has; it may keep a tenth of the memory for objects and promise most of the rest.
ray_log=tune_distill-$SLURM_JOB_ID-ray.log
per_node=(srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK"
  --output="$ray_log" --open-mode=append)
started=(--block --temp-dir="$private/ray" --dashboard-agent-listen-port=0 --min-worker-port=0
  --max-worker-port=0 --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
if [[ -n ${SLURM_MEM_PER_NODE:-} ]]; then
  tenth=$((SLURM_MEM_PER_NODE * 1024 * 1024 / 10))
  started+=(--memory="$((tenth * 7))" --object-store-memory="$tenth")
fi

# By job step, and never by `ray stop`, which would end the Ray of other jobs on the node too.
steps=()
# shellcheck disable=SC2329  # The trap calls it.
finish() {
  kill "${steps[@]}" 2> /dev/null || true
  wait "${steps[@]}" || true
  # A step for each node here too, and in time: one for all would wait for a node that is lost.
  for node in "${nodes[@]}"; do
    timeout 30 srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" rm -rf -- "$private" || true &
  done
  wait
}
trap finish EXIT

# Its own token, in a file that only its user reads: an argument or a log would show it. srun hands its
# standard input to every node.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$private/auth_token RAY_USAGE_STATS_ENABLED=0
# shellcheck disable=SC2016  # $1 is the inner shell's.
python -c 'import secrets; print(secrets.token_hex(32))' |
  srun --overlap --nodes="${#nodes[@]}" --ntasks="${#nodes[@]}" --ntasks-per-node=1 bash -c \
    'umask 077 && rm -rf -- "$1" && mkdir -- "$1" && cat > "$1/auth_token"' bash "$private"

"${per_node[@]}" --nodelist="${nodes[0]}" ray start --head --node-ip-address="$head_ip" --port="$port" \
  --ray-client-server-port=$((port + 1)) --include-dashboard=false "${started[@]}" &
steps+=($!)
until ray health-check --address "$address" > /dev/null 2>&1; do
  if ! kill -0 "${steps[0]}" 2> /dev/null; then
    echo "Ray's head must start at $address, got an early end; see $ray_log" >&2
    exit 1
  fi
  sleep 1
done
for node in "${nodes[@]:1}"; do
  "${per_node[@]}" --nodelist="$node" ray start --address="$address" "${started[@]}" &
  steps+=($!)
done

# A study counts the nodes when it starts, so it waits for all of them, though not for ever.
python - "$address" "${#nodes[@]}" << 'PYTHON'
import sys
import time

import ray

address, wanted = sys.argv[1], int(sys.argv[2])
ray.init(address, log_to_driver=False, logging_level="ERROR")
deadline = time.monotonic() + 300
while (joined := sum(node["Alive"] for node in ray.nodes())) < wanted and time.monotonic() < deadline:
    time.sleep(1)
print(f"{joined} of {wanted} nodes joined Ray at {address}", flush=True)
PYTHON

# In the background, because the shell would look at no signal before a command in the foreground ends. A
# signal ends the wait, but not the study: it now writes its tables, and is waited for again.
python -m tune_distill.study --address "$address" "$@" &
study=$!
told=yes
trap 'told=yes; kill -TERM "$study" 2> /dev/null || true' TERM
while [[ -n $told ]]; do
  told=
  code=0
  wait "$study" || code=$?
done
exit "$code"
