"""Rollouts and versions as a fleet has them: usual ones, and one in which everything is as long as it may be."""

AT = "2026-08-01T12:00:00Z"


def metadata(name, namespace):
    return {"name": name, "namespace": namespace}


def version(name, namespace, model, number):
    return {
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion", "metadata": metadata(name, namespace),
        "spec": {
            "model": model, "version": number,
            "artifact": {"uri": "https://models.example.com/m.onnx", "digest": "sha256:" + "ab" * 32, "sizeBytes": 183_424},
            "lineage": {"trainingData": "s3://plant/2026-07", "gitCommit": "0123456789abcdef0123456789abcdef01234567", "tags": ["nightly"]},
        },
    }


def rollout(name, namespace, model, number, slos=3):
    metrics = [("error-rate", "ErrorRate", "1%"), ("latency", "LatencyP95", "500ms"), ("out-of-range", "OutOfRangeRate", "1%")]
    objectives = [
        {"name": f"{metrics[i % 3][0]}-{i}" if slos > 3 else metrics[i][0], "metric": metrics[i % 3][1], "threshold": metrics[i % 3][2]}
        for i in range(slos)
    ]
    return {
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout", "metadata": metadata(name, namespace),
        "spec": {
            "model": model, "version": number,
            "stages": [
                {"name": "canary", "devices": "2.5%", "bake": "7d"},
                {"name": "early-adopter", "devices": "10%", "bake": "14d"},
                {"name": "broad", "devices": "50%", "bake": "14d", "approval": "Required"},
                {"name": "full", "devices": "100%", "bake": "1d"},
            ],
            "slos": objectives,
        },
    }


def verdict(slo, kind="Undecided", estimate="1.3", length=0):
    return {
        "slo": slo, "verdict": kind, "judgedBy": "Statistical", "value": "2.4%",
        "measured": "errors 2.4 % (1.3 to 3.2), controls 1.1 %, at most 1 %; 20 and 60 devices",
        "estimate": estimate, "low": "0.6" if float(estimate) < 5 else "6.1", "high": "4.9" if float(estimate) < 5 else "31", "devices": 20, "windows": 3360, "spentPpm": 310,
        "sentence": ("20 of 200 devices with the version were outside the limit, and 61 of 800 without it; " * 3)[: length or 90],
        "at": "2026-08-02T12:00:00Z",
    }


def status(of, phase="Progressing", full=False):
    long = lambda text, most: (text * most)[:most] if full else text
    message = long("Waiting for look 3 of 6 of stage early-adopter; 19 of 20 devices have reported. ", 512 if full else 80)
    verdicts = [
        verdict(slo["name"], ["Healthy", "Undecided", "Degraded", "Exposed", "Incident"][i % 5], ["0.9", "1.3", "12"][i % 3], 200 if full else 0)
        for i, slo in enumerate(of["spec"]["slos"])
    ]
    decision = {"at": AT, "stage": "early-adopter", "decision": "Advance", "reason": "StageStarted", "message": long("Selecting 24 devices for stage early-adopter. ", 200 if full else 44)}
    ended = phase in ("Succeeded", "RolledBack")
    told = {
        "observedGeneration": 1, "phase": phase, "message": message, "stageSummary": "2/4 early-adopter", "updated": "19/200",
        "verdictSummary": "Undecided", "startedAt": "2026-07-25T12:00:00Z",
        "stage": {"name": "early-adopter", "index": 1, "startedAt": AT, "bakeEndsAt": "2026-08-15T12:00:00Z", "deadlineAt": "2026-08-29T12:00:00Z"},
        "counts": {"eligible": 24, "reachable": 21, "offered": 23, "downloaded": 20, "activated": 19, "confirmed": 17, "failed": 2,
                   "incompatible": 3, "ownTrouble": 1, "silentAfterActivation": 1, "unreachable": 3},
        "judge": {"errorBudgetPpm": 10000, "spentPpm": 1250, "looks": 2},
        "verdicts": verdicts, "decisions": [decision] * (32 if full else 3),
        "margins": [{"stage": "early-adopter", "marginPpm": 5000000, "basis": "Planner"}],
        "failures": [{"device": long("pump-0007", 64), "code": "SelfTestMismatch"}] * (16 if full else 2),
        "conditions": [{"type": "Stalled", "status": "True" if phase == "Stalled" else "False", "reason": "DeadlinePassed",
                        "message": message, "lastTransitionTime": AT, "observedGeneration": 1}],
    }
    if ended:
        told["finishedAt"] = "2026-08-20T12:00:00Z"
    return told
