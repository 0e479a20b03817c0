"""What the run folder shows: known truth, balances, force, what is determined, explanation."""

from diffmig import evaluate, report
from experiments.migration import frames
from experiments.migration.answers import answer, details, solution_note
from experiments.migration.claims import ledger_entries
from experiments.migration.config import Config
from experiments.migration.explanation_pages import write_explanation
from experiments.migration.identification_pages import write_identification, write_skill
from experiments.migration.recovery import NOISE, TRUTH, YEARS
from experiments.migration.study import Result
from experiments.migration.towns_map import SOURCE, largest, towns_frame

PAPER = "Zakharov, Kovantsev, Boukhanovsky (2025), Smart Cities 8(2), 42, Russian abstract"


def write(run: report.Run, config: Config, result: Result) -> None:
    """Tables, figures, ledger and metrics."""
    source = f"{result.inputs.source}; this run"
    if result.recovery is not None:
        _write_recovery(run, result)
    _write_balances(run, result, source)
    _write_force(run, config, result, source)
    if result.identification is not None:
        write_identification(run, result, source)
    write_skill(run, result, source)
    write_explanation(run, config, result, source)
    if config.synthetic:
        towns = towns_frame()
        run.write_figure(
            "towns",
            report.draw_places(
                towns, title="Printed balances of 27 towns of Kazakhstan",
                value_label="balance, persons a year", source=SOURCE, names=largest(towns),
            ),
            towns,
            "Forecasts printed for the first and the last year; no series of these towns is "
            "public, so nothing is fitted to them.",
            source=SOURCE,
        )  # fmt: skip
        run.write_ledger(evaluate.ledger_frame(list(ledger_entries(result))))
    run.write_metrics(
        {
            "answer": answer(result),
            "details": details(result),
            "answer_figure": "forces",
            "strengths": {k: float(v) for k, v in result.parameters._asdict().items()},
            "force_length_years": float(result.dynamics.scales.length_scale),
            "force_sd": float(result.dynamics.scales.force_sd),
            "noise_sd": float(result.dynamics.scales.noise_sd),
            "log_likelihood": float(result.dynamics.log_likelihood),
            "converged": float(bool(result.dynamics.converged)),
            "seeds": config.pinn_members,
        }
    )


def _write_recovery(run: report.Run, result: Result) -> None:
    found = result.recovery
    assert found is not None
    source = f"a computed system after {PAPER}"
    run.write_text(
        "recovery",
        "A force that is known",
        (
            f"27 places at the coordinates of towns of Kazakhstan, {YEARS} years, q'' + c q' + K q "
            f"= f with alpha {float(TRUTH.distance):g}, kappa {float(TRUTH.confinement):g}, c "
            f"{float(TRUTH.damping):g}, waves and shocks as force, yearly values with noise of "
            f"{100 * NOISE:.0f} % of each place's standard deviation. Every method knows K and c.",
            "A network with a penalty on the bending of its force is the smoothing spline, found "
            "another way; without the penalty its force follows the noise the longer it trains, "
            "which the fit of the balance does not show.",
        ),
    )
    run.write_table(
        "recovery", found.table,
        "Relative L2 errors of balance and force, all years and without the first and last, and "
        "the share of the true force inside the 90 % bands; networks: median of seeds.",
        units=dict.fromkeys(("balance_error", "force_error", "inner_force_error", "covered"), "1"),
        source=source,
    )  # fmt: skip
    lines = frames.training_lines(found)
    run.write_figure(
        "training",
        report.draw_series(
            lines, x="step", x_label="training steps, 1", y_label="relative error, 1",
            title="Training without a penalty", source=source, log_y=True,
            band="lowest to highest seed",
        ),
        lines,
        "Errors along the training: the balance looks settled while the force moves on.",
        source=source,
    )  # fmt: skip


def _write_balances(run: report.Run, result: Result, source: str) -> None:
    inputs = result.inputs
    left = "; ".join(f"{place}: {reason}" for place, reason in inputs.left_out[:20])
    notes = [f"Note: {text}." for text in (*inputs.note, *result.system.note)]
    notes += [f"Left out: {left}."] if left else []
    run.write_text(
        "balances",
        "Balances",
        (
            "The coordinate is the net migration of a place, "
            f"{inputs.unit}; an annual figure is the mean of q over its year. The formulas of the "
            "paper are not public: the four terms follow its abstract, their form is a "
            "reconstruction.",
            *notes,
        ),
    )
    lines = frames.balance_lines(result)
    run.write_figure(
        "trajectories",
        report.draw_grid(
            lines, title="Balances, smoothed and continued", y_label="balance, ‰ a year",
            source=source, last_training_year=int(inputs.years[-1]), band="90 % interval",
        ),
        lines,
        "Places with the largest gains and losses per head.",
        source=source,
    )  # fmt: skip
    places = frames.map_frame(result)
    names = [inputs.places[i] for i in frames.shown_places(inputs)]
    run.write_figure(
        "map",
        report.draw_places(
            places, title="Balances by place", value_label="balance, ‰ a year", source=source,
            names=names,
        ),
        places,
        "Mean balances, and those forecast with the force going on as its prior says.",
        source=source,
    )  # fmt: skip


def _write_force(run: report.Run, config: Config, result: Result, source: str) -> None:
    found = result.dynamics
    run.write_text(
        "force",
        "External force",
        (
            "Strengths and the memory of the force are found by marginal likelihood, the force "
            "integrated out exactly; then every method takes them as given, but for the fit as "
            "described, which trains force and strengths together. "
            f"ln L is {float(found.log_likelihood):.1f}; "
            + ", ".join(
                f"{value:.1f} with {name}"
                for name, value in result.fits.without_force.items()
                if name != "random force"
            )
            + ".",
            f"The force has a memory of {float(found.scales.length_scale):.2f} years"
            f"{' (the shortest allowed)' if bool(found.at_bound[0]) else ''}, a standard deviation "
            f"of {float(found.scales.force_sd):.2f} per year^2, and the noise one of "
            f"{float(found.scales.noise_sd):.2f} {result.inputs.unit}. The coordinate is a flow "
            "already: the force is not people, nor people a year. " + solution_note(result),
        ),
    )
    run.write_table(
        "strengths", frames.strength_frame(result),
        "Strengths of the terms, 1/year^2 (damping 1/year), limits that keep every period above "
        "four years, and 95 % intervals of their profiles where these end.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "solutions", frames.solution_frame_of(result),
        "Data against the solution of the equation with the fitted force, from the fitted start: "
        "what the abstract scores. Networks: median of seeds.",
        units={"rmse": "‰ a year", "force_size": "‰ a year^3"}, source=source,
    )  # fmt: skip
    lines = frames.force_lines(result)
    run.write_figure(
        "forces",
        report.draw_grid(
            lines, title="External force", y_label="force, ‰ a year³", source=source,
            band="90 % interval of the smoother",
        ),
        lines,
        "The same data, the same equation, a force by every method.",
        source=source,
    )  # fmt: skip
