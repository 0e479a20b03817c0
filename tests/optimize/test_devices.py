"""The same swarm on 1, 2 and 8 devices, cut by members and by restarts."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from dataclasses import replace
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
from diffmig.batching import batch_mesh, batched
from diffmig.optimize import METHODS, Space, begin, finish, run, run_chunk, shard_members
from diffmig.random import uniform_pair

assert jax.device_count() == 8
key = jax.random.key(4)
space = Space(jnp.full(6, -5.0), jnp.full(6, 5.0))
loss = lambda key, swarm: jnp.sum((swarm - 1.5) ** 2, axis=1) + 3.0 * jnp.cos(swarm[:, 0])

for name, counts in (("swarm-constriction", (1, 2, 8)), ("genetic-standard", (1, 8))):
    method = METHODS[name]
    method = method._replace(config=replace(method.config, num_members=16))
    results = {}
    for devices in counts:
        state = begin(key, method, loss, space)
        state = shard_members(state, batch_mesh(jax.devices()[:devices]))
        state, history = run_chunk(key, state, method, loss, space, 40)
        assert len(state.swarm.sharding.device_set) == devices
        results[devices] = jax.tree.map(np.asarray, (state, history))
    for devices in counts:
        jax.tree.map(np.testing.assert_array_equal, results[1], results[devices])
    part = state.swarm.sharding.shard_shape(state.swarm.shape)[0] * 8
    print(name, "swarm cut" if part == state.swarm.shape[0] else "swarm whole")

mesh = batch_mesh()
keys = jax.random.split(key, 16)
restart = lambda key: run(key, METHODS["swarm-inertia"], loss, space, 40).history
alone = batched(restart, keys)
np.testing.assert_array_equal(batched(restart, keys, mesh=mesh), alone)

try:
    shard_members(begin(key, METHODS["swarm-literal"], loss, space), mesh)
except ValueError as error:
    print(error)
"""


def test_device_count_changes_nothing():
    root = Path(__file__).parents[2]
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "expected a multiple of 8 members" in done.stdout
    assert "swarm-constriction swarm cut" in done.stdout
