#!/usr/bin/env python3
"""Proves that controller and simulation use one evidence rule: changes one line of it at a time and runs the tests of the
rule itself, of the controller and of the simulation. A change that any of the three does not notice is a hole in it.

    controller/evidence/mutants.py [--only TEXT]

Writes docs/evidence-mutants.md, but not with --only. The tree must be clean in controller/evidence/src, which is put back
after each change. Takes about a minute a change.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "controller" / "evidence" / "src"
TABLE = ROOT / "docs" / "evidence-mutants.md"
SUITES = {
    "the rule": [["-p", "modelfleet-evidence"]],
    "the controller": [["-p", "modelfleet-model", "--lib", "assess::"], ["-p", "modelfleet-fleet", "--lib"]],
    "the simulation": [["-p", "modelfleet-simulation", "--lib", "--test", "evidence", "--test", "arms"]],
}
# What the change means, the file, the line before, the line after.
MUTANTS = [
    ("the window of the activation counts", "windows.rs", "at.0.div_ceil(self.length_ms)", "at.0 / self.length_ms"),
    ("the warm-up counts", "windows.rs", "whole.max(self.opened_window).saturating_add(self.warmup)", "whole.max(self.opened_window).saturating_add(self.warmup.min(0))"),
    ("the settling time counts", "windows.rs", ".saturating_add(self.settling)", ".saturating_add(self.settling.min(0))"),
    ("a device settles from the stage's opening on", "windows.rs", "let settled = whole.saturating_add", "let settled = whole.max(self.opened_window).saturating_add"),
    ("ten windows settle", "looks.rs", "SETTLING_WINDOWS.min(self.windows)", "(2 * SETTLING_WINDOWS).min(self.windows)"),
    ("late labels hold up no look", "looks.rs", "reported.settled.saturating_sub(late)", "reported.settled.saturating_sub(late.min(0))"),
    ("looks at objectives do not wait for settling", "looks.rs", "self.reached(reported.settled", "self.reached(reported.compared"),
    ("windows before the stage count", "windows.rs", "whole.max(self.opened_window)", "whole.max(self.opened_window.min(0))"),
    ("the open window has passed", "windows.rs", "now.0 / self.length_ms", "now.0 / self.length_ms + 1"),
    ("a look is reached one window early", "looks.rs", "windows.saturating_mul(u64::from(planned))", "(windows + 1).saturating_mul(u64::from(planned))"),
    ("seven looks are planned", "looks.rs", "const LOOKS_MAX: u64 = 6;", "const LOOKS_MAX: u64 = 7;"),
    ("a quarter of the canaries reaches a look", "looks.rs", "let middle = windows.len() / 2;", "let middle = windows.len() / 4;"),
    ("quiet canaries hold up the looks", "arms.rs", "if gone_quiet(outcomes) {", "if gone_quiet(outcomes) && windows.length_ms() == 0 {"),
    ("silent one moment early", "facts.rs", "<= moment.silent_after_ms", "< moment.silent_after_ms"),
    ("silence is never noticed", "arms.rs", "heard: facts.is_heard(moment)", "heard: facts.is_heard(moment) || facts.known"),
    ("a control that is away counts as silent", "facts.rs", "Arm::Control => seen(self.heard_at),", "Arm::Control => seen(self.heard_at) || self.known,"),
    ("to activate is no sign of life", "facts.rs", "seen(self.heard_at.max(activated))", "seen(self.heard_at.min(self.heard_at.max(activated)))"),
    ("an offer counts as a try", "facts.rs", "None | Some(Phase::Offered | Phase::Unknown)", "None | Some(Phase::Unknown)"),
    ("the stage waits for devices out of reach", "facts.rs", "self.online && !self.set_aside && !self.has_ended()", "!self.set_aside && !self.has_ended()"),
    ("a device that was set aside leaves the arms", "facts.rs", "if self.member || self.set_aside {", "if self.member {"),
    ("a device that cannot run it stays in its arm", "facts.rs", "if self.is_incompatible() {\n            return None;", "if self.is_incompatible() && self.stays {\n            return None;"),
    ("a device that cannot run it counts as one that could", "count.rs", "if facts.is_incompatible() {", "if facts.is_incompatible() && facts.stays {"),
    ("a device that failed to start counts as exposed", "facts.rs", "Some(Phase::Reverted | Phase::RolledBack));\n        (self.runs()", "Some(Phase::Failed | Phase::Reverted | Phase::RolledBack));\n        (self.runs()"),
    ("failures do not count against the model", "facts.rs", "self.code.filter(|code| self.has_ended() && code.is_hard_stop())", "self.code.filter(|code| self.is_unproven() && code.is_hard_stop())"),
    ("controls start with the stage, not with canaries", "arms.rs", "matched_start_of(seed, control.number, starts).unwrap_or(none)", "matched_start_of(seed, control.number, &starts[..0]).unwrap_or(none)"),
    ("devices of different chances are compared", "compared.rs", "keys.iter().map(|key| numbers.get(key).copied()", "keys.iter().map(|key| numbers.get(key).copied().map(|n| n.min(0))"),
    ("a merged value at its bound is a breach", "merged.rs", "value > threshold", "value >= threshold"),
    ("one stage less is left for the budget", "question.rs", "policy.stage_count() - passed", "policy.stage_count() - passed - 1"),
    ("all stages draw the same permutations", "question.rs", "state.attempt, state.stage).as_bytes()", "state.attempt, state.stage.min(0)).as_bytes()"),
    ("a pass is told as undecided", "answer.rs", "Advice::Advance => Verdict::Healthy", "Advice::Advance => Verdict::Undecided"),
    ("the core is not told of hard failures", "answer.rs", "hard_stop: hard_stop(arms, answer, wording)", "hard_stop: hard_stop(arms, answer, wording).filter(|_| looks.planned == 0)"),
]


def failed(arguments):
    """The first test that fails, `None` if all pass; leaves where the code does not compile."""
    command = ["cargo", "test", "--quiet", "--no-fail-fast", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode == 0:
        return None
    said = run.stdout + run.stderr
    found = re.search(r"^---- (\S+) stdout ----", said, re.MULTILINE)
    if not found:
        sys.exit(f"{' '.join(command)} did not run its tests:\n{said[-3000:]}")
    return found.group(1).split("::")[-1]


def verdicts():
    """For each suite the test that fails."""
    return {name: next(filter(None, map(failed, commands)), None) for name, commands in SUITES.items()}


def main():
    """Applies each change and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="changes whose meaning contains this")
    only = parser.parse_args().only
    sound = verdicts()
    if any(sound.values()):
        sys.exit(f"tests fail without any change: {sound}")
    rows, survivors = [], 0
    for meaning, file, before, after in MUTANTS:
        if only not in meaning:
            continue
        path = SOURCE / file
        text = path.read_text()
        if text.count(before) != 1:
            sys.exit(f"{file} has {before!r} {text.count(before)} times")
        try:
            path.write_text(text.replace(before, after))
            found = verdicts()
        finally:
            path.write_text(text)
        survivors += sum(test is None for test in found.values())
        cells = [f"`{test}`" if test else "**not noticed**" for test in found.values()]
        rows.append(f"| {meaning} | `{file}` | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    if not only:
        TABLE.write_text(document(rows))
    sys.exit(1 if survivors else 0)


def document(rows):
    """The table with what it means."""
    head = f"| changed so that | in | {' | '.join(SUITES)} |\n|---|---|{'---|' * len(SUITES)}"
    return f"""# One evidence rule: what notices when it changes

Controller, simulation, planner and replay read one rule ([controller/evidence](../controller/evidence/src/lib.rs)). Each
line of this table changes one line of it and names a test that fails then, among the tests of the rule itself, of the
controller (devices' messages in, the judge's question and the core's counts out) and of the simulation (whole rollouts,
look by look). `controller/evidence/mutants.py` makes the changes, runs the tests and writes this page.

{head}
{chr(10).join(rows)}

What only a real fleet has can be noticed by the controller alone, and its tests do: a device whose clock is ahead, a
connection that is younger than a silence, a plan with other windows, a version that a device's home runs anyway, a device
that went back unproven, one that was asked too seldom. The simulation has none of these devices.
"""


if __name__ == "__main__":
    main()
