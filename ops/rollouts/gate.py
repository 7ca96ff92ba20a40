"""Whether a version may have more traffic: its readings against the SLO file and against the primary's."""

from ops.probing.measurement import Measurement
from ops.project.slo import Slo

READINGS = {"ttft": "TTFT", "inter_token": "inter-token time"}


def breaches(slo: Slo, canary: Measurement, primary: Measurement | None) -> list[str]:
    """The objectives that the canary misses, a sentence each; none is a pass.

    `primary` is None where there is none to compare with: after promotion.
    """
    return objectives(slo, canary) + (against_primary(slo, canary, primary) if primary else [])


def objectives(slo: Slo, reading: Measurement) -> list[str]:
    wanted, failed = slo.objectives, []
    for what, count, most in (
        ("failed", reading.errors, wanted.errors),
        ("were answered without content", reading.empty_answers, wanted.empty_answers),
    ):
        if count > most * reading.requests:
            cause = f" The first: {reading.first_error}" if what == "failed" else ""
            failed.append(f"{count} of {reading.requests} requests {what}; the SLO allows {most:.0%}.{cause}")
    for name, title in READINGS.items():
        for percentile in ("p50", "p95"):
            most = getattr(wanted, f"{name}_{percentile}")
            got = value(reading, name, percentile)
            if most is not None and got is not None and got > most:
                failed.append(f"{title} {percentile} is {ms(got)}; the SLO allows {ms(most)}.")
    least, got = wanted.tokens_per_second, reading.tokens_per_second
    if least is not None and got is not None and got < least:
        failed.append(f"The median answer comes with {got:g} tokens/s; the SLO asks for {least:g}.")
    return failed


def against_primary(slo: Slo, canary: Measurement, primary: Measurement) -> list[str]:
    wanted, failed = slo.against_primary, []
    for name, title in READINGS.items():
        most = getattr(wanted, f"{name}_p50")
        got, beside = value(canary, name, "p50"), value(primary, name, "p50")
        if most is not None and got is not None and beside and got > most * beside:
            failed.append(
                f"{title} p50 is {ms(got)}, {got / beside:.1f} times the primary's {ms(beside)}; "
                f"the SLO allows {most:g} times."
            )
    least, got, beside = wanted.tokens_per_second, canary.tokens_per_second, primary.tokens_per_second
    if least is not None and got is not None and beside and got < least * beside:
        failed.append(
            f"The median answer comes with {got:g} tokens/s, {got / beside:.1f} times the primary's {beside:g}; "
            f"the SLO asks for {least:g} times."
        )
    return failed


def value(reading: Measurement, name: str, percentile: str) -> float | None:
    percentiles = getattr(reading, name)
    return getattr(percentiles, percentile) if percentiles else None


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
