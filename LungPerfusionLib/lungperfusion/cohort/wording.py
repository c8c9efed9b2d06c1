"""Numbers as a medical paper prints them."""

from __future__ import annotations

import math

NOT_TESTED = "NA"


def p_text(p: float) -> str:
    """Write a p-value: two significant digits, never rounded to 0.

    Examples
    --------
    >>> p_text(0.0364), p_text(0.6012), p_text(0.00099), p_text(0.9996), p_text(float("nan"))
    ('0.036', '0.60', '<0.001', '>0.99', '')

    """
    if math.isnan(p):
        return ""
    if p < 0.001:
        return "<0.001"
    if p > 0.99:
        return ">0.99"
    decimals = 2 if p >= 0.1 else 3 if p >= 0.01 else 4
    return f"{p:.{decimals}f}"


def stars(p: float) -> str:
    """Stars of the iodine letter: * below 0.05, ** below 0.01, *** below 0.001.

    Examples
    --------
    >>> stars(0.05), stars(0.049), stars(0.0099), stars(0.00099)
    ('', '*', '**', '***')

    """
    return "*" * sum(p < limit for limit in (0.05, 0.01, 0.001))


def number(value: float, decimals: int) -> str:
    """Write a number with a minus sign of full width; nothing where there is none.

    Examples
    --------
    >>> number(-839.64, 1), number(-0.04, 1), number(float("nan"), 1)
    ('−839.6', '0.0', '')

    """
    if math.isnan(value):
        return ""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def interval(low: float, high: float, decimals: int) -> str:
    """Write an interval.

    Examples
    --------
    >>> interval(24.6, 91, 1), interval(-9.9, 76.3, 1)
    ('24.6 to 91.0', '−9.9 to 76.3')

    """
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"{number(low, decimals)} to {number(high, decimals)}"


def estimate(value: float, low: float, high: float, decimals: int) -> str:
    """Write a number with its interval, as far as there is one.

    Examples
    --------
    >>> estimate(0.89, 0.78, 0.95, 2), estimate(1.0, float("nan"), float("nan"), 2)
    ('0.89 (0.78 to 0.95)', '1.00')

    """
    around = interval(low, high, decimals)
    return f"{number(value, decimals)} ({around})" if around else number(value, decimals)


def decimals_for(spread: float) -> int:
    """Decimals that leave two to three digits of a standard deviation.

    Examples
    --------
    >>> decimals_for(79.3), decimals_for(1.35), decimals_for(0.058), decimals_for(0.0)
    (1, 2, 3, 1)

    """
    if not math.isfinite(spread) or spread <= 0:
        return 1
    return min(4, max(1, 1 - math.floor(math.log10(spread)) + (1 <= spread < 10)))


def signs(text: str) -> str:
    """Write comparisons of a file as a page prints them.

    Examples
    --------
    >>> signs("FVC >= 80 %")
    'FVC ≥ 80 %'

    """
    return text.replace(">=", "≥").replace("<=", "≤")


def percent(count: int, total: int) -> str:
    """Write a share with its count and denominator.

    Examples
    --------
    >>> percent(21, 78), percent(0, 0)
    ('21/78 (26.9)', '0/0')

    """
    return f"{count}/{total} ({100 * count / total:.1f})" if total else f"{count}/{total}"
