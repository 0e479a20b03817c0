"""Two processes on this machine share batches and get the results of one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from scipy.stats import qmc

from diffmig import explain, fit, migration, smoothing
from diffmig.batching import batch_mesh, batched
from diffmig.optimize import (
    METHODS,
    Space,
    begin,
    finish,
    run,
    run_chunk,
    shard_members,
    solve_bfgs,
)
from diffmig.runtime import configure, join_processes
from tests.cases import WAGE

ROOT = Path(__file__).parents[1]
PROCESSES, DEVICES = 2, 2
RESTARTS, SCENARIOS, SAMPLES, SERIES, STARTS = (
    6,
    7,
    16,
    9,
    5,
)  # of four devices only SAMPLES is a multiple
GRID = fit.SmootherConfig(method="grid")
PATIENCE = 120.0  # seconds until processes that wait for each other are ended


def restarts(mesh: Mesh | None) -> tuple[Array, Array]:
    """Candidates and losses of a swarm from several keys."""
    space = Space(jnp.full(4, -5.0), jnp.full(4, 5.0))

    def loss_fn(key: Array, swarm: Array) -> Array:
        return jnp.sum((swarm - 1.5) ** 2, axis=1) + 3.0 * jnp.cos(swarm[:, 0])

    def restart(key: Array) -> tuple[Array, Array]:
        found = run(key, METHODS["swarm-inertia"], loss_fn, space, 15)
        return found.candidate, found.history

    keys = jax.random.split(jax.random.key(4), RESTARTS)
    return jax.jit(partial(batched, restart, block=1, mesh=mesh))(keys)


def scenarios(mesh: Mesh | None) -> Array:
    """Balances of five towns under several forces, exactly."""
    rng = np.random.default_rng(2)
    weights = rng.uniform(size=(5, 5))
    matrix = migration.laplacian(jnp.asarray(weights + weights.T)) + 0.2 * jnp.eye(5)
    start, push = rng.normal(size=(2, SCENARIOS, 5)), rng.normal(size=(SCENARIOS, 5, 8))
    modes = migration.modes(matrix)

    def one(scenario: tuple[Array, Array, Array]) -> Array:
        balance, velocity, force = scenario
        nodes = jnp.repeat(force[:, :, None], migration.NUM_NODES, axis=2)
        return migration.propagate(modes, 0.25, balance, velocity, nodes).balance

    given = tuple(map(jnp.asarray, (*start, push)))
    return jax.jit(partial(batched, one, block=2, mesh=mesh))(given)


def forecast(weights: Array) -> Array:
    """Next value of the wage by Holt's filter with smoothing weights [2]."""
    y = jnp.asarray(WAGE)
    start = smoothing.Start(y[0], y[1] - y[0], jnp.zeros(0))
    state = smoothing.run_filter(smoothing.HOLT, weights, y, None, start).state
    return smoothing.HOLT.predict(weights, state, 1)[0]


def samples(mesh: Mesh | None) -> tuple[Array, Array]:
    """Forecasts at low-discrepancy samples of the weights, of which devices get unequal parts, and
    the gradient of their mean square."""
    points = jnp.asarray(qmc.Sobol(2, seed=1).random(SAMPLES))[3:]

    def loss(points: Array) -> tuple[Array, Array]:
        found = batched(forecast, points, mesh=mesh)
        return jnp.mean((found / 6e3) ** 2), found

    slope, found = jax.jit(jax.grad(loss, has_aux=True))(points)
    return found, slope


def parts(mesh: Mesh | None) -> Array:
    """The samples, each forecast left where it was computed."""
    points = jnp.asarray(qmc.Sobol(2, seed=1).random(SAMPLES))
    return jax.jit(partial(batched, forecast, mesh=mesh, gather=False))(points)


def panel(mesh: Mesh | None) -> tuple[Array, Array]:
    """Weights and losses of a function of the package that passes `mesh` on, and runs on the last
    axis."""
    rng = np.random.default_rng(5)
    y = jnp.asarray(6e3 + np.cumsum(rng.normal(50.0, 90.0, (20, SERIES)), axis=0))
    found = fit.fit_smoother(smoothing.SES, y, config=GRID, block=2, mesh=mesh)
    return found.params, found.loss


def chunks(mesh: Mesh | None) -> np.ndarray:
    """A stage of chunks on the host, without jit."""
    rows = np.linspace(0.0, 2.0, 11)
    rows_fn = partial(batched, jnp.sin, mesh=mesh)
    return fit.run_rows("rows", rows_fn, rows, rows_per_chunk=4, mesh=mesh)


def square(place: Array, slope: Array) -> Array:
    """A bowl of its own for every number of `slope`, [number]."""
    return jnp.log1p(jnp.sum((place - slope) ** 2))


def starts(mesh: Mesh | None) -> tuple[Array, Array]:
    """Local minima from several starts."""
    begin = jnp.asarray(np.random.default_rng(6).normal(size=(STARTS, 3)))
    found = solve_bfgs(bowl, begin, mesh=mesh)
    return found.candidate, found.loss


def bowl(x: Array) -> Array:
    return square(x, jnp.arange(3.0))


def ensemble(mesh: Mesh | None) -> tuple[Array, Array]:
    """Slopes of every member, and the least changes that each calls enough."""
    members = jnp.asarray(np.random.default_rng(7).normal(size=(STARTS, 3)))
    found = explain.ensemble_sensitivity(square, members, jnp.ones(3), mesh=mesh)
    ends = (jnp.full(3, -5.0), jnp.full(3, 5.0))
    band = explain.least_change_band(product, members, jnp.ones(3), *ends, 0.1, mesh=mesh)
    return found.gradient, band.members.change


def product(change: Array, member: Array) -> Array:
    return change @ (1.0 + member**2)


def profile(mesh: Mesh | None) -> tuple[Array, Array]:
    """Profile likelihoods, of which devices get unequal parts."""
    grids = jnp.linspace(-1.0, 1.0, 3)[None, :] * jnp.ones((2, 1))
    found = fit.profile_likelihood(lambda x: -bowl(x), jnp.arange(3.0), grids, mesh=mesh)
    return found.log_likelihood, found.argument


def resamples(mesh: Mesh | None) -> tuple[Array, Array]:
    """Ridge regressions refitted to places drawn again, and their quantiles."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(9, 4, 2)), rng.normal(size=(9, 4))
    key = jax.random.key(3)
    made = fit.bootstrap_regression(key, fit.ridge(), x, y, num_resamples=STARTS, mesh=mesh)
    slopes = jnp.concatenate([x.reshape(STARTS, -1) for x in jax.tree.leaves(made)], axis=1)
    return slopes, jnp.quantile(slopes, 0.5, axis=0)


def swarm(mesh: Mesh | None) -> tuple[Array, Array]:
    """One swarm whose members the devices share."""
    method = METHODS["swarm-constriction"]
    method = method._replace(config=replace(method.config, num_members=16))
    key, space = jax.random.key(11), Space(jnp.full(3, -5.0), jnp.full(3, 5.0))
    state = begin(key, method, bowls, space)
    state = state if mesh is None else shard_members(state, mesh)
    state, history = run_chunk(key, state, method, bowls, space, 20)
    return finish(state, history, method, space).candidate, history


def bowls(key: Array, members: Array) -> Array:
    return jax.vmap(bowl)(members)


def networks(mesh: Mesh | None) -> tuple[Array, Array]:
    """Physics-informed networks from several starts, trained and with their last layers solved."""
    config = fit.PinnConfig(
        width=8, num_blocks=1, points_per_year=2, observation="point", num_steps=4, penalty=1.0
    )
    balance = np.sin(np.arange(9.0)[None, :] * np.array([[0.7], [1.1]]))
    problem = fit.pinn_problem(np.arange(9.0), balance, 0.1, config)
    theta = (np.eye(2), 0.2)
    found = fit.fit_pinn(jax.random.key(9), problem, theta, config, num_seeds=3, mesh=mesh)
    return found.estimate.force, found.loss


PROGRAMS: dict[str, Callable[[Mesh | None], Any]] = {
    "restarts": restarts,
    "scenarios": scenarios,
    "samples": samples,
    "panel": panel,
    "chunks": chunks,
    "starts": starts,
    "ensemble": ensemble,
    "profile": profile,
    "resamples": resamples,
    "swarm": swarm,
    "networks": networks,
}


def results(mesh: Mesh | None) -> dict[str, np.ndarray]:
    return {
        f"{name} {number}": np.asarray(leaf)
        for name, program in PROGRAMS.items()
        for number, leaf in enumerate(jax.tree.leaves(program(mesh)))
    }


def words(call: Callable[[], Any]) -> str:
    """What an impossible call says."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return "nothing"


def worker(address: str, number: int, path: str) -> None:
    """One of the processes: writes what it got."""
    configure(host_devices=DEVICES)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    assert join_processes(address, PROCESSES, number, timeout_seconds=60) == number
    mesh = batch_mesh()
    assert (mesh.size, jax.local_device_count()) == (PROCESSES * DEVICES, DEVICES)
    found = results(mesh)

    cut = parts(mesh)
    found["own part"] = np.concatenate([shard.data for shard in cut.addressable_shards])
    found["gathered later"] = multihost_utils.process_allgather(cut, tiled=True)

    other = [d for d in jax.devices() if d.process_index != number]
    rows = jnp.arange(6.0)
    said = {
        "unequal": words(lambda: batched(jnp.sin, rows, mesh=batch_mesh(jax.devices()[:3]))),
        "elsewhere": words(lambda: batched(jnp.sin, rows, mesh=batch_mesh(other))),
        "remainder": words(lambda: batched(jnp.sin, rows, mesh=mesh, gather=False)),
    }
    np.savez(path, **found, **{f"said {name}": line for name, line in said.items()})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_together(folder: Path) -> list[dict[str, np.ndarray]]:
    """What each of the processes wrote; where one fails or is late, all are ended."""
    address = f"127.0.0.1:{free_port()}"
    paths = [folder / f"{number}.npz" for number in range(PROCESSES)]
    logs = [path.with_suffix(".log") for path in paths]
    running = []
    for number, (path, log) in enumerate(zip(paths, logs, strict=True)):
        code = "import sys; from tests.test_distributed import worker; "
        code += "worker(sys.argv[1], int(sys.argv[2]), sys.argv[3])"
        arguments = [sys.executable, "-c", code, address, str(number), str(path)]
        with log.open("w") as out:
            running.append(
                subprocess.Popen(arguments, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
            )
    end = time.monotonic() + PATIENCE
    try:
        while any(process.poll() is None for process in running):
            if any(process.poll() for process in running) or time.monotonic() > end:
                break
            time.sleep(0.05)
        codes = [process.poll() for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    if any(codes) or None in codes:
        said = "\n".join(f"process {n}:\n{log.read_text()[-3000:]}" for n, log in enumerate(logs))
        pytest.fail(f"exit codes {codes} (None: not done after {PATIENCE:g} s)\n{said}")
    return [dict(np.load(path)) for path in paths]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    return run_together(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    return results(None)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_processes_get_the_results_of_one(name, together, alone) -> None:
    expected = {key: value for key, value in alone.items() if key.split()[0] == name}
    assert expected
    for key, value in expected.items():
        assert np.isfinite(value).all()
        assert np.ptp(value) > 0
        np.testing.assert_array_equal(together[0][key], together[1][key])
        np.testing.assert_allclose(together[0][key], value, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_results_that_stay_where_they_are_can_be_gathered_later(together, alone) -> None:
    own = [found["own part"] for found in together]
    assert [len(part) for part in own] == [SAMPLES // PROCESSES] * PROCESSES
    for whole in (np.concatenate(own), *(found["gathered later"] for found in together)):
        assert whole.shape == (SAMPLES,)
        np.testing.assert_allclose(whole[3:], alone["samples 0"], rtol=1e-12)


@pytest.mark.slow
def test_meshes_that_do_not_fit_are_named(together) -> None:
    for number, found in enumerate(together):
        unequal, elsewhere, remainder = (
            str(found[f"said {name}"]) for name in ("unequal", "elsewhere", "remainder")
        )
        assert "same number of devices in every process, got {0: 2, 1: 1}" in unequal
        assert f"number {number}, got those of [{1 - number}]" in elsewhere
        assert "expected a multiple of 4 members" in remainder


def test_a_mesh_of_two_axes_is_refused() -> None:
    mesh = jax.make_mesh((1, 1), ("region", "run"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with pytest.raises(ValueError, match=r"one axis, got \(.region., .run.\); build it with"):
        batched(jnp.sin, jnp.arange(3.0), mesh=mesh)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("127.0.0.1:1", 2, None), "or none of them"),
        ((None, 2, 0), "or none of them"),
        (("127.0.0.1", 2, 0), "host:port"),
        (("127.0.0.1:1", 2, 2), "got 2 and 2"),
        (("127.0.0.1:1", 0, 0), "got 0 and 0"),
    ],
)
def test_processes_are_joined_by_whole_addresses(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        join_processes(*arguments)


def test_a_process_outside_a_cluster_is_told_what_to_give() -> None:
    code = "from diffmig.runtime import join_processes; join_processes()"
    clusters = ("SLURM_", "OMPI_", "KUBERNETES_", "JAX_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(clusters)}
    kept |= {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "no cluster environment found" in done.stderr
    assert "num_processes and process_id" in done.stderr
