"""The one place for large batches: devices outside, cache-sized blocks inside, innermost vmap or
arrays whose last axis is the batch.

The same calls serve several processes, joined by `diffmig.runtime.join_processes`: each makes them
in the same order with equal arrays, and each device computes its share.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffmig.thread_waits import shares_threads, trace_once

BATCH_AXIS = "batch"


def batch_mesh(devices: list[jax.Device] | None = None) -> Mesh:
    """One-dimensional mesh over `devices` (default: all, of all joined processes), its axis named
    `BATCH_AXIS`.
    """
    return jax.make_mesh(
        (len(devices or jax.devices()),),
        (BATCH_AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=devices,
    )


def batched(
    fn: Callable[..., Any],
    xs: Any,
    *,
    block: int | None = None,
    mesh: Mesh | None = None,
    remat: bool = False,
    gather: bool = True,
) -> Any:
    """`fn` applied to every member of the leading axis of `xs`.

    Equal to `jax.vmap(fn)(xs)`; the batch is cut into one part per device of `mesh`, each part into
    blocks of `block` members that run one after the other, so that the working set of a block stays
    in the cache.

    Args:
        fn: function of one member (a pytree without the batch axis).
        xs: pytree, every leaf [member, ...].
        block: members per block; None runs each device's part as one block, 1 one member after the
            other without `vmap`, so that a branch not taken costs nothing.
        mesh: one-dimensional mesh; None runs on one device.
        remat: recompute a block in the backward pass instead of storing its residuals.
        gather: where devices of several processes share the batch, give every process the whole
            result; False leaves global arrays cut over the devices, of which a process holds its
            own part (`jax.experimental.multihost_utils.process_allgather` gathers them later).

    Returns:
        pytree of results, every leaf [member, ...].

    Raises:
        ValueError: leaves differ in length, the batch is empty, `block` < 1, `mesh` has more than
            one axis, unequal numbers of devices in its processes or none in this one, or without
            `gather` members that devices of several processes cannot share equally; members that
            decompose many matrices on several CPU devices of several processes.

    Notes:
        Differentiable where `fn` is. A short last block is filled with copies of the last member,
        which are dropped. Devices exchange nothing if they share the members without remainder,
        except that processes exchange results to gather them. Processes are not asked whether
        their arrays are equal. Where several CPU devices of one process would wait for each other
        inside batches of decompositions (`diffmig.thread_waits`), blocks are smaller, and where
        even one member holds such batches, one device does it all; a `vmap` around this call makes
        batches larger again and is not seen.
    """
    num_members = _num_members(xs)
    if mesh is not None and shares_threads(mesh):
        fn, most = trace_once(fn, jax.tree.map(_one_member, xs))
        if most is not None:
            block = max(most, 1) if block is None else min(block, max(most, 1))
        if most == 0 and _spans_processes(mesh):
            raise ValueError(
                "fn: one member alone decomposes so many matrices that CPU devices of one process "
                "would wait for each other for ever; start every process with one device"
            )
        mesh = None if most == 0 else mesh
    num_devices, per_device, block, num_blocks = _cut(num_members, block, mesh, gather)
    fn = jax.checkpoint(fn) if remat else fn
    run_block = jax.vmap(fn)

    def run_device(part: Any) -> Any:
        if block == 1:
            return lax.map(fn, part)
        if num_blocks == 1:
            return run_block(part)
        part = _fill(part, num_blocks * block)
        blocks = jax.tree.map(lambda x: x.reshape((num_blocks, block, *x.shape[1:])), part)
        out = lax.map(run_block, blocks)
        return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:]))[:per_device], out)

    if mesh is None:
        return run_device(xs)
    spec = PartitionSpec(mesh.axis_names[0])
    # members are independent: no collective whose replication would need checking
    on_mesh = jax.shard_map(run_device, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    out = on_mesh(_fill(xs, per_device * num_devices))
    out = _gathered(out, mesh) if gather else out
    if per_device * num_devices == num_members:
        return out
    return jax.tree.map(lambda x: x[:num_members], out)


def batched_last(
    fn: Callable[..., Any],
    xs: Any,
    *,
    block: int | None = None,
    mesh: Mesh | None = None,
    gather: bool = True,
) -> Any:
    """`fn` applied to blocks of the last axis of `xs`, for functions that treat all members alike.

    Equal to `fn(xs)` where `fn` works on each member of the last axis alone; the axis is cut as in
    `batched`, so that what a block needs stays in the cache.

    Args:
        fn: function of a pytree of leaves [..., member]; keeps the member axis last.
        xs: pytree, every leaf [..., member].
        block: members per block; None runs each device's part as one block.
        mesh: one-dimensional mesh; None runs on one device.
        gather: as `batched`.

    Returns:
        pytree of results, every leaf [..., member].

    Raises:
        ValueError: as `batched`.

    Notes:
        Differentiable where `fn` is; it should not decompose matrices (`batched` sees to them). The
        last block of a device may repeat members of the one before; devices whose share is short
        get copies of the last member.
    """
    num_members = _num_members(xs, axis=-1)
    num_devices, per_device, block, num_blocks = _cut(num_members, block, mesh, gather)

    def run_device(part: Any) -> Any:
        if num_blocks == 1:
            return fn(part)
        # blocks are cut out one by one: the whole is never laid out anew. The last one ends where
        # the part ends, so that it may begin inside the one before.
        last = per_device - block

        def run_one(number: Any) -> Any:
            first = jnp.minimum(number * block, last)
            return fn(
                jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, block, axis=-1), part)
            )

        out = lax.map(run_one, jnp.arange(num_blocks))
        return jax.tree.map(lambda x: _join(x, per_device), out)

    if mesh is None:
        return run_device(xs)
    axis = mesh.axis_names[0]

    def specs(tree: Any) -> Any:
        return jax.tree.map(lambda x: PartitionSpec(*[None] * (x.ndim - 1), axis), tree)

    filled = _fill(xs, per_device * num_devices, axis=-1)
    part = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((*x.shape[:-1], per_device), x.dtype), filled
    )
    out_specs = specs(jax.eval_shape(run_device, part))
    on_mesh = jax.shard_map(
        run_device, mesh=mesh, in_specs=(specs(filled),), out_specs=out_specs, check_vma=False
    )
    out = on_mesh(filled)
    out = _gathered(out, mesh) if gather else out
    if per_device * num_devices == num_members:
        return out
    return jax.tree.map(lambda x: x[..., :num_members], out)


def on_one_device(tree: Any, num_members: int, mesh: Mesh | None) -> Any:
    """The first members of what `batched` left on the devices of a mesh, leaves [member, ...].

    For what is computed over members later: on shared arrays devices would exchange numbers in
    every step of it. Traced arrays stay where they are.
    """
    if mesh is None:
        return tree

    def whole(leaf: Array) -> Array:
        if isinstance(leaf, jax.core.Tracer):
            return leaf[:num_members]
        return jnp.asarray(np.asarray(leaf)[:num_members])

    return jax.tree.map(whole, tree)


def _cut(
    num_members: int, block: int | None, mesh: Mesh | None, gather: bool
) -> tuple[int, int, int, int]:
    """Devices, members per device, members per block, blocks per device."""
    if block is not None and block < 1:
        raise ValueError(f"block: expected at least 1 member, got {block}")
    if mesh is not None and len(mesh.axis_names) != 1:
        raise ValueError(
            f"mesh: expected one axis, got {mesh.axis_names}; build it with batch_mesh()"
        )
    num_devices = 1 if mesh is None else mesh.size
    several = mesh is not None and _spans_processes(mesh)
    if several and not gather and num_members % num_devices:
        raise ValueError(
            f"xs: without gather expected a multiple of {num_devices} members, one part per "
            f"device of all processes, got {num_members}; fill them up or gather"
        )
    per_device = -(-num_members // num_devices)
    size = min(block or per_device, per_device)
    return num_devices, per_device, size, -(-per_device // size)


def _spans_processes(mesh: Mesh) -> bool:
    """Whether devices of several processes share `mesh`, which is then checked."""
    counts = Counter(device.process_index for device in mesh.devices.flat)
    if set(counts) == {jax.process_index()}:
        return False
    if jax.process_index() not in counts:
        raise ValueError(
            f"mesh: expected devices of this process, number {jax.process_index()}, got those of "
            f"{sorted(counts)}; every process calls, with a mesh over devices of all"
        )
    if len(set(counts.values())) > 1:
        raise ValueError(
            "mesh: expected the same number of devices in every process, got "
            f"{dict(sorted(counts.items()))}; start all with the same number, or give "
            "batch_mesh() as many of each"
        )
    return True


def _gathered(out: Any, mesh: Mesh) -> Any:
    """`out` whole in every process; as it is where one process holds all of it."""
    return _on_every_device(out, mesh) if _spans_processes(mesh) else out


@partial(jax.jit, static_argnums=1)
def _on_every_device(out: Any, mesh: Mesh) -> Any:
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda x: lax.with_sharding_constraint(x, whole), out)


def _join(x: Any, length: int) -> Any:
    """[block, ..., member] -> [..., length]; of the last block only what the others lack."""
    num_blocks, size = x.shape[0], x.shape[-1]
    whole = jnp.moveaxis(x, 0, -2).reshape((*x.shape[1:-1], num_blocks * size))
    lacking = length - (num_blocks - 1) * size
    if lacking == size:
        return whole
    return jnp.concatenate([whole[..., :-size], x[-1][..., size - lacking :]], axis=-1)


def _one_member(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


def _fill(xs: Any, length: int, axis: int = 0) -> Any:
    """`xs` with its last member repeated up to `length` members."""
    missing = length - jax.tree.leaves(xs)[0].shape[axis]
    if missing == 0:
        return xs

    def fill(x: Any) -> Any:
        last = jnp.take(x, jnp.array([-1]), axis=axis)
        return jnp.concatenate([x, jnp.repeat(last, missing, axis=axis)], axis=axis)

    return jax.tree.map(fill, xs)


def _num_members(xs: Any, axis: int = 0) -> int:
    lengths = {leaf.shape[axis] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(xs)}
    if len(lengths) != 1 or 0 in lengths:
        which = "leading" if axis == 0 else "last"
        raise ValueError(
            f"xs: expected leaves with one common non-empty {which} axis, got lengths {lengths}; "
            "close over what all members share"
        )
    return lengths.pop()
