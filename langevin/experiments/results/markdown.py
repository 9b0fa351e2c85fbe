"""Tables as README, documents and notebooks show them."""

import math


def table(head, rows):
    """A Markdown table: the cells of its head, then those of each row, of any kind with a text."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def of_frame(frame, number=".4g"):
    """A frame as a Markdown table."""
    rows = frame.itertuples(index=False)
    return table(frame, ([text(value, number) for value in row] for row in rows))


def text(value, number=".4g"):
    """A value's text: a float in this format, "–" for one that is not there."""
    if isinstance(value, float):
        return "–" if math.isnan(value) else format(value, number)
    return str(value)
