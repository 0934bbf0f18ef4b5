from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_distill.planning.resources import ResourceRequest, TrialResources, fit, memory_text
from tune_distill.spec.errors import ClusterError

GIB = 2**30
SMALL, LARGE = 500_000, 77_000_000
GPU_SHARES = [0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.7, 1.0, 2.0]

NODES = st.lists(
    st.fixed_dictionaries(
        {"CPU": st.integers(1, 16).map(float)}, optional={"GPU": st.sampled_from([1.0, 2.0, 3.0])}
    ),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize(
    ("nodes", "num_runs", "parameters", "request_", "expected"),
    [
        # A small student gets one CPU, even if there are few runs.
        ([{"CPU": 8.0}], 1, SMALL, {}, TrialResources(1.0, 0.0, 8)),
        # Runs of a large student share the CPUs evenly: 3 runs on 8 CPUs.
        ([{"CPU": 8.0}], 3, LARGE, {}, TrialResources(2.0, 0.0, 4)),
        ([{"CPU": 8.0}], 1, LARGE, {}, TrialResources(8.0, 0.0, 1)),
        ([{"CPU": 8.0}], 100, LARGE, {}, TrialResources(1.0, 0.0, 8)),
        # A trial never spans two nodes.
        ([{"CPU": 4.0}, {"CPU": 8.0}], 3, LARGE, {}, TrialResources(4.0, 0.0, 3)),
        # A request is granted as it is.
        ([{"CPU": 8.0}], 3, LARGE, {"cpus_per_trial": 3.0}, TrialResources(3.0, 0.0, 2)),
        ([{"CPU": 8.0}], 3, SMALL, {"cpus_per_trial": 0.5}, TrialResources(0.5, 0.0, 16)),
        ([{"CPU": 8.0}], 9, LARGE, {"max_concurrent": 2}, TrialResources(4.0, 0.0, 2)),
        ([{"CPU": 8.0}], 9, SMALL, {"max_concurrent": 99}, TrialResources(1.0, 0.0, 8)),
        # Each trial gets a GPU, and CPUs are shared among as many trials as there are GPUs.
        ([{"CPU": 16.0, "GPU": 2.0}], 9, LARGE, {}, TrialResources(8.0, 1.0, 2)),
        ([{"CPU": 4.0, "GPU": 1.0}], 9, SMALL, {}, TrialResources(1.0, 1.0, 1)),
        (
            [{"CPU": 4.0, "GPU": 1.0}],
            9,
            SMALL,
            {"gpus_per_trial": 0.0},
            TrialResources(1.0, 0.0, 4),
        ),
        (
            [{"CPU": 8.0, "GPU": 1.0}],
            9,
            SMALL,
            {"gpus_per_trial": 0.25},
            TrialResources(1, 0.25, 4),
        ),
        # A trial's share must be on one GPU: each GPU takes one trial of 0.7.
        ([{"CPU": 8.0, "GPU": 3.0}], 9, SMALL, {"gpus_per_trial": 0.7}, TrialResources(1, 0.7, 3)),
        ([{"CPU": 8.0, "GPU": 3.0}], 9, SMALL, {"gpus_per_trial": 2.0}, TrialResources(1, 2.0, 1)),
        # Requested memory limits each node separately: to one trial and to three.
        (
            [{"CPU": 8.0, "memory": 7 * GIB}, {"CPU": 8.0, "memory": 12.5 * GIB}],
            9,
            SMALL,
            {"memory_per_trial": 4 * GIB},
            TrialResources(1.0, 0.0, 4, 4 * GIB),
        ),
        # The CPUs are shared among the trials that fit into memory.
        (
            [{"CPU": 8.0, "memory": 9.0 * GIB}],
            9,
            LARGE,
            {"memory_per_trial": 4 * GIB},
            TrialResources(4.0, 0.0, 2, 4 * GIB),
        ),
        # Without a request, memory does not matter.
        ([{"CPU": 8.0, "memory": 1.0}], 9, SMALL, {}, TrialResources(1.0, 0.0, 8, 0)),
    ],
)
def test_resources_of_example_machines(nodes, num_runs, parameters, request_, expected):
    assert fit(nodes, num_runs, parameters, ResourceRequest(**request_)) == expected


@given(
    NODES,
    st.integers(1, 20),
    st.sampled_from([SMALL, LARGE]),
    st.none() | st.sampled_from([0.5, 1.0, 1.5, 3.0]),
    st.none() | st.sampled_from(GPU_SHARES),
    st.none() | st.integers(1, 8),
)
def test_as_many_trials_run_at_once_as_the_nodes_hold(
    nodes, num_runs, parameters, cpus, gpus, most
):
    request = ResourceRequest(cpus, gpus, most)
    try:
        given_ = fit(nodes, num_runs, parameters, request)
    except ClusterError:
        assert cpus is not None or gpus is not None
        wanted_cpus = cpus or 1.0
        wanted_gpus = gpus if gpus is not None else float(any("GPU" in node for node in nodes))
        assert placed(nodes, wanted_cpus, wanted_gpus) == 0
        return
    held = placed(nodes, given_.cpus, given_.gpus)
    assert given_.max_concurrent == min(held, most or held)
    assert given_.max_concurrent >= 1
    assert cpus in (None, given_.cpus)
    assert gpus in (None, given_.gpus)
    assert parameters == LARGE or cpus is not None or given_.cpus == 1.0


@given(NODES, st.integers(1, 20), st.none() | st.integers(1, 8))
def test_sharing_cpus_makes_no_run_wait(nodes, num_runs, most):
    request = ResourceRequest(max_concurrent=most)
    given_ = fit(nodes, num_runs, LARGE, request)
    possible = min(num_runs, placed(nodes, 1.0, given_.gpus), most or num_runs)
    assert given_.max_concurrent >= possible
    # With one more CPU per trial a run would wait, or no node could hold it.
    assert placed(nodes, given_.cpus + 1, given_.gpus) < possible


def test_threads_are_whole_and_at_least_one():
    shares = [TrialResources(cpus, 0.0, 1).num_threads for cpus in (0.5, 1.0, 2.9, 4.0)]
    assert shares == [1, 1, 2, 4]


BIG, GPU = {"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("nodes", "request_", "got"),
    [
        ([BIG], {"cpus_per_trial": 9.0}, "9 CPUs and 0 GPUs where .* nodes with 8 CPUs and 0 GPUs"),
        (
            [BIG],
            {"gpus_per_trial": 0.5},
            "1 CPU and 0.5 GPUs where .* nodes with 8 CPUs and 0 GPUs",
        ),
        # Both resources exist, but not on the same node.
        (
            [BIG, GPU, GPU],
            {"cpus_per_trial": 4.0, "gpus_per_trial": 1.0},
            "4 CPUs and 1 GPU where .* nodes with 2 CPUs and 1 GPU; with 8 CPUs and 0 GPUs",
        ),
        (
            [{"CPU": cpus} for cpus in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)],
            {"cpus_per_trial": 7.0},
            "7 CPUs and 0 GPUs where .* with 4 CPUs and 0 GPUs, and 2 more kinds",
        ),
        ([], {}, "1 CPU and 0 GPUs where the cluster has no node"),
    ],
)
def test_a_trial_that_never_fits_is_refused(nodes, request_, got):
    pattern = f"^--cpus-per-trial, --gpus-per-trial: .*, got {got}; ask for less, or join more"
    with pytest.raises(ClusterError, match=pattern):
        fit(nodes, 3, SMALL, ResourceRequest(**request_))


@pytest.mark.parametrize(
    ("nodes", "have"),
    [
        (
            [{"CPU": 4.0, "memory": 3.5 * GIB}, {"CPU": 8.0, "memory": 1.0 * GIB}],
            "4 CPUs, 0 GPUs and 3.5 GiB of memory; with 8 CPUs, 0 GPUs and 1 GiB of memory",
        ),
        ([BIG], "8 CPUs, 0 GPUs and 0 bytes of memory"),
    ],
)
def test_memory_that_no_node_has_is_refused(nodes, have):
    pattern = (
        "^--cpus-per-trial, --gpus-per-trial, --memory-per-trial: a trial must fit on one node, "
        "got 1 CPU, 0 GPUs and 4 GiB of memory where the cluster has nodes with "
        f"{have}; ask for less, or join more nodes$"
    )
    with pytest.raises(ClusterError, match=pattern):
        fit(nodes, 3, SMALL, ResourceRequest(memory_per_trial=4 * GIB))


def test_resources_are_shown_as_text():
    assert TrialResources(1.0, 0.0, 2).text() == "2 at once, each with 1 CPU and 0 GPUs"
    text = "4 at once, each with 2 CPUs, 0.25 GPUs and 4 GiB of memory"
    assert TrialResources(2.0, 0.25, 4, 4 * GIB).text() == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1.5 * 2**20, "1.5 MiB"),
        (10 * 2**30, "10 GiB"),
        (2**40, "1024 GiB"),
    ],
)
def test_memory_is_named_readably(num_bytes, text):
    assert memory_text(num_bytes) == text


def test_a_cluster_without_nodes_is_refused():
    with pytest.raises(ClusterError, match="a trial must fit on one node"):
        fit([], 3, LARGE, ResourceRequest())


def placed(nodes, cpus: float, gpus: float) -> int:
    """Return how many trials fit, placing one after the other like Ray, in exact arithmetic."""
    cpus_of_trial, gpus_of_trial = (Fraction(str(share)) for share in (cpus, gpus))
    count = 0
    for node in nodes:
        free = Fraction(node["CPU"])
        devices = [Fraction(1)] * int(node.get("GPU", 0))
        while free >= cpus_of_trial and take(devices, gpus_of_trial):
            free -= cpus_of_trial
            count += 1
    return count


def take(devices: list[Fraction], share: Fraction) -> bool:
    """Take the share from one of `devices`; return whether one had it."""
    if share >= 1:
        whole = [index for index, left in enumerate(devices) if left == 1][: int(share)]
        if len(whole) < share:
            return False
        for index in whole:
            devices[index] = Fraction(0)
        return True
    fitting = [index for index, left in enumerate(devices) if left >= share]
    if share and not fitting:
        return False
    if share:
        devices[fitting[0]] -= share
    return True
