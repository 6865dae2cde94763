#!/usr/bin/env python3
"""Proves that the swarm can catch: plants one defect after the other in the pure cores and plays seeds until a law is broken.

    tests/swarm/mutants.py [--only TEXT] [--seconds 60] [--seeds 10000] [--dir DIR] [--merge]
    tests/swarm/mutants.py --check

Copies the tree to a temporary folder, makes every expression of the list below switchable there, compiles once, and plays with
one defect at a time, which the variable MODELFLEET_MUTANT names. The shipped source has nothing of it. Writes
docs/swarm-mutants.md, but not with --only. With --merge it writes the page after each defect, and leaves the lines of those that were
not played as they are. With --dir the folder is kept, and compiled again only as far as it changed. --check only says which
expressions are not in the source any more.
"""

import argparse
import collections
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "swarm-mutants.md"
# The first seed whose plans a controller writes.
CONTROLLED = 1_000_000
# Large runs come first; these begin after them.
SMALL = 61
# Processor time of one seed; a sound one takes a tenth of it at most.
PROCESSOR_SECONDS = 60
SWITCH = """//! Which planted defect is on.

use std::sync::OnceLock;

/// Whether this one is.
#[must_use]
pub fn on(number: u32) -> bool {
    static ON: OnceLock<u32> = OnceLock::new();
    *ON.get_or_init(|| std::env::var("MODELFLEET_MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
}
"""

MEMBERSHIP = "protocol/src/membership.rs"
DRAW = "protocol/src/draw.rs"
PLAN = "protocol/src/plan.rs"
ENVELOPE = "protocol/src/envelope.rs"
ACTIVE = "controller/rollout/src/decide/active.rs"
STAGE = "controller/rollout/src/decide/stage.rs"
BACK = "controller/rollout/src/decide/back.rs"
RUN = "controller/rollout/src/decide/run.rs"
ENDED = "controller/rollout/src/decide/ended.rs"
VIEW = "controller/rollout/src/view.rs"
LEDGER = "controller/fleet/src/ledger.rs"
QUEUE = "controller/model/src/queue.rs"
MODEL_PLAN = "controller/model/src/plan.rs"
PRODUCTION = "controller/model/src/production.rs"
COUNT = "controller/evidence/src/count.rs"
ANSWER = "controller/evidence/src/answer.rs"
CONVERGE = "device-agent/core/src/model/converge.rs"
PROVING = "device-agent/core/src/model/proving.rs"
SLOTS = "device-agent/core/src/install/slots.rs"
PROBATION = "device-agent/core/src/serve/probation.rs"
ATTEMPTS = "device-agent/core/src/install/attempts.rs"

# Whose seeds find it first: those with an author of plans (A) or those with controllers (C); what the change means; the file;
# the expression; what stands in its place.
MUTANTS = [
    ("C", "a device that was set aside stays a member", MEMBERSHIP, "self.exclude.contains(device)", "self.exclude.contains(device) && self.salt.is_empty()"),
    ("A", "devices above the bound are members", MEMBERSHIP, "rank < self.bound_for(&stratum_key(&self.spread_by, labels)).0", "rank / 2 < self.bound_for(&stratum_key(&self.spread_by, labels)).0"),
    ("C", "members of earlier stages are not counted towards a stage", DRAW, "target.saturating_sub(counts.iter().sum())", "target"),
    ("C", "a count that takes all known devices becomes a bound on ranks", DRAW, "is_count || (target <= NAMED_MAX && takes_part)", "!counts_all && target < pool && target <= NAMED_MAX"),
    ("C", "a share is twice as large", DRAW, "u128::from(ppm.min(1_000_000))", "u128::from(ppm.saturating_mul(2).min(1_000_000))"),
    ("A", "a rejected build may be wanted", PLAN, "!self.rejected.contains(&build.digest)", "!self.rejected.is_empty() || self.rejected.is_empty()"),
    ("C", "a plan of an older leader replaces a newer one", PLAN, "(self.epoch, self.revision) > (seen.epoch, seen.revision)", "self.revision > seen.revision"),
    ("A", "any other plan replaces the newest", PLAN, "(self.epoch, self.revision) > (seen.epoch, seen.revision)", "(self.epoch, self.revision) != (seen.epoch, seen.revision)"),
    ("A", "a plan that no trusted key signed is opened", ENVELOPE, "trusted.iter().find(|key| key.verify_strict(&signed, &sig).is_ok())", "trusted.iter().find(|_| sig.to_bytes() == sig.to_bytes())"),
    ("C", "an abort is not heard", ACTIVE, "run.intent.abort", "run.intent.abort && run.now.0 == 0"),
    ("C", "a deletion is not heard", ACTIVE, "run.intent.deleted()", "run.intent.deleted() && run.now.0 == 0"),
    ("C", "a pause by a person is not heard", ACTIVE, "run.intent.paused", "run.intent.paused && run.now.0 == 0"),
    ("C", "the verdict Degraded is not heard", ACTIVE, "run.evidence.verdict == Verdict::Degraded", "run.evidence.verdict == Verdict::Degraded && run.now.0 == 0"),
    ("C", "harm that was shown is not kept", ACTIVE, "run.state.harm.is_some()", "run.state.harm.is_some() || run.now.0 > 0"),
    ("C", "too many failed devices do not pause a rollout", ACTIVE, "run.view_is_current() && failed > most", "run.view_is_current() && failed > most + 1_000"),
    ("C", "half of the bake time is enough", STAGE, "watched_ms < stage.bake_ms", "watched_ms < stage.bake_ms / 2"),
    ("C", "a stage without a confirmed device may be left", STAGE, "fleet.confirmed < limits.min_devices", "fleet.confirmed + 1_000 < limits.min_devices"),
    ("C", "a stage without a verdict may be left", STAGE, "!run.evidence.verdict.passes()", "run.evidence.verdict == Verdict::Degraded"),
    ("C", "a stage that was not judged may be left", STAGE, "!run.is_current()", "!run.is_current() && run.now.0 == 0"),
    ("C", "a stage has no deadline", STAGE, "run.state.clock.elapsed_ms(run.now) >= stage.bake_ms.saturating_add(stage.max_wait_ms)", "run.state.clock.elapsed_ms(run.now) == u64::MAX"),
    ("C", "a rollback ends while reachable devices run the version", BACK, "blind.is_none() && left.near == 0 && !left.nobody_back", "blind.is_none()"),
    ("C", "it is decided before all that devices retained was heard", RUN, "!facts.view_complete", "!facts.view_complete && facts.deleted"),
    ("C", "it is decided on counts of the last look", RUN, "facts.counts_are_old", "facts.counts_are_old && facts.deleted"),
    ("C", "a promotion that was set before an attempt counts in it", ENDED, "promote_stale: run.intent.promote.clone()", None),
    ("C", "a rejected version may be rolled out", RUN, "self.state.rejection.is_some_and(|rejection| rejection.lifted)", None),
    ("C", "any retryToken begins a new attempt, over and over", ENDED, "token.is_some() && *token != run.state.retry_token", "token.is_some()"),
    ("C", "a new attempt begins while abort is set", ENDED, "!run.intent.abort", None),
    ("C", "a pause admits devices", VIEW, "cause.admits()", "cause.admits() || state.attempt > 0"),
    ("C", "a new attempt selects the devices of the one before", VIEW, "state.attempt.max(1)", "state.attempt.clamp(1, 1)"),
    ("C", "a new attempt has the name of the one before", VIEW, "state.attempt > 1", "state.attempt > u32::MAX - 1"),
    ("C", "a rollout that waits speaks for the plan", VIEW, "phase if phase.is_terminal() => Speaks::WhenNoOther", None),
    ("C", "a new leader does not sign the plan anew", LEDGER, "of == epoch && same_content(plan, wanted)", "same_content(plan, wanted)"),
    ("C", "a plan with other content counts as sent", LEDGER, "of == epoch && same_content(plan, wanted)", "of == epoch"),
    ("C", "the highest revision is the last one that was heard", LEDGER, "revision.min(REVISION_MAX - 1).max(*highest)", "revision.min(REVISION_MAX - 1)"),
    ("C", "a plan does not name what was rejected", MODEL_PLAN, "fresh.take(REJECTED_MAX)", "fresh.take(0)"),
    ("C", "a plan that does not come back is not sent again", LEDGER, "now.since_ms(sent.at) >= ECHO_MAX_MS", "now.since_ms(sent.at) == u64::MAX"),
    ("C", "what was sent before the connection was lost counts as held", LEDGER, "self.entries.clear()", "self.entries.retain(|_, entry| entry.sent.is_some() || entry.held.is_some())"),
    ("C", "two rollouts of a model are under way", QUEUE, "phase if phase.is_active() => Rank::Active", None),
    ("C", "a rollback keeps no other rollout waiting", QUEUE, "_ if self.overdue => Rank::Idle", None),
    ("C", "the youngest waiting rollout gets its turn, also before the active one", QUEUE, "(a.rank(), a.created, &a.name).cmp(&(b.rank(), b.created, &b.name))", "(b.created, &b.name).cmp(&(a.created, &a.name))"),
    ("C", "the membership of another attempt is published", MODEL_PLAN, "input.membership.salt != *salt", "input.membership.salt != *salt && salt.is_empty()"),
    ("C", "of several rollouts that have ended any speaks for the plan", MODEL_PLAN, "(v.view.speaks, v.ended_at)", "(v.view.speaks, None)"),
    ("C", "a promotion gets the number of the one before", PRODUCTION, "top.saturating_add(1)", "top"),
    ("C", "the oldest promotion counts", PRODUCTION, "all.sort_by_key(|entry| Reverse((entry.order, entry.promoted)))", "all.sort_by_key(|entry| (entry.order, entry.promoted))"),
    ("C", "no connected device counts as running a version that is taken back", COUNT, "one(exposed && facts.online)", "one(exposed && facts.online && facts.set_aside)"),
    ("C", "a device that activated counts as confirmed", COUNT, "one(facts.is_confirmed())", "one(runs)"),
    ("C", "what speaks neither for nor against a version is a pass", ANSWER, "verdict(answer.advice, answer.verdict)", "if verdict(answer.advice, answer.verdict) == Verdict::Undecided { Verdict::Healthy } else { verdict(answer.advice, answer.verdict) }"),
    ("C", "harm is told as undecided", ANSWER, "verdict(answer.advice, answer.verdict)", "if verdict(answer.advice, answer.verdict) == Verdict::Degraded { Verdict::Undecided } else { verdict(answer.advice, answer.verdict) }"),
    ("A", "a device activates what its plan holds back", CONVERGE, "started || !target.admit || ctx.now >= target.expires || !ctx.connected", "started || ctx.now >= target.expires || !ctx.connected"),
    ("A", "a second build is loaded while the first proves itself", CONVERGE, "on_disk && !self.on_probation() && ctx.may_load", "on_disk && ctx.may_load"),
    ("A", "an attempt that has ended begins again at once", CONVERGE, "at > now && !record.has_new_address(&target.build)", "at > now && now.0 == 0"),
    ("A", "a promoted build is not noted as proven", CONVERGE, "self.slots.set_proven(&digest, true)", None),
    ("A", "a build that is not wanted any more keeps running", PROVING, "wanted && !barred", "!barred"),
    ("A", "a rejected build keeps running", PROVING, "wanted && !barred", "wanted"),
    ("A", "a failed build still counts as proven", PROVING, "self.slots.set_proven(&digest, false)", "self.slots.set_proven(&digest, true)"),
    ("A", "a device goes back to a build that was not proven", SLOTS, "Some(&s.build.digest) != active && s.proven && !orders.bars(&s.build.digest)", "Some(&s.build.digest) != active && !orders.bars(&s.build.digest)"),
    ("A", "a device goes back to a rejected build", SLOTS, "Some(&s.build.digest) != active && s.proven && !orders.bars(&s.build.digest)", "Some(&s.build.digest) != active && s.proven"),
    ("A", "a device keeps three builds and more", SLOTS, "taken.count() < SLOTS_MAX", "taken.count() <= SLOTS_MAX"),
    ("A", "what a device goes back to is deleted", SLOTS, "retention == Retention::None || no_room", "retention < Retention::Wanted || no_room"),
    ("A", "rejected builds stay on the disk", SLOTS, "retention == Retention::None || no_room", "no_room"),
    ("A", "errors on probation are not held against a build", PROBATION, "errors > max_errors", "errors > max_errors.saturating_add(1_000_000)"),
    ("A", "a build is confirmed without contact to the broker", PROBATION, "healthy && long_enough && self.heard", "healthy && long_enough"),
    ("A", "a build is confirmed before it has answered enough requests", PROBATION, "answers && answered >= min_predictions", "answers"),
    ("A", "attempts are told apart by their build alone", ATTEMPTS, "self.attempt.rollout == rollout && &self.attempt.digest == digest", "&self.attempt.digest == digest"),
]
# Where the expression stands in a longer text that makes it unique: the text, the expression, what stands in its place.
IN_CONTEXT = {
    "a rejected version may be rolled out": ("self.state.rejection.is_some_and(|rejection| rejection.lifted)", "true", 0),
    "a new attempt begins while abort is set": ("!run.intent.abort", "run.now.0 > 0", 0),
    "a rollout that waits speaks for the plan": ("phase.is_terminal()", "phase != Phase::Progressing", 1),
    "two rollouts of a model are under way": ("phase.is_active()", "phase.is_active() && self.deleted", 0),
    "it is decided on counts of the last look": ("facts.counts_are_old", "(facts.counts_are_old && facts.deleted)", 0),
    "a rollback keeps no other rollout waiting": ("self.overdue", "(self.overdue || self.phase == Phase::RollingBack)", 0),
    "a promotion that was set before an attempt counts in it": ("run.intent.promote.clone()", "None", 0),
    "a promoted build is not noted as proven": ("self.slots.set_proven(&digest, true)", "()", 0),
}

LARGE = CONTROLLED
HANDS_OFF = "--faults none --habits ShortStages,HandsOff"
RETRIES = "--faults none --habits Retries,Hasty"
# Where a defect is met soon: the first seed, and options of the program. Others play the seeds of their kind as they are drawn.
HINTS = {
    "a count that takes all known devices becomes a bound on ranks": (CONTROLLED + SMALL, "--faults none --habits none"),
    "a rejected build may be wanted": (SMALL, "--faults OffForHours,DownloadsFail"),
    "a plan of an older leader replaces a newer one": (SMALL, "--faults BrokerGoesBack --habits Hasty"),
    "any other plan replaces the newest": (SMALL, "--faults BrokerGoesBack --habits Hasty"),
    "the verdict Degraded is not heard": (LARGE, HANDS_OFF),
    "harm that was shown is not kept": (LARGE, HANDS_OFF),
    "harm is told as undecided": (LARGE, HANDS_OFF),
    "too many failed devices do not pause a rollout": (LARGE, HANDS_OFF),
    "half of the bake time is enough": (LARGE, "--faults none --habits NoObjectives,HandsOff"),
    "a stage without a confirmed device may be left": (CONTROLLED + SMALL, "--faults none --habits LongProbation,ShortStages"),
    "a device that activated counts as confirmed": (CONTROLLED + SMALL, "--faults none --habits LongProbation,ShortStages"),
    "a stage without a verdict may be left": (CONTROLLED + SMALL, "--faults none --habits TightObjectives,ShortStages,HandsOff"),
    "what speaks neither for nor against a version is a pass": (CONTROLLED + SMALL, "--faults none --habits TightObjectives,ShortStages,HandsOff"),
    "a stage has no deadline": (CONTROLLED + SMALL, "--faults none --habits TightObjectives,ShortStages,HandsOff"),
    "a rejected version may be rolled out": (LARGE, "--faults none --habits RollsOutRejected,ShortStages,HandsOff"),
    "a plan does not name what was rejected": (LARGE, HANDS_OFF),
    "any retryToken begins a new attempt, over and over": (CONTROLLED + SMALL, RETRIES),
    "a new attempt begins while abort is set": (CONTROLLED + SMALL, RETRIES),
    "a new attempt has the name of the one before": (CONTROLLED + SMALL, RETRIES),
    "a promotion that was set before an attempt counts in it": (CONTROLLED + SMALL, RETRIES),
    "a new leader does not sign the plan anew": (CONTROLLED + SMALL, "--faults ControllerKills --habits HandsOff"),
    "a rollback keeps no other rollout waiting": (CONTROLLED + SMALL, "--faults OffForHours,Partitions --habits Queues,Hasty"),
    "of several rollouts that have ended any speaks for the plan": (CONTROLLED + SMALL, "--faults none --habits Hasty"),
    "a promotion gets the number of the one before": (CONTROLLED + SMALL, "--faults none --habits NoObjectives,ShortStages,HandsOff"),
    "the oldest promotion counts": (CONTROLLED + SMALL, "--faults ControllerKillsInSteps --habits NoObjectives,ShortStages,HandsOff"),
    "a second build is loaded while the first proves itself": (SMALL, "--faults RecordsRot --habits Hasty"),
    "an attempt that has ended begins again at once": (SMALL, "--faults DownloadsFail"),
    "a rejected build keeps running": (SMALL, "--faults OffForHours --habits Hasty"),
    "a failed build still counts as proven": (SMALL, "--faults none"),
    "a device goes back to a build that was not proven": (SMALL, "--faults Kills"),
    "a device goes back to a rejected build": (SMALL, "--faults none --habits Hasty"),
    "a device keeps three builds and more": (SMALL, "--faults RecordsRot --habits Hasty"),
    "what a device goes back to is deleted": (SMALL, "--faults none"),
    "rejected builds stay on the disk": (SMALL, "--faults none --habits Hasty"),
    "errors on probation are not held against a build": (SMALL, "--faults Liars"),
    "a build is confirmed without contact to the broker": (SMALL, "--faults none"),
    "a build is confirmed before it has answered enough requests": (SMALL, "--faults none"),
    "attempts are told apart by their build alone": (SMALL, "--faults none --habits Hasty"),
}


def switchable(texts):
    """The texts of the files with every expression made switchable."""
    spots = collections.defaultdict(list)
    lost = []
    for number, (_, meaning, file, before, after) in enumerate(MUTANTS, 1):
        if meaning in IN_CONTEXT:
            before, after, which = IN_CONTEXT[meaning]
        else:
            which = None
        spots[file, before, which].append((number, meaning, after))
    for (file, before, which), changes in spots.items():
        text = texts[file]
        code = text.split("#[cfg(test)]")[0]
        found = [match.start() for match in re.finditer(re.escape(before), code)]
        if which is None and len(found) != 1 or which is not None and len(found) <= which:
            lost.append(f"{file} has {before!r} {len(found)} times ({changes[0][1]})")
            continue
        at = found[which or 0]
        switched = before
        for number, _, after in changes:
            switched = f"(if modelfleet_mutant::on({number}) {{ {after} }} else {{ {switched} }})"
        texts[file] = text[:at] + switched + text[at + len(before):]
    meanings = {mutant[1] for mutant in MUTANTS}
    lost += [f"no planted defect is called {meaning!r}" for meaning in [*IN_CONTEXT, *HINTS] if meaning not in meanings]
    if lost:
        sys.exit("\n".join(lost))
    return texts


def planted():
    """The files in which defects are planted, with every expression made switchable; ends the program if one is not there."""
    return switchable({file: (ROOT / file).read_text() for file in {mutant[2] for mutant in MUTANTS}})


def plant(folder):
    """Copies the tree and plants the defects, all of them switched off. Files that are the same keep their times."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = planted()
    crates = set()
    for file in texts:
        crate = next(str(parent) for parent in pathlib.PurePath(file).parents if (ROOT / parent / "Cargo.toml").is_file())
        crates.add(crate)
    for crate in crates:
        up = "../" * len(pathlib.PurePath(crate).parts)
        manifest = (ROOT / crate / "Cargo.toml").read_text()
        dependency = f'[dependencies]\nmodelfleet-mutant = {{ path = "{up}mutant" }}\n'
        texts[f"{crate}/Cargo.toml"] = manifest.replace("[dependencies]\n", dependency, 1)
    texts["Cargo.toml"] = (ROOT / "Cargo.toml").read_text().replace("members = [\n", 'members = [\n    "mutant",\n', 1)
    texts["mutant/Cargo.toml"] = '[package]\nname = "modelfleet-mutant"\nversion = "0.1.0"\nedition = "2024"\n'
    texts["mutant/src/lib.rs"] = SWITCH
    for file in listed:
        source, target = ROOT / file, folder / file
        if file in texts or not source.is_file() or source.is_symlink():
            continue
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for file, text in texts.items():
        target = folder / file
        if not target.is_file() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


def compiled(folder, target):
    """The program with all defects in it."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target), RUSTFLAGS=os.environ.get("RUSTFLAGS", ""))
    # What the tests select, so that with --target nothing of others is compiled again.
    command = ["cargo", "build", "--offline", "--workspace", "--features", "real-parts", "--bin", "modelfleet-swarm"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return target / "debug" / "modelfleet-swarm"


def bounded():
    """A seed that takes much more processor time than any sound one is a defect; the time of a busy machine is none."""
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS + 1))


def run(program, number, seed, options):
    """Plays one seed; what was broken, or None."""
    environment = dict(os.environ, MODELFLEET_MUTANT=str(number), RUST_BACKTRACE="0")
    command = [program, "--seed", str(seed), *options.split()]
    played = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=bounded)
    if played.returncode < 0:
        return f"does not come to its end in {PROCESSOR_SECONDS} s of processor time"
    if not played.returncode:
        return None
    said = played.stderr.strip()
    law = re.search(r"Error: seed \d+: (.*)", said) or re.search(r"panicked at [^\n]*\n(.*)", said)
    return law.group(1) if law else said[-200:]


def play(program, number, first, options, seeds, seconds):
    """How many seeds were played until a law was broken that holds without the defect, and which; (seeds, None) for none."""
    began, played = time.monotonic(), 0
    while played < seeds and time.monotonic() - began < seconds:
        seed = first + played
        played += 1
        law = run(program, number, seed, options)
        if law and run(program, 0, seed, options):
            print(f"seed {seed} {options} breaks a law without any defect", file=sys.stderr)
        elif law:
            return played, law
    return played, None


def killed(program, number, kind, meaning, seeds, seconds):
    """The row's cells: the law that noticed, and how many seeds that took."""
    drawn = CONTROLLED + SMALL if kind == "C" else SMALL
    first, options = HINTS.get(meaning, (drawn, ""))
    played, law = play(program, number, first, options, seeds, seconds)
    told = f"{played} | `{f'--from {first} {options}'.strip()}`"
    return law and law.replace("|", "\\|")[:160], told


def main():
    """Plants, compiles, plays and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="defects whose meaning contains this")
    parser.add_argument("--numbers", default="", help="defects with these numbers, separated by commas")
    parser.add_argument("--seconds", type=float, default=60, help="bound for one defect")
    parser.add_argument("--seeds", type=int, default=10_000, help="bound for one defect")
    parser.add_argument("--dir", help="folder of the copy; kept")
    parser.add_argument("--target", help="folder of what is compiled; in the copy if it is not given")
    parser.add_argument("--check", action="store_true", help="only look whether every defect can be planted")
    parser.add_argument("--merge", action="store_true", help="renew the lines of the page that were played, and keep the others")
    arguments = parser.parse_args()
    if arguments.check:
        planted()
        print(f"{len(MUTANTS)} defects can be planted")
        return
    folder = pathlib.Path(arguments.dir or tempfile.mkdtemp(prefix="modelfleet-mutants."))
    target = pathlib.Path(arguments.target) if arguments.target else folder / "target"
    try:
        plant(folder)
        program = compiled(folder, target)
        if law := run(program, 0, CONTROLLED + SMALL, ""):
            sys.exit(f"a law is broken without any defect: {law}")
        rows, survivors = [], []
        for number, (kind, meaning, file, _, _) in enumerate(MUTANTS, 1):
            numbers = [int(one) for one in arguments.numbers.split(",") if one]
            if arguments.only not in meaning or (numbers and number not in numbers):
                continue
            law, told = killed(program, number, kind, meaning, arguments.seeds, arguments.seconds)
            row = f"| {meaning} | `{file}` | {law or '**survives**'} | {told} |"
            (rows if law else survivors).append(row)
            print(row, flush=True)
            if arguments.merge:
                merge(meaning, row)
        if not arguments.merge and not arguments.only and not arguments.numbers:
            TABLE.write_text(document(rows, survivors, arguments.seconds))
        print(f"{len(rows)} killed, {len(survivors)} survive")
    finally:
        if not arguments.dir:
            shutil.rmtree(folder, ignore_errors=True)


def merge(meaning, row):
    """Puts a line into the page: into its first table when the defect was noticed, into its last one when it was not."""
    order = [mutant[1] for mutant in MUTANTS]
    called = lambda line: line.split(" | ")[0][2:] if line.startswith("| ") else None
    lines = [line for line in TABLE.read_text().splitlines() if called(line) in (None, "planted defect", *order) and called(line) != meaning]
    heads = [at for at, line in enumerate(lines) if line.startswith("|---")]
    at = heads[-1 if "**survives**" in row else 0] + 1
    while at < len(lines) and called(lines[at]) in order and order.index(called(lines[at])) < order.index(meaning):
        at += 1
    lines.insert(at, row)
    noticed = sum(called(line) in order and "**survives**" not in line for line in lines)
    text = "\n".join(lines) + "\n"
    TABLE.write_text(re.sub(r"\d+ of \d+ were noticed", f"{noticed} of {len(MUTANTS)} were noticed", text))


def document(rows, survivors, seconds):
    """The table with what it means."""
    head = "| planted defect | in | law that noticed | seeds played | options |\n|---|---|---|---|---|"
    return f"""# The swarm: planted defects and the laws that notice them

Each line changes one expression of a pure core. `tests/swarm/mutants.py` plants all of them in a copy of the tree, compiles
once, and plays seeds with one defect at a time until a law is broken that holds for the same seed without the defect. The
options are those of the program: `MODELFLEET_MUTANT` apart, `modelfleet-swarm --seeds 1000` with them plays the same seeds. {seconds:.0f}
seconds of one core beside other work are the bound for one defect. {len(rows)} of {len(rows) + len(survivors)} were noticed.

Some defects of an earlier list could change nothing and were replaced: evidence carries the attempt that asked for it, so that of
another is never offered; every leader has an epoch of its own, so that a revision that was heard from another need not be noted;
and contact with the broker counts only while a build answers, so that the second question whether it does is the same.

{head}
{chr(10).join(rows)}

## Not noticed within the bound

{head}
{chr(10).join(survivors)}
"""


if __name__ == "__main__":
    main()
