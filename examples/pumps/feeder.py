"""Feeds one device agent with the readings of one kind of pump, and later with the truth about them.

Standard library only, so that it runs wherever an agent does. Readings go to the agent's Open Inference
Protocol v2 endpoint, the truth to its feedback endpoint. The agent may start late, restart or swap
models meanwhile: the feeder waits for it, but no longer than --wait seconds at a time.
"""

import argparse
import csv
import http.client
import json
import random
import signal
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

FEATURES_START = 4  # columns of traffic.csv: age, load, environment, truth, then the features
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class AgentGone(Exception):
    """The agent did not answer within the allowed wait."""


class Agent:
    """One HTTP connection to the agent, reopened as needed."""

    def __init__(self, url, wait_s, stopped):
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=10)
        self.prefix = parts.path.rstrip("/")
        self.wait_s = wait_s
        self.stopped = stopped

    def post(self, path, body, wait_for=(404, 429, 503)):
        """(status, parsed answer). Waits while the agent is absent or says one of `wait_for`."""
        deadline = time.monotonic() + self.wait_s
        pause = FIRST_PAUSE_S
        while True:
            try:
                status, answer = self._post_once(path, body)
                if status not in wait_for:
                    return status, answer
                problem = f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                self.connection.close()
                problem = str(error) or type(error).__name__
            if self.stopped() or time.monotonic() + pause > deadline:
                raise AgentGone(problem)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _post_once(self, path, body):
        payload = json.dumps(body)
        self.connection.request("POST", self.prefix + path, payload, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        text = response.read()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, None


def read_rows(path, age, load, environment):
    """truth -> list of feature rows, for one kind of pump."""
    rows = {"normal": [], "anomaly": []}
    with open(path, newline="", encoding="ascii") as file:
        lines = csv.reader(file)
        next(lines)
        for line in lines:
            if (line[0], line[1], line[2]) == (age, load, environment):
                rows[line[3]].append([float(value) for value in line[FEATURES_START:]])
    return rows


def is_alarm(answer):
    """Whether the answer's `label` output is -1, the forest's word for an anomaly."""
    outputs = (answer or {}).get("outputs", [])
    return any(output.get("name") == "label" and output.get("data") in ([-1], [[-1]]) for output in outputs)


class Tally:
    """What happened, for the summary line."""

    def __init__(self):
        self.sent = self.answered = self.failed = self.truths = self.alarms = self.false_alarms = 0

    def line(self, kind, seconds, note):
        return (
            f"fed {kind}: {self.sent} readings in {seconds:.1f} s, {self.answered} answered, "
            f"{self.failed} failed, {self.truths} truths sent, {self.alarms} alarms "
            f"({self.false_alarms} false){note}"
        )


def send_reading(agent, options, row, failing, identity, tally, tell_truth):
    """One prediction, then, if asked, the truth about it."""
    tally.sent += 1
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, len(row)], "data": row}
    status, answer = agent.post(f"/v2/models/{options.model}/infer", {"id": identity, "inputs": [tensor]})
    if status != 200:
        tally.failed += 1
        return
    tally.answered += 1
    if is_alarm(answer):
        tally.alarms += 1
        tally.false_alarms += not failing
    if tell_truth:
        body = {"id": identity, "truth": failing}
        # 404 is no reason to wait: an answer from the moment of a swap is not remembered.
        status, _ = agent.post(f"/v2/models/{options.model}/feedback", body, wait_for=(429, 503))
        tally.truths += 200 <= status < 300


def feed(options, rows, stopped):
    """Sends at the asked rate until time is up, the agent is gone or a signal comes; returns exit code."""
    choose = random.Random(options.seed)
    agent = Agent(options.url, options.wait, stopped)
    tally = Tally()
    run = f"{time.time_ns():x}"
    note = ""
    start = due = time.monotonic()
    while not stopped() and (options.seconds is None or due - start < options.seconds):
        time.sleep(max(0.0, min(due - time.monotonic(), 0.5)))
        if time.monotonic() < due:
            continue
        failing = choose.random() < options.failing_share
        row = choose.choice(rows["anomaly" if failing else "normal"])
        tell_truth = choose.random() < options.truth_share
        try:
            send_reading(agent, options, row, failing, f"{run}-{tally.sent}", tally, tell_truth)
        except AgentGone as gone:
            tally.failed += 1
            note = "" if stopped() else f"; gave up on the agent: {gone}"
            break
        due = max(due + 1 / options.rate, time.monotonic() - 1.0)  # never more than a second to catch up
    kind = f"{options.age}/{options.load}/{options.environment}"
    print(tally.line(kind, time.monotonic() - start, note), flush=True)
    return 1 if note or not tally.answered else 0


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="the agent's local API, http://HOST:PORT")
    parser.add_argument("--model", default="pump-anomaly")
    parser.add_argument("--age", choices=("young", "old"), required=True)
    parser.add_argument("--load", choices=("light", "heavy"), required=True)
    parser.add_argument("--environment", choices=("indoor", "outdoor"), required=True)
    parser.add_argument("--rate", type=float, default=20.0, help="readings a second")
    parser.add_argument("--seconds", type=float, help="stop after this long; without it, run until told")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failing-share", type=float, default=0.05, help="share of readings that are failing")
    parser.add_argument("--truth-share", type=float, default=1.0, help="share of readings whose truth is sent")
    parser.add_argument("--wait", type=float, default=60.0, help="longest wait for an absent agent, seconds")
    parser.add_argument("--traffic", type=Path, default=Path(__file__).with_name("traffic.csv"))
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    signals = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: signals.append(received))
    rows = read_rows(options.traffic, options.age, options.load, options.environment)
    return feed(options, rows, lambda: bool(signals))


if __name__ == "__main__":
    sys.exit(main())
