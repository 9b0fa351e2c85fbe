"""Which layers get noise, as a run says it in text."""

from langevin.placement import layers

KINDS = {
    "kernels": lambda path: path.endswith("kernel"),
    "biases": lambda path: path.endswith("bias"),
}


def from_text(paths, choice):
    """A run's choice as the optimizers take it: "shallowest 30 %", the paper's control, becomes
    the numbers of the max(1, round(.3 n)) layers nearest the output, "kernels" and "biases" become
    predicates; anything else stays."""
    if not isinstance(choice, str):
        return choice
    if choice in KINDS:
        return KINDS[choice]
    percent = share(choice)
    return list(range(-max(1, round(percent / 100 * len(layers(paths)))), 0))


def share(text):
    """The number in "shallowest 30 %"."""
    if text in KINDS:
        return None
    word, _, rest = text.partition(" ")
    number = rest.removesuffix("%").strip()
    if word != "shallowest" or not number.isdecimal() or not 0 < int(number) <= 100:
        raise ValueError(
            "`langevin_layers` as text must be 'kernels', 'biases' or like 'shallowest 30 %', a "
            f"whole percentage from 1 to 100. Received: {text!r}"
        )
    return int(number)
