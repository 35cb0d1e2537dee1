"""Numbers and configurations as a person would say them."""

from statistics import median

from maquette.config.adapter import DoraConfig, FullConfig, LoraConfig, NoAdapterConfig
from maquette.config.factors import Displaced, EvaConfig, LoraGaConfig
from maquette.report.facts import Facts

_KINDS = {"lora": "LoRA", "dora": "DoRA", "loha": "LoHa", "lokr": "LoKr"}


def what_it_is(facts: Facts) -> str:
    """The thing that was made: "A LoRA of rank 16 for sd-base"."""
    adapter = facts.config.adapter
    tokens = tokens_of(facts)
    if isinstance(adapter, FullConfig):
        return f"All weights of {facts.base.name}, fine-tuned"
    if isinstance(adapter, NoAdapterConfig):
        return f"Textual inversion: {tokens} for {facts.base.name}"
    doubled = isinstance(adapter, LoraConfig) and isinstance(adapter.init, Displaced)
    rank = f"{adapter.rank} ({2 * adapter.rank} in its file)" if doubled else str(adapter.rank)
    beside = f" with {tokens}" if tokens else ""
    return f"A {_KINDS[adapter.kind]} of rank {rank}{beside} for {facts.base.name}"


def start_of(facts: Facts) -> str | None:
    """How much the start holds of what it was taken from; None where it was at random."""
    if not facts.start or not isinstance(facts.config.adapter, LoraConfig | DoraConfig):
        return None
    init = facts.config.adapter.init
    what = "gradient" if isinstance(init, LoraGaConfig) else "inputs" if isinstance(init, EvaConfig) else "weight"
    low, middle, high = (
        f"{100 * min(share, 1.0):.4g}" for share in (min(facts.start), median(facts.start), max(facts.start))
    )
    return f"holds {low} to {high} % of each layer's squared {what} (median {middle} %)"


def tokens_of(facts: Facts) -> str:
    """The new tokens of a run: "2 new tokens (TOK)"; empty where there are none."""
    tokens = facts.config.tokens
    if tokens is None:
        return ""
    return f"{count_of(sum(tokens.placeholders.values()), 'new token')} ({', '.join(tokens.placeholders)})"


def duration(seconds: float) -> str:
    """A time span in its two largest units: "3 min 12 s"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def pace(steps_a_second: float) -> str:
    """A speed in the unit in which it is above 1: "2.08 steps/s", "3.98 s/step"."""
    return f"{steps_a_second:.3g} steps/s" if steps_a_second >= 1 else f"{1 / steps_a_second:.3g} s/step"


def bytes_in_words(count: int) -> str:
    """A size in the decimal units that file managers use: "3.2 MB"."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{size:.3g} {units[0]}"


def count_of(count: int, one: str) -> str:
    """A number with its noun: "1 picture", "5 pictures"."""
    return f"{count:,} {one if count == 1 else one + 's'}"
