"""The dashboard of the plugin in a real Chromium, over a real API server.

MODELFLEET_KUBECONFIG names the kubeconfig of an administrator with the CRDs applied, MODELFLEET_BIN_DIR the folder of
kubectl-modelfleet. DASHBOARD_ROLLOUTS says how many rollouts the first page has (60). Screenshots are left in
target/dashboard. tests/dashboard.sh starts all of it.
"""

import json
import os
import re
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chromium import Browser
from objects import rollout, status, version

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "target" / "dashboard"
KUBECONFIG = os.environ["MODELFLEET_KUBECONFIG"]
PLUGIN = Path(os.environ["MODELFLEET_BIN_DIR"]) / "kubectl-modelfleet"
ROLLOUTS = int(os.environ.get("DASHBOARD_ROLLOUTS", "60"))
RUN = f"{os.getpid():x}"
FLEET, EMPTY = f"plant-{RUN}", f"empty-{RUN}"
LONG = "r" + "o" * 61 + "l"
PHASES = ["Progressing", "Succeeded", "RolledBack", "Queued", "Paused", "AwaitingApproval", "Stalled", "RollingBack"]
# A window of 1280 pixels at a zoom of 400 % has 320 of them, a telephone has 390.
WIDTHS = [1280, 320]


def kubectl(*arguments, given=None):
    command = ["kubectl", "--kubeconfig", KUBECONFIG, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


class ApiServer:
    """The API server without kubectl, which takes a tenth of a second for each object."""

    def __init__(self):
        config = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        self.tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(b64decode(user[part]))
            file.flush()
            self.tls.load_cert_chain(file.name)
        self.server = cluster["server"]

    def send(self, method, path, body):
        request = urllib.request.Request(self.server + path, method=method, data=json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None


def apply(objects):
    """Creates objects, several at a time, and gives them their statuses."""
    server = ApiServer()

    def one(pair):
        made, told = pair
        kind = "rollouts" if made["kind"] == "Rollout" else "modelversions"
        path = f"/apis/modelfleet.io/v1alpha1/namespaces/{made['metadata']['namespace']}/{kind}"
        now = server.send("POST", path, made)
        if told:
            server.send("PUT", f"{path}/{made['metadata']['name']}/status", {**now, "status": told})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, objects))


class Dashboard:
    """The plugin as a process."""

    def __init__(self, *arguments, kubeconfig=KUBECONFIG):
        command = [PLUGIN, "dashboard", "--kubeconfig", kubeconfig, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().strip()
        self.base, self.key = self.address.split("/?key=")

    def get(self, path, **headers):
        """Status, headers and text of a page, as a program gets it."""
        cookie = f"modelfleet-{self.base.rsplit(':')[-1]}={self.key}"
        request = urllib.request.Request(self.base + path, headers={"Cookie": cookie, **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def wait(self, path, wanted, seconds=20):
        until = time.monotonic() + seconds
        while wanted not in (text := self.get(path)[2]):
            assert time.monotonic() < until, f"{path} never says {wanted!r}: {text[:3000]}"
            time.sleep(0.1)

    def close(self):
        self.process.kill()
        self.process.wait()


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        PICTURES.mkdir(parents=True, exist_ok=True)
        for namespace in (FLEET, EMPTY):
            kubectl("create", "namespace", namespace)
        many = []
        for i in range(ROLLOUTS):
            one = rollout(f"pump-{i:04}", FLEET, f"pump-{i % 7}", f"1.{i}.0")
            many.append((one, status(one, PHASES[i % len(PHASES)] if i else "Progressing")))
        full = rollout(LONG, FLEET, "m" + "o" * 40 + "l", "10.20.30-rc.1+build.5", slos=16)
        many.append((full, status(full, "Stalled", full=True)))
        many += [(version(f"pump-0-{i}", FLEET, "pump-0", f"1.{i}.0"), {"stage": s}) for i, s in enumerate(("Archived", "Production", "Rejected"))]
        apply(many)
        cls.dashboard = Dashboard("-n", FLEET)
        cls.dashboard.wait("/", f"{ROLLOUTS + 1} in all", 60)
        cls.dashboard.wait(f"/rollouts/{FLEET}/pump-0000", "Waiting for look 3")
        cls.dashboard.wait("/models/%s/pump-0" % FLEET, "Production")
        cls.browser = Browser()
        cls.browser.open(cls.dashboard.address)

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.dashboard.close()
        for namespace in (FLEET, EMPTY):
            kubectl("delete", "namespace", namespace, "--wait=false")

    def go(self, path):
        self.browser.open(self.dashboard.base + path)

    def test_pages_fit_at_every_width_in_light_and_dark(self):
        for name, path in {
            "first": "/", "rollout": f"/rollouts/{FLEET}/pump-0000", "full": f"/rollouts/{FLEET}/{LONG}",
            "model": f"/models/{FLEET}/pump-0", "alarms": f"/alarms/{FLEET}", "devices": f"/devices/{FLEET}",
        }.items():
            for width in WIDTHS:
                for dark in (False, True):
                    self.browser.look(width, dark=dark)
                    self.go(path)
                    self.browser.screenshot(PICTURES / f"{name}-{width}-{'dark' if dark else 'light'}.png")
                    excess = self.browser.evaluate("document.documentElement.scrollWidth - innerWidth")
                    self.assertLessEqual(excess, 0, f"{path} is wider than {width}")
                    hidden = self.browser.evaluate(
                        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg, details:not([open])') &&"
                        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 200))")
                    self.assertEqual(hidden, [], f"{path} at {width}")
                    colours = self.browser.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
                    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours]
                    self.assertEqual(light[0] < light[1], dark, f"{colours}")
        self.browser.look(1280)

    def test_each_number_is_that_of_the_object(self):
        for name in ("pump-0000", LONG):
            told = json.loads(kubectl("get", "rollouts.modelfleet.io", name, "-n", FLEET, "-o", "json"))
            self.go(f"/rollouts/{FLEET}/{name}")
            figures = self.browser.evaluate(
                "[...document.querySelectorAll('[data-field]')].map(e => [e.dataset.field, e.dataset.form || '', e.textContent])")
            self.assertGreater(len(figures), 30)
            for field, form, text in figures:
                value = told
                for part in field.strip("/").split("/"):
                    value = value[int(part)] if isinstance(value, list) else value[part]
                if form == "ppm":
                    self.assertAlmostEqual(float(text.rstrip("%")) * 10_000, value)
                else:
                    self.assertEqual(text, str(value), field)

    def test_everything_is_reached_by_keyboard(self):
        self.go("/")
        links = self.browser.evaluate("document.querySelectorAll('a[href], summary, [tabindex=\"0\"]').length")
        seen = []
        for _ in range(links + 2):
            self.browser.press("Tab")
            told = self.browser.evaluate(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                " return [e.outerHTML.slice(0, 120), e.textContent.slice(0, 80), s.outlineStyle]; })()")
            seen.append(told)
            self.assertNotEqual(told[2], "none", f"the focus is not seen on {told[0]}")
            if told[1].startswith("pump-0") and "/rollouts/" in told[0]:
                break
        self.assertEqual(seen[0][1], "Skip to the content")
        self.assertIn("/rollouts/", seen[-1][0], f"{seen}")
        self.browser.press("Enter")
        self.browser.wait(f"document.querySelector('h1').textContent === 'Rollout {seen[-1][1]}'")

    def test_a_change_is_shown_without_reloading(self):
        one = rollout("live", FLEET, "live", "1.0.0")
        apply([(one, status(one))])
        self.dashboard.wait(f"/rollouts/{FLEET}/live", "Waiting for look 3")
        self.go(f"/rollouts/{FLEET}/live")
        self.browser.evaluate("document.getElementById('counts').open = true; window.same = true")
        told = json.dumps({"status": {"message": "Everything is different now.", "counts": {"confirmed": 18}}})
        kubectl("patch", "rollouts.modelfleet.io", "live", "-n", FLEET, "--subresource=status", "--type=merge", "-p", told)
        self.browser.wait("document.body.innerText.includes('Everything is different now.')")
        self.assertTrue(self.browser.evaluate("window.same && document.getElementById('counts').open"), "the page was not left")

    def test_no_request_leaves_the_machine_and_no_rule_is_broken(self):
        self.browser.requests.clear()
        self.browser.complaints.clear()
        for path in ("/", f"/rollouts/{FLEET}/pump-0000", f"/models/{FLEET}/pump-0", f"/alarms/{FLEET}", f"/fleets/{FLEET}"):
            self.go(path)
        self.browser.evaluate("1")
        self.assertGreater(len(self.browser.requests), 10)
        for url in self.browser.requests:
            self.assertTrue(url.startswith((self.dashboard.base + "/", "data:,")), url)
        self.assertEqual(self.browser.complaints, [])
        tried = self.browser.evaluate(
            "fetch('http://192.0.2.1/').then(() => 'sent', error => 'refused')")
        self.assertEqual(tried, "refused")
        self.assertTrue(any("Content Security Policy" in told for told in self.browser.complaints), self.browser.complaints)

    def test_only_this_user_by_this_name_gets_in(self):
        port = self.dashboard.base.rsplit(":")[-1]
        for host, wanted in ((f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200), (f"evil.example:{port}", 421), ("127.0.0.1", 421)):
            self.assertEqual(self.dashboard.get("/", Host=host)[0], wanted, host)
        for cookie in ("", f"modelfleet-{port}=", f"modelfleet-{port}={'0' * 32}"):
            for path in ("/", "/events", "/style.css", f"/rollouts/{FLEET}/pump-0000"):
                self.assertEqual(self.dashboard.get(path, Cookie=cookie)[0], 403, f"{cookie} {path}")
        status, headers, _ = self.dashboard.get("/")
        self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
        self.assertEqual(self.dashboard.get("/rollouts/none/none")[0], 404)
        request = urllib.request.Request(self.dashboard.base + "/", method="POST", headers={"Cookie": f"modelfleet-{port}={self.dashboard.key}"})
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        self.assertEqual(refused.exception.code, 405)

    def test_devices_say_how_the_controller_is_reached(self):
        status, _, text = self.dashboard.get(f"/devices/{FLEET}")
        self.assertEqual(status, 502)
        self.assertIn("port-forward", text)

    def test_an_empty_fleet_says_so(self):
        empty = Dashboard("-n", EMPTY)
        try:
            empty.wait("/", "There are no rollouts and no versions here")
            self.browser.open(empty.address)
            self.browser.wait("document.body.innerText.includes('There are no rollouts')")
            self.browser.screenshot(PICTURES / "empty-1280-light.png")
        finally:
            empty.close()
        self.browser.wait("document.getElementById('live').className === 'lost'")
        self.assertIn("does not answer", self.browser.text())
        self.browser.screenshot(PICTURES / "lost-1280-light.png")

    def test_an_api_server_that_is_away_is_told(self):
        config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
        path = PICTURES / "away.kubeconfig"
        path.touch(0o600)
        path.write_text(json.dumps(config))
        away = Dashboard("-n", FLEET, kubeconfig=str(path))
        try:
            away.wait("/", "are not read yet")
            self.browser.open(away.address)
            self.browser.wait("!!document.querySelector('.banner')")
            self.browser.screenshot(PICTURES / "away-1280-light.png")
        finally:
            away.close()
            path.unlink()

    def test_the_first_page_is_quick(self):
        times = []
        for _ in range(10):
            began = time.monotonic()
            status, _, text = self.dashboard.get("/")
            times.append((time.monotonic() - began) * 1000)
            self.assertEqual(status, 200)
        print(f"\nfirst page, {ROLLOUTS} rollouts: median {sorted(times)[5]:.1f} ms, longest {max(times):.1f} ms, {len(text) / 1000:.0f} kB")
        self.assertLess(sorted(times)[5], 300)


if __name__ == "__main__":
    unittest.main()
