"""Numbers as a paper prints them: text, because its decimals say how far it was rounded."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation


def parse_printed(text: str) -> Decimal:
    """The printed number with its decimals kept: "5.480" has three, "+32.0" one, "1131" none.

    Args:
        text: digits with a decimal point; a sign, and the typographic minus, are read.

    Returns:
        number; its exponent is the printed precision.

    Raises:
        ValueError: not a finite number, a decimal comma, a unit in the text.
    """
    try:
        number = Decimal(text.strip().replace("\N{MINUS SIGN}", "-"))
    except (InvalidOperation, AttributeError):
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError(
            "printed: expected the text of one finite number with a decimal point and no unit, "
            f"such as '5.48', got {text!r}"
        )
    return number


def half_unit(printed: Decimal) -> Decimal:
    """Half a unit of the last printed decimal: what rounding may have hidden."""
    return Decimal((0, (5,), int(printed.as_tuple().exponent) - 1))


def round_like(value: float, printed: Decimal) -> Decimal:
    """`value` rounded, half away from zero, to the decimals of `printed`.

    Args:
        value: finite number.
        printed: number whose last decimal counts.

    Returns:
        rounded value, exact, comparable with `printed`.

    Raises:
        ValueError: `value` is not finite.
    """
    exact = Decimal(repr(float(value)))
    if not exact.is_finite():
        raise ValueError(f"value: expected a finite number, got {value}")
    step = Decimal((0, (1,), int(printed.as_tuple().exponent)))
    # Division by the step, because quantize fails beyond the context's 28 digits.
    return (exact / step).to_integral_value(rounding=ROUND_HALF_UP) * step
