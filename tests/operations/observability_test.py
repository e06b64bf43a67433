#!/usr/bin/python3
"""Scrapes a live chorusd, and what a run of chorus-train left, by a real Prometheus and asks it every query of the
dashboard and every alert.

observability_test.py CHORUSD CHORUS_TRAIN REPOSITORY.
"""
import contextlib
import http.server
import json
import math
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

PATIENCE_SECONDS = 90
SLOW = {"chorus_clock_drift_ppm"}  # told once it is known, a minute or more after the first sound
METRIC = re.compile(r"(?<![\w:$\"])((?:chorus|process|station|station_source)[\w:]*_[\w:]+|up|ALERTS)(\{[^}]*\})?(?![\w:(=])")

# Everything is an event to this threshold; the second source ends again and again, which closes its events. The
# candidate is the model under another date.
STATION = """
[station]
name = "pond-7"
[model]
bundle = "{bundle}"
shadow = "{candidate}"
[publish]
endpoint = "tcp://127.0.0.1:*"
[journal]
path = "{journal}"
[replay]
endpoint = "tcp://127.0.0.1:*"
[http]
listen = "127.0.0.1:0"
[detection]
threshold_scale = 0.01
[[source]]
name = "steady"
launch = "audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=16000,channels=2"
[[source]]
name = "flaky"
launch = "audiotestsrc is-live=true num-buffers=60 ! audio/x-raw,rate=16000,channels=1"
"""

PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: chorus
    static_configs: [{{targets: ["{target}"]}}]
  - job_name: node
    static_configs: [{{targets: ["{trainer}"]}}]
"""


@contextlib.contextmanager
def running(command, log):
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def serving(text):
    """As node exporter's textfile collector does."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def metrics_of_a_retraining(chorus_train, scratch):
    """Of a station that has no labels yet."""
    (scratch / "station/models").mkdir(parents=True)
    subprocess.run([chorus_train, "retrain", "--set", f"retrain.station={scratch}/station",
                    "--set", f"retrain.metrics={scratch}/trainer.prom"], check=True, capture_output=True)
    return (scratch / "trainer.prom").read_bytes()


def lint(metrics):
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True)
    return [f"promtool check metrics: {checked.stderr.decode()}"] if checked.returncode != 0 or checked.stderr else []


def wait_for_line(process, log, pattern):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(pattern, log.read_text())
        if found:
            return found.group(1)
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} does not say {pattern!r}:\n{log.read_text()}")


class Server:
    """The HTTP interface of a Prometheus."""

    def __init__(self, address):
        self.base = f"http://{address}/api/v1/"

    def get(self, path, **parameters):
        with urllib.request.urlopen(f"{self.base}{path}?{urllib.parse.urlencode(parameters)}", timeout=20) as answer:
            return json.load(answer)["data"]

    def has_data(self, query):
        try:
            samples = self.get("query", query=query)["result"]
        except urllib.error.HTTPError as error:
            sys.exit(f"{query}: {error.read().decode()}")
        return any(not math.isnan(float(sample["value"][1])) for sample in samples)


def wait_for_data(server, queries):
    """Those of `queries` (what for: the query) that stay without data until patience ends."""
    missing = dict(queries)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while missing and time.monotonic() < deadline:
        missing = {use: query for use, query in missing.items() if not server.has_data(query)}
        time.sleep(0.2 if missing else 0)
    return missing


def panel_queries(dashboard):
    variables = {"$__rate_interval": "30s", "$__range": "1h", "$station": ".+", "$source": ".+"}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in variables.items():
                query = query.replace(name, value)
            yield f"panel {panel['title']!r} {target['refId']}", query


def check(server, repository):
    assert not server.has_data("chorus_no_such_metric"), "a query without data must be noticed"
    queries = dict(panel_queries(json.loads((repository / "config/grafana/chorus.json").read_text())))
    uses = list(queries.items())
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 20 and len(queries) > 40, "rules and panels were read"
    tests = (pathlib.Path(__file__).parent / "chorus.rules.test.yml").read_text()
    untested = [rule["name"] for rule in rules if rule["type"] == "alerting" and f"alertname: {rule['name']}\n" not in tests]
    assert not untested, f"promtool does not test {untested}"
    # An alert that doesn't fire has no data, but each thing it looks at has.
    for rule in rules:
        uses.append((f"rule {rule['name']}", rule["query"]))
        for number, (metric, matchers) in enumerate(METRIC.findall(rule["query"])):
            queries[f"rule {rule['name']}, metric {number + 1}"] = f"count({metric}{matchers})"
    uses_of_metrics = {use: {metric for metric, _ in METRIC.findall(query)} for use, query in uses}
    blind = [use for use, metrics in uses_of_metrics.items() if not metrics]
    assert not blind, f"no metric found in {blind}"

    expected = {use: query for use, query in queries.items()
                if not SLOW & {metric for metric, _ in METRIC.findall(query)}}
    failures = [f"{use}: no data: {query}" for use, query in wait_for_data(server, expected).items()]
    for rule in {rule["name"]: rule for group in server.get("rules")["groups"] for rule in group["rules"]}.values():
        if rule["health"] != "ok":
            failures.append(f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
    print(f"{len(expected)} of {len(queries)} queries checked; not those of {', '.join(SLOW)}")
    return failures


def write_redated(bundle, candidate):
    """A bundle that differs from another in its metadata alone: 8 bytes of the header's length, JSON, tensors."""
    data = bundle.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"]["created"] = "2026-01-01T00:00:00Z"
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    candidate.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def main(chorusd, chorus_train, repository):
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as processes:
        scratch = pathlib.Path(scratch)
        bundle = repository / "model/starter/animals.safetensors"
        write_redated(bundle, scratch / "candidate.safetensors")
        (scratch / "chorusd.toml").write_text(STATION.format(
            bundle=bundle, candidate=scratch / "candidate.safetensors", journal=scratch / "journal.db"))
        log = scratch / "chorusd.log"
        daemon = processes.enter_context(running([chorusd, "run", "--config", scratch / "chorusd.toml"], log))
        target = wait_for_line(daemon, log, r"serving HTTP on (\S+)\n")

        retraining = metrics_of_a_retraining(chorus_train, scratch)
        trainer = processes.enter_context(serving(retraining))
        (scratch / "prometheus.yml").write_text(PROMETHEUS.format(
            rules=repository / "config/prometheus/chorus.rules.yml", target=target, trainer=trainer))
        log = scratch / "prometheus.log"
        prometheus = processes.enter_context(running(
            ["prometheus", f"--config.file={scratch}/prometheus.yml", f"--storage.tsdb.path={scratch}/tsdb",
             "--web.listen-address=127.0.0.1:0"], log))
        address = wait_for_line(prometheus, log, r'msg="Listening on" address=(127\S+)')
        wait_for_line(prometheus, log, r"(Server is ready to receive web requests)")
        server = Server(address)
        missing = wait_for_data(server, {"scrape": 'up{job="chorus"} == 1', "sound": "chorus_windows_total > 0"})
        failures = [f"no {what}" for what in missing] or check(server, repository)

        metrics = urllib.request.urlopen(f"http://{target}/metrics", timeout=20).read()
        failures += lint(metrics) + lint(retraining)
        if daemon.poll() is not None:
            failures.append(f"the daemon ended: {(scratch / 'chorusd.log').read_text()}")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])))
