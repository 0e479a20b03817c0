"""Other tools on the problem of `benchmarks.inverse`, in a process of their own without diffmig.

Command: python -m benchmarks._inverse_peers JOB.npz RESULT.npz

JOB holds arrays of the problem and, as JSON, the method and its options; RESULT the estimates on
the dense times and, as JSON, seconds and errors along the way. Seconds count from the end of the
imports: building, compiling and training.

One loss for all networks: mean((q - y)^2 / s^2) + mean((q'' + c q' + K q + k3 q^3 - f)^2 / r^2)
+ lam mean(f''^2), s the mean noise, r = s (2 pi / 8 years)^2; two perceptrons 64 x 3, tanh, inputs
2 t / T - 1; the same points, Adam at the same rate, float32.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RATE = 2.0 * np.pi / 8.0  # 1/year, of the residual's unit


def main(job_file: str, result_file: str) -> None:
    with np.load(job_file) as stored:
        job = {name: stored[name] for name in stored.files}
    options = json.loads(str(job.pop("options")))
    pin(options["core"])
    answers, sys.stdout = sys.stdout, sys.stderr  # DeepXDE prints while it is imported
    arrays, found = METHODS[options["method"]](job, options)
    sys.stdout = answers
    found["peak_bytes"] = _peak_bytes()
    np.savez(result_file, found=json.dumps(found), **arrays)


def pin(core: int) -> None:
    """Keeps this process on one core, where the system can (Linux) and has it."""
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


def _peak_bytes() -> int:
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


# --- physics-informed networks ------------------------------------------------------------------


def _deepxde(job: dict[str, np.ndarray], options: dict[str, Any]) -> tuple[dict, dict]:
    os.environ["DDE_BACKEND"] = "jax"
    import deepxde as dde
    import jax.numpy as jnp

    start = time.perf_counter()
    dde.config.set_default_autodiff("forward")
    dde.config.set_random_seed(options["network_seed"])
    towns, years = job["observed"].shape[0], float(job["observed_time"][-1])
    stiffness, sigma = jnp.asarray(job["stiffness"], jnp.float32), float(job["noise"].mean())
    c, k3 = float(job["damping"]), float(job["cubic"])

    def equations(t: Any, y: Any) -> list[Any]:
        rate = dde.grad.jacobian(y, t, i=None, j=0)
        bend = dde.grad.jacobian(rate, t, i=None, j=0)
        q, f = y[0][:, :towns], y[0][:, towns:]
        left = bend[0][:, :towns] + c * rate[0][:, :towns] + q @ stiffness + k3 * q**3 - f
        return [left / (sigma * RATE**2), bend[0][:, towns:]]

    points = np.linspace(0.0, years, options["points"])[:, None]
    observed = dde.icbc.PointSetBC(
        job["observed_time"][:, None], job["observed"].T, component=slice(0, towns)
    )
    data = dde.data.PDE(dde.geometry.TimeDomain(0.0, years), equations, [observed], anchors=points)
    sizes: list[Any] = [1, *[[options["width"]] * 2] * options["layers"], [towns, towns]]
    network = dde.nn.PFNN(sizes, "tanh", "Glorot uniform")
    network.apply_feature_transform(lambda t: 2.0 * t / years - 1.0)
    model = dde.Model(data, network)
    weights = [1.0, options["penalty"], 1.0 / sigma**2]
    model.compile("adam", lr=options["learning_rate"], loss_weights=weights, verbose=0)
    dense = job["time"][:, None].astype(np.float32)
    trace, first = [], None
    done = 0
    for stop in options["stops"]:
        # a step costs one call of a compiled program; the display of losses is turned off
        model.train(iterations=stop - done, display_every=10**9, verbose=0)
        done = stop
        first = first or time.perf_counter() - start
        trace.append((done, time.perf_counter() - start, model.predict(dense)))
    seconds = time.perf_counter() - start
    return _traced(trace, towns), {"seconds": seconds, "version": dde.__version__}


def _jinns(job: dict[str, np.ndarray], options: dict[str, Any]) -> tuple[dict, dict]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jinns
    import optax

    start = time.perf_counter()
    towns, years = job["observed"].shape[0], float(job["observed_time"][-1])
    stiffness, sigma = jnp.asarray(job["stiffness"], jnp.float32), float(job["noise"].mean())
    c, k3, root = float(job["damping"]), float(job["cubic"]), towns**-0.5

    class Pair(eqx.Module):
        balance: eqx.nn.MLP
        force: eqx.nn.MLP

        def __init__(self, key: Any) -> None:
            sizes = (1, towns, options["width"], options["layers"])
            one, two = jax.random.split(key)
            self.balance = eqx.nn.MLP(*sizes, activation=jnp.tanh, key=one)
            self.force = eqx.nn.MLP(*sizes, activation=jnp.tanh, key=two)

        def __call__(self, t: Any) -> Any:
            u = 2.0 * t / years - 1.0
            return jnp.concatenate([self.balance(u), self.force(u)])

    class Motion(jinns.loss.ODE):
        def equation(self, t: Any, u: Any, params: Any) -> Any:
            one = jnp.ones_like(t)

            def value(t: Any) -> Any:
                return u(t, params)

            def rate(t: Any) -> Any:
                return jax.jvp(value, (t,), (one,))[1]

            y, dy = value(t), rate(t)
            bend = jax.jvp(rate, (t,), (one,))[1]
            q, f = y[:towns], y[towns:]
            left = bend[:towns] + c * dy[:towns] + stiffness @ q + k3 * q**3 - f
            curved = options["penalty"] ** 0.5 * bend[towns:]
            return root * jnp.concatenate([left / (sigma * RATE**2), curved])

    key = jax.random.PRNGKey(options["network_seed"])
    u, weights = jinns.nn.PINN_MLP.create(eqx_network=Pair(key), eq_type="ODE")
    params = jinns.parameters.Params(nn_params=weights, eq_params={})
    points = options["points"]
    data = jinns.data.DataGeneratorODE(
        key=key, nt=points, tmin=0.0, tmax=years * points / (points - 1), method="grid"
    )
    seen = jinns.data.DataGeneratorObservations(
        key=key,
        obs_batch_size=None,
        observed_pinn_in=jnp.asarray(job["observed_time"][:, None], jnp.float32),
        observed_values=jnp.asarray(job["observed"].T, jnp.float32),
    )
    loss = jinns.loss.LossODE(
        u=u,
        dynamic_loss=Motion(params=params),
        loss_weights=jinns.loss.LossWeightsODE(dyn_loss=1.0, observations=1.0 / (towns * sigma**2)),
        obs_slice=jnp.s_[:towns],
        params=params,
    )
    quasi = options["optimizer"] == "ssbroyden"
    rule = optax.adam(options["learning_rate"])
    if quasi:
        rule = jinns.optimizers.scale_by_SSBroyden_family()
    dense = jnp.asarray(job["time"][:, None], jnp.float32)
    trace: list[tuple[int, float, np.ndarray]] = []
    state, done = None, 0
    for stop in options["stops"]:
        extra = _line_search_arguments() if quasi else {}
        out = jinns.solve(
            n_iter=stop - done,
            init_params=params,
            data=data,
            loss=loss,
            optimizer=rule,
            opt_state=state,
            obs_data=seen,
            verbose=False,
            print_loss_every=10**9,
            **extra,
        )
        params, data, loss, state, seen = out[0], out[3], out[4], out[5], out[8]
        values = np.asarray(jax.vmap(lambda t, now=params: u(t, now))(dense))
        done = stop
        trace.append((done, time.perf_counter() - start, values))
    from importlib.metadata import version

    seconds = time.perf_counter() - start
    return _traced(trace, towns), {"seconds": seconds, "version": version("jinns")}


def _line_search_arguments() -> dict[str, Any]:
    """What jinns hands to the line search of its quasi-Newton rule."""
    from jinns.solver._utils import GetJinnsVariableName

    names = {"value": "train_loss_value", "grad_pt": "grads", "batch": "batch", "loss": "loss"}
    found: dict[str, Any] = {key: GetJinnsVariableName(name) for key, name in names.items()}
    found |= {"value_fn": callback_value, "grad_fn": callback_gradient}
    return {"extra_optax_args_and_kwargs": found}


def callback_value(params: Any, batch: Any, loss: Any) -> Any:
    return loss.evaluate(params, batch)[0]


def callback_gradient(params: Any, batch: Any, loss: Any) -> Any:
    import jax

    return jax.grad(lambda p: loss.evaluate(p, batch)[0])(params)


def _traced(trace: list[tuple[int, float, np.ndarray]], towns: int) -> dict[str, np.ndarray]:
    """Estimates at every stop: balance and force, [stop, town, time]."""
    values = np.stack([np.asarray(y, float).T for *_, y in trace])
    return {
        "balance": values[-1, :towns],
        "force": values[-1, towns:],
        "trace_force": values[:, towns:],
        "trace_step": np.array([step for step, *_ in trace]),
        "trace_seconds": np.array([seconds for _, seconds, _ in trace]),
    }


# --- splines ------------------------------------------------------------------------------------

INTERVALS = 40
PENALTIES = 10.0 ** np.arange(-1.0, 4.5, 0.5)
THETA_PENALTY = 2.0  # while c, k0, kc are fitted
UNFORCED = 30.0  # weight of the force of towns that have none, in units of the noise and RATE


def _scipy(job: dict[str, np.ndarray], options: dict[str, Any]) -> tuple[dict, dict]:
    """q as quintic splines, f := q'' + c q' + K q + k3 q^3, penalty on f''; Gauss-Newton on the
    normal equations, the penalty by generalised cross-validation."""
    import scipy
    from scipy.linalg import cho_factor, cho_solve

    start = time.perf_counter()
    y, seen = job["observed"], job["observed_time"]
    towns, years, sigma = y.shape[0], float(seen[-1]), job["noise"]
    points = np.linspace(0.0, years, options["points"])
    basis = _spline_basis(years)
    at, data, num = [basis(points, k) for k in range(5)], basis(seen, 0), basis(seen, 0).shape[1]
    eye, laplacian, k3 = np.eye(towns), job["laplacian"], float(job["cubic"])
    theta = np.log(options["guess"] if options["fit_theta"] else options["theta"])
    unforced = np.flatnonzero(~job["forced"])
    forced = np.flatnonzero(job["forced"])
    seen_rows = np.kron(np.diag(1.0 / sigma), data) / np.sqrt(y.size)
    wanted = (y / sigma[:, None]).reshape(-1) / np.sqrt(y.size)
    size = 1.0 / np.sqrt(towns * points.size)

    def derivative(a: np.ndarray, k: int) -> np.ndarray:
        return a @ at[k].T

    def rows(a: np.ndarray, theta: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
        """Residuals and their Jacobian by (a, theta)."""
        c, k0, kc = np.exp(theta)
        stiffness = k0 * eye + kc * laplacian
        q, v, b = (derivative(a, k) for k in range(3))
        cube = [q**3, 3 * q**2 * b + 6 * q * v**2] if k3 else [0.0, 0.0]
        parts, jacobians = (
            [seen_rows @ a.reshape(-1) - wanted],
            [np.pad(seen_rows, ((0, 0), (0, 3)))],
        )
        for order, which, weight in (
            (2, forced, np.sqrt(lam) * size),
            (0, unforced, UNFORCED * size / (sigma.mean() * RATE**2)),
        ):
            if not which.size:
                continue
            one = derivative(a, order + 1)
            zero = derivative(a, order)
            f = derivative(a, order + 2) + c * one + stiffness @ zero + k3 * cube[order // 2]
            jac = np.kron(eye, at[order + 2] + c * at[order + 1]) + np.kron(stiffness, at[order])
            if k3:
                jac += k3 * _cubic_rows(q, v, b, at, order)
            jac = jac.reshape(towns, points.size, -1)[which].reshape(-1, towns * num)
            by_theta = [c * one[which], k0 * zero[which], kc * (laplacian @ zero)[which]]
            columns = np.stack([x.reshape(-1) for x in by_theta], axis=1)
            parts.append(weight * f[which].reshape(-1))
            jacobians.append(weight * np.hstack([jac, columns]))
        return np.concatenate(parts), np.concatenate(jacobians)

    def solve(a: np.ndarray, theta: np.ndarray, lam: float, free: bool) -> tuple[Any, ...]:
        for _ in range(1 + 12 * (free or bool(k3))):
            r, jac = rows(a, theta, lam)
            jac = jac if free else jac[:, :-3]
            normal = jac.T @ jac
            normal[np.diag_indices_from(normal)] *= 1.0 + 1e-10
            factor = cho_factor(normal)
            step = cho_solve(factor, jac.T @ r)
            a = a - step[: a.size].reshape(a.shape)
            if free:
                theta = theta - np.clip(step[a.size :], -1.0, 1.0)
            if np.linalg.norm(step) < 1e-6 * np.linalg.norm(a):
                break
        return a, theta, jac, factor

    a = np.linalg.lstsq(data, y.T, rcond=1e-3)[0].T
    if options["fit_theta"]:  # under a small penalty: a large one would bend the parameters
        a, theta, *_ = solve(a, theta, THETA_PENALTY, True)
    best: tuple[float, Any] = (np.inf, None)
    for lam in PENALTIES[::-1]:  # from smooth to rough: a start near the next solution
        a, _, jac, factor = solve(a, theta, lam, False)
        misfit = rows(a, theta, lam)[0][: y.size]
        hat = np.sum(jac[: y.size].T * cho_solve(factor, jac[: y.size].T))
        score = float(misfit @ misfit / (1.0 - hat / y.size) ** 2)
        if score < best[0]:
            best = (score, (a.copy(), theta.copy(), float(lam)))
    a, theta, lam = best[1]
    c, k0, kc = np.exp(theta)
    q, v, b = (a @ basis(job["time"], k).T for k in range(3))
    force = b + c * v + (k0 * eye + kc * laplacian) @ q + k3 * q**3
    found = {"seconds": time.perf_counter() - start, "version": scipy.__version__, "penalty": lam}
    return {"balance": q, "force": force}, found | {"theta": [float(x) for x in (c, k0, kc)]}


def _spline_basis(years: float) -> Callable[[np.ndarray, int], np.ndarray]:
    from scipy.interpolate import BSpline

    step = years / INTERVALS
    knots = np.arange(-5, INTERVALS + 6) * step

    def basis(t: np.ndarray, order: int) -> np.ndarray:
        spline = BSpline(knots, np.eye(INTERVALS + 5), 5)
        return spline(t) if order == 0 else spline.derivative(order)(t)

    return basis


def _cubic_rows(q: Any, v: Any, b: Any, at: list[np.ndarray], order: int) -> np.ndarray:
    """Jacobian of q^3, or of its second derivative 3 q^2 q'' + 6 q q'^2, by the coefficients."""
    towns, (num_points, num) = q.shape[0], at[0].shape
    out = np.zeros((towns, num_points, towns, num))
    for i in range(towns):
        if order == 0:
            out[i, :, i] = 3 * q[i, :, None] ** 2 * at[0]
        else:
            by_q = 6 * q[i] * b[i] + 6 * v[i] ** 2
            out[i, :, i] = by_q[:, None] * at[0] + 12 * (q[i] * v[i])[:, None] * at[1]
            out[i, :, i] += 3 * q[i, :, None] ** 2 * at[2]
    return out.reshape(towns * num_points, towns * num)


METHODS: dict[str, Callable[..., tuple[dict, dict]]] = {
    "deepxde": _deepxde,
    "jinns": _jinns,
    "scipy": _scipy,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
