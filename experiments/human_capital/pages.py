"""What the run folder shows: course, structure, identities, values, investment, assumptions."""

import numpy as np

from diffmig import evaluate, optimize, report
from experiments.human_capital import frames
from experiments.human_capital.answers import answer, details
from experiments.human_capital.claims import hdi_check, ledger_entries
from experiments.human_capital.config import Config
from experiments.human_capital.economy import components
from experiments.human_capital.outlook_pages import write_assumptions, write_investment
from experiments.human_capital.people import account_frame, published_frame
from experiments.human_capital.study import Result, anchors_hold
from experiments.human_capital.value_pages import write_values

COHORTS = 20  # years between the lines of life in the Lexis diagram


def write(run: report.Run, config: Config, result: Result) -> None:
    """Tables, figures, ledger and metrics."""
    source = "this run; Vavilova, Ketova (2020)" if config.replicate else "your data; this run"
    _write_course(run, config, result, source)
    _write_identities(run, result, source)
    write_values(run, config, result, source)
    if result.investment is not None:
        write_investment(run, config, result, result.investment, source)
    if result.assumptions is not None and result.participation is not None:
        write_assumptions(run, config, result.assumptions, result.participation, source)
        run.write_ledger(evaluate.ledger_frame(list(ledger_entries(config, result))))
    calibration = result.calibration
    run.write_metrics(
        {
            "answer": answer(result),
            "details": details(config, result),
            "answer_figure": "marginal_values",
            "wear_rate": float(result.parameters.wear_rate[0]),
            "initial_factor": float(result.parameters.initial_factor),
            "calibrated": calibration is not None,
            "converged": 1.0
            if calibration is None
            else float(bool(calibration.converged) and anchors_hold(config, result)),
            "largest_residual": float(np.max(frames.identities_frame(result)["residual"])),
            "seeds": config.num_seeds if result.investment is not None else "nothing is drawn",
        }
    )


def _write_course(run: report.Run, config: Config, result: Result, source: str) -> None:
    course = frames.course_frame(result)
    calibration = result.calibration
    paragraphs = [
        f"h_t + h_tau = -nu h + s + p for {', '.join(components(result.inputs.budget))}, solved "
        "exactly along the lines of life of cohorts; H is the sum over ages of the mean h, "
        "weighted by those of the mean annual population who count, in the middle of the year.",
        (
            f"{'The paper prints no parameters. ' if config.replicate else ''}"
            "Wear rate and initial profile were found by gradients through the solver from "
            f"{config.per_head_anchor:g} thousand per inhabitant in {config.per_head_year} and a "
            f"minimum in {config.minimum_year}. If these may be off by "
            f"{config.per_head_tolerance:g} thousand and {config.minimum_tolerance:g} a year of "
            "slope, the logarithms of wear rate and initial factor have standard errors of "
            f"{float(calibration.standard_error[0]):.2f} and "
            f"{float(calibration.standard_error[1]):.2f} (infinite: not determined, and the band "
            "below leaves them fixed)."
            if calibration is not None
            else "Wear rate and initial factor are those given in the config; nothing is "
            "calibrated to this region."
        ),
    ]
    if config.replicate:
        hdi = hdi_check(result)
        paragraphs.append(
            "The human development index of Russia, as the paper quotes it (.71 in 2000, .79 in "
            f"2012, .80 to 2017), correlates with H by {hdi.total:.2f} and with H per inhabitant "
            f"by {hdi.per_inhabitant:.2f} over 2000-2017; from 2000 to 2006 by "
            f"{hdi.total_to_2006:.2f} and {hdi.per_inhabitant_to_2006:.2f}"
            f"{': the index rose while H fell' if hdi.total_to_2006 < 0 else ''}."
        )
    paragraphs += [f"Note: {text}." for text in result.inputs.note]
    run.write_text("course", "Value, structure and dynamics", tuple(paragraphs))
    lines = frames.capital_lines(result)
    run.write_figure(
        "capital",
        report.draw_grid(
            lines, title="Human capital", source=source, common_scale=False, columns=1,
            last_training_year=int(result.inputs.years[-1]) if result.ahead else None,
            band="5–95 % of draws",
        ),
        lines,
        "Human capital (figure 9). The band has the scatter of the networks and what the anchors "
        "leave open about wear and initial profile; it does not know what a budget may decide.",
        source=source,
    )  # fmt: skip
    run.write_table(
        "course", course, "Human capital in comparable prices and its components alpha_i H_i.",
        units={"total": "bn", "per_inhabitant": "thousand", "growth": "%"}, source=source,
    )  # fmt: skip
    structure = frames.structure_lines(result)
    run.write_figure(
        "structure",
        report.draw_series(
            structure, title="Structure of human capital", y_label="share of H, %", source=source
        ),
        structure,
        "Shares of the components.",
        source=source,
    )
    surface = frames.surface_frame(result)
    years = result.inputs.years
    births = range(int(years[0]) - 100, int(years[-1]) + 1)
    run.write_figure(
        "lexis",
        report.draw_map(
            surface, title="Who carries the capital", x="year", y="age", x_label="year",
            y_label="age, years", value_label="human capital per head, thousand", source=source,
            cohorts=[birth for birth in births if birth % COHORTS == 0],
        ),
        surface,
        "Lexis diagram of h(t, tau): a column is a year, white lines are the lives of people born "
        f"every {COHORTS} years, along which capital is carried, added to and worn.",
        source=source,
    )  # fmt: skip


def _write_identities(run: report.Run, result: Result, source: str) -> None:
    people = result.people
    schedules = ", ".join(
        f"{life:.1f} years from {first}" + ("" if status == 0 else f" ({optimize.STATUS[status]})")
        for first, life, status in zip(
            people.pieces, people.life_expectancy, np.asarray(people.mortality.status), strict=True
        )
    )
    run.write_text(
        "identities",
        "Identities",
        (
            "Every term is computed from its own causes, none is what the others leave over. "
            "Mortality is fitted to the survival of old cohorts and to published deaths where "
            "there are any; migration "
            "is what it leaves of the change of cohorts. Both are reconstructions; life expectancy "
            f"of the schedules: {schedules}.",
        ),
    )
    run.write_table(
        "identities", frames.identities_frame(result),
        "Identities and their residuals, relative to their terms.", units={"residual": "1"},
        source=source,
    )  # fmt: skip
    units = dict.fromkeys(frames.balance_frame(result).columns[2:-1], "bn a year")
    run.write_table(
        "balance", frames.balance_frame(result),
        "Change of human capital from the middle of one year to the middle of the next.",
        units={**units, "residual": "1"}, source=source,
    )  # fmt: skip
    run.write_table(
        "population", account_frame(result.inputs, result.people),
        "Account of the population between the middles of years, persons; published figures are "
        "means of two calendar years.",
        source=source,
    )  # fmt: skip
    published = published_frame(result.inputs)
    if published is not None:
        run.write_table(
            "published_balance", published,
            "The published figures themselves: change of the 1 January totals less births, deaths "
            "and net migration, persons; what is left is reported, not forced away.",
            source=source,
        )  # fmt: skip
