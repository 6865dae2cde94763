#!/usr/bin/env python3
"""Writes the tables of docs/judge-proof.md and docs/methods-side-by-side.md anew.

    cargo build --release -p modelfleet-simulation --example grid
    simulation/proof.py target/release/examples/grid [--kept FOLDER] [--only PART]

Each table stands between `<!-- grid: PART RUNS SEED -->` and `<!-- end -->`; PART RUNS SEED are the arguments of the
grid. With --kept what the grid printed is read from FOLDER/PART.SEED.md where that is there, and put there otherwise.
The sentences around the tables are written by hand: read them again when a number changes.
"""

import argparse
import pathlib
import re
import subprocess

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
DOCUMENTS = [DOCS / "judge-proof.md", DOCS / "methods-side-by-side.md"]
BLOCK = re.compile(r"(<!-- grid: (\S+) (\d+) (\d+) -->\n).*?(<!-- end -->)", re.DOTALL)
CELL = re.compile(r"(\d+) of 200, sigma (\S+), burst (\S+), base (\S+), history (\S+)")
# Parts that compare several rules: a sum over all of them says nothing.
MIXED = {"site", "late-labels"}
COLUMNS = [("0.2", "600"), ("0.2", "60"), ("0.002", "600"), ("0.002", "60")]


def printed(grid, kept, part, runs, seed):
    """What the grid prints for a part."""
    file = kept and pathlib.Path(kept) / f"{part}.{seed}.md"
    if file and file.exists():
        return file.read_text()
    text = subprocess.run([grid, part, runs, seed], check=True, capture_output=True, text=True).stdout
    if file:
        file.write_text(text)
    return text


def rows(text):
    """Cells of each line of a table."""
    return [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def square(text):
    """The 144 cells of `null` as 36 lines: false rollbacks with limits; success."""
    lines = {}
    for cells in rows(text):
        found = CELL.fullmatch(cells[0])
        if found:
            canaries, sigma, burst, base, history = found.groups()
            entry = cells[1].replace(" %", "", 1) + "; " + cells[2].split(" ")[0]
            lines.setdefault((canaries, sigma, burst), {})[base, history] = entry
    head = "| canaries | sigma | burst | " + " | ".join(f"base {b}, history {h}" for b, h in COLUMNS) + " |"
    body = ["| " + " | ".join(key) + " | " + " | ".join(line[c] for c in COLUMNS) + " |" for key, line in lines.items()]
    return "\n".join([head, "|" + "---|" * 7, *body])


def main():
    """Replaces the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", help="the built example")
    parser.add_argument("--kept", help="folder with what the grid printed")
    parser.add_argument("--only", help="one part")
    arguments = parser.parse_args()

    def table(block):
        begin, part, runs, seed, end = block.groups()
        if arguments.only not in (None, part):
            return block.group(0)
        text = printed(arguments.grid, arguments.kept, part, runs, seed)
        lines = "\n".join(line for line in text.splitlines() if line.startswith("|"))
        sums = [line for line in text.splitlines() if line.startswith("False rollbacks over") and part not in MIXED]
        summary = "\n".join(sums)
        body = square(text) if part.startswith("null") else lines
        return f"{begin}\n{body}\n\n{summary}{chr(10) if summary else ''}{end}"

    for document in DOCUMENTS:
        document.write_text(BLOCK.sub(table, document.read_text()))


if __name__ == "__main__":
    main()
