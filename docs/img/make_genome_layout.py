"""Draw `genome_layout.svg`: `python docs/img/make_genome_layout.py`. Plain text, no library."""

from pathlib import Path

TARGET = Path(__file__).with_name("genome_layout.svg")
WIDTH, HEIGHT = 1000, 470
CELL, GAP = 18, 10
INK, FAINT, LINE = "#1f2430", "#5c6370", "#aeb4c0"
READ, WRITE, AXIS, EMPTY = "#4c72b0", "#dd8452", "#55a868", "#f1f2f5"

# One individual, and the upper ends of its bounds.
GENES = {
    "controller_size": (4, 6),
    "slot_width": (3, 4),
    "num_read_heads": (1, 2),
    "num_write_heads": (1, 1),
}


def first(count: int, size: int) -> list[bool]:
    """The mask of an axis of which `count` entries exist."""
    return [index < count for index in range(size)]


UNIT = first(*GENES["controller_size"])
COLUMN = first(*GENES["slot_width"])
HEAD = first(*GENES["num_read_heads"]) + first(*GENES["num_write_heads"])
NUM_READS = GENES["num_read_heads"][1]


def text(x: float, y: float, words: str, size: int = 14, colour: str = INK, **more: str) -> str:
    """One line of text."""
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{extra}>{words}</text>'


def square(x: float, y: float, exists: bool, colour: str) -> str:
    """One entry: filled if it exists, hollow if not."""
    look = f'fill="{colour}" stroke="{colour}"' if exists else f'fill="{EMPTY}" stroke="{LINE}" stroke-dasharray="3 2"'
    return f'<rect x="{x:g}" y="{y:g}" width="{CELL - 3}" height="{CELL - 3}" rx="2" {look}/>'


def colour_of(head: int) -> str:
    """Read heads and write heads differ in colour."""
    return READ if head < NUM_READS else WRITE


def genes(x: float, y: float) -> list[str]:
    """The genes, each with the upper end of its range."""
    rows = [text(x, y, "1. Genes", 16, font_weight="bold"), text(x, y + 22, "whole numbers", 13, FAINT)]
    for index, (name, (value, size)) in enumerate(GENES.items()):
        line = y + 62 + 30 * index
        rows.append(text(x, line, name, font_family="monospace"))
        rows.append(text(x + 190, line, str(value), font_weight="bold", text_anchor="end"))
        rows.append(text(x + 198, line, f"of {size}", 13, FAINT))
    return rows


def masks(x: float, y: float) -> list[str]:
    """One mask an axis."""
    rows = [text(x, y, "2. A mask an axis", 16, font_weight="bold"), text(x, y + 22, "filled = exists", 13, FAINT)]
    for index, (name, mask) in enumerate((("unit", UNIT), ("width", COLUMN), ("head", HEAD))):
        line = y + 62 + 40 * index
        rows.append(text(x, line, name, font_family="monospace"))
        for place, exists in enumerate(mask):
            rows.append(square(x + 60 + CELL * place, line - 12, exists, colour_of(place) if name == "head" else AXIS))
    rows.append(text(x + 60, y + 62 + 80 + 22, "read heads, then write heads", 12, FAINT))
    return rows


def grid(x: float, y: float, units: list[bool], heads: list[int], columns: list[bool], exists_all: bool) -> list[str]:
    """`heads.key_kernel`: a row a unit, a block of columns a head."""
    rows = []
    block = CELL * len(columns) + GAP
    for place, head in enumerate(heads):
        name = f"read {head}" if head < NUM_READS else f"write {head - NUM_READS}"
        rows.append(text(x + block * place, y - 8, name, 12, colour_of(head)))
        for row, unit in enumerate(units):
            for column, there in enumerate(columns):
                exists = exists_all or (unit and HEAD[head] and there)
                rows.append(square(x + block * place + CELL * column, y + CELL * row, exists, colour_of(head)))
    return rows


def arrow(x: float, y: float, length: float, words: str) -> list[str]:
    """An arrow to the right, its label above it."""
    tip = x + length
    return [
        f'<path d="M {x:g} {y:g} H {tip:g} m -7 -5 l 7 5 l -7 5" fill="none" stroke="{FAINT}" stroke-width="1.5"/>',
        text(x + length / 2, y - 8, words, 13, FAINT, text_anchor="middle"),
    ]


def both_ways(x: float, y: float, length: float) -> list[str]:
    """Arrows between the padded and the compact form."""
    tip = x + length
    back = y + 14
    return [
        *arrow(x, y, length, "compact"),
        f'<path d="M {tip:g} {back:g} H {x:g} m 7 -5 l -7 5 l 7 5" fill="none" stroke="{FAINT}" stroke-width="1.5"/>',
        text(x + length / 2, back + 20, "pad", 13, FAINT, text_anchor="middle"),
    ]


def picture() -> str:
    """The whole drawing."""
    alive = [head for head, exists in enumerate(HEAD) if exists]
    parts = [
        *genes(40, 48),
        *arrow(290, 140, 60, "active_axes"),
        *masks(385, 48),
        *arrow(600, 140, 60, "mask_of"),
        text(690, 48, "3. Weights at padded shape", 16, font_weight="bold"),
        text(690, 70, "heads.key_kernel [unit, head, width]", 13, FAINT, font_family="monospace"),
        *grid(690, 110, UNIT, list(range(len(HEAD))), COLUMN, exists_all=False),
        text(690, 238, "The write head stands in the same place", 12, FAINT),
        text(690, 254, "whatever num_read_heads is.", 12, FAINT),
        f'<line x1="40" y1="285" x2="{WIDTH - 40}" y2="285" stroke="{LINE}"/>',
        text(40, 318, "The same individual at exact sizes", 16, font_weight="bold"),
        text(40, 344, "compact keeps the filled entries and drops the rest;", 13, FAINT),
        text(40, 362, "the outputs are the same. pad puts them back, with", 13, FAINT),
        text(40, 380, "zeros where nothing exists.", 13, FAINT),
        *grid(420, 345, UNIT, list(range(len(HEAD))), COLUMN, exists_all=False),
        *both_ways(695, 390, 80),
        *grid(815, 345, [True] * sum(UNIT), alive, [True] * sum(COLUMN), exists_all=True),
    ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        "<title>Genes make a mask for each axis; the masks say which padded weights exist</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
