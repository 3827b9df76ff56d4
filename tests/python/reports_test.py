#!/usr/bin/env python3
"""The reports of `bitanchor check`, read by what others read them with: JSON by its schema, JUnit by an XML parser and the
rules of the public schemas, the page by Python's HTML parser, annotations and summary as GitHub's runner reads them.

Judges real captures of tests/data, copies with one mistake, undecidable and hostile ones. SKIPPED without jsonschema.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from support import DATA, ROOT, TOOLS, bitanchor, finish, require

FAILURES: list[str] = []
SCHEMA = ROOT / "lib" / "file" / "report_schema.json"
# Nothing of it may become markup, a command, or a character that XML 1.0 forbids.
HOSTILE = "<script>alert(1)</script> \"'&amp; ]]> %0A|`**[a](b)\n::error::injected\r\x1b[31m\x00\x0b\u202e\ufffe\uffff \U0001f600"
LEGIBLE = "<script>alert(1)</script> \"'&amp; ]]> %0A|`**[a](b)\\x0a::error::injected\\x0d\\x1b[31m\\x00\\x0b\\u202e\\ufffe\\uffff \U0001f600"
REPORTS = ("json", "junit", "html", "github")


def want(condition: bool, what: str) -> None:
    if not condition:
        print(f"FAIL {what}")
        FAILURES.append(what)


def closed(schema: Any) -> Any:
    """The schema, refusing every field that it does not describe: the program may say nothing that is not written down."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if "properties" in schema and schema.get("type") == "object" else {}
    return {name: closed(part) for name, part in schema.items()} | more


def check_json(name: str, report: dict, status: int) -> None:
    import jsonschema

    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for error in jsonschema.Draft202012Validator(closed(schema)).iter_errors(report):
        want(False, f"{name}: json: {error.json_path}: {error.message}")
    want((report["verdict"] == "pass") == (status == 0), f"{name}: json: {report['verdict']}, exit status {status}")
    for output in report["outputs"]:
        counts = [output[part] for part in ("exact", "within", "outside", "nonfinite_mismatch", "undetermined")]
        want(sum(counts) == output["elements"], f"{name}: json: the counts of {output['name']} do not add up")
        by_ulp = output["by_ulp"]
        want(len(by_ulp["counts"]) == len(by_ulp["bin_ends"]) + 1, f"{name}: json: bins and their ends")
        want(sum(by_ulp["counts"]) <= output["elements"], f"{name}: json: more in bins than there is")


def check_junit(name: str, text: str, report: dict, hostname: str = "localhost") -> None:
    """Jenkins' schema (xunit-plugin's junit-10.xsd) and Ant's (windyroad/JUnit-Schema), by hand: the stricter of both."""
    root = ElementTree.fromstring(text.encode())
    want(root.tag == "testsuites" and not root.attrib, f"{name}: junit: root {root.tag} {root.attrib}")
    suites = list(root)
    want([s.tag for s in suites] == ["testsuite"], f"{name}: junit: one testsuite")
    suite = suites[0]
    required = {"id", "package", "name", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"}
    want(set(suite.attrib) == required, f"{name}: junit: testsuite has {set(suite.attrib) ^ required} besides or not")
    want(bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))), f"{name}: junit: timestamp")
    want(suite.get("hostname") == hostname and float(suite.get("time", "x")) >= 0, f"{name}: junit: hostname, time")
    cases = suite.findall("testcase")
    tags = [part.tag for part in suite]
    want(tags == ["properties"] + ["testcase"] * len(cases) + ["system-out", "system-err"], f"{name}: junit: order {tags}")
    properties = {p.get("name"): p.get("value") for p in suite.find("properties")}
    want(properties.keys() >= {"verdict", "judged_by", "problem", "version", "kernel"}, f"{name}: junit: {properties}")
    want(properties["verdict"] == report["verdict"] and properties["version"] == report["version"], f"{name}: junit: {properties}")
    totals = {"failures": 0, "errors": 0, "skipped": 0}
    for case in cases:
        want(set(case.attrib) == {"name", "classname", "time"} and bool(case.get("name")), f"{name}: junit: {case.attrib}")
        endings = [part.tag for part in case]
        want(endings in ([], ["failure"], ["error"], ["skipped"]), f"{name}: junit: {case.get('name')} has {endings}")
        for part in case:
            totals[{"failure": "failures", "error": "errors", "skipped": "skipped"}[part.tag]] += 1
            want(bool(part.get("message")), f"{name}: junit: {part.tag} says nothing")
            want(part.tag == "skipped" or bool(part.get("type")), f"{name}: junit: {part.tag} without type")
    want(all(int(suite.get(part)) == count for part, count in totals.items()), f"{name}: junit: {suite.attrib}, {totals}")
    want(int(suite.get("tests")) == len(cases) > 0, f"{name}: junit: tests {suite.get('tests')}")
    wrong = {o["name"] for o in report["outputs"] if o["outside"] + o["nonfinite_mismatch"] or o["biased"]}
    if report["judged_by"]["mode"] == "rule":  # the rules alone decide
        wrong = {f"{rule['output']} by {rule['name']}" for rule in report["rules"] if rule["verdict"] == "fail"}
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    want(failed == wrong, f"{name}: junit: {failed} fail, want {wrong}")
    want((totals["errors"] > 0) == (report["verdict"] == "inconclusive"), f"{name}: junit: {totals}, {report['verdict']}")


class Page(HTMLParser):
    """Collects a page's elements and text, and whether they nest."""

    VOID = ("meta",)

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        want(bool(self.open) and self.open[-1] == tag, f"html: </{tag}> closes {self.open[-1:]}")
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data


def check_html(name: str, text: str, report: dict) -> None:
    page = Page(text)
    want(not page.open, f"{name}: html: {page.open} never closed")
    want(len(text.encode()) < 400_000, f"{name}: html: {len(text)} bytes")
    tags = {tag for tag, _ in page.seen}
    want(not tags & {"script", "link", "img", "iframe", "object", "base", "form", "image", "use"}, f"{name}: html: {tags}")
    for tag, attributes in page.seen:
        for attribute, value in attributes.items():
            outside = attribute in ("src", "srcset", "action", "xlink:href") or attribute.startswith("on")
            outside |= attribute == "href" and not (value or "").startswith("#")
            want(not outside, f"{name}: html: {tag} {attribute}={value}")
    want("url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", ""), f"{name}: html: names something outside")
    want(report["verdict"].capitalize() in page.text, f"{name}: html: does not say {report['verdict']}")
    ids = [attributes["id"] for _, attributes in page.seen if "id" in attributes]
    want(ids == [output["name"] for output in report["outputs"]], f"{name}: html: sections {ids}")
    for reason in report["inconclusive_because"] + report["signatures"] + report["not_judged"]:
        want(reason in page.text, f"{name}: html: does not say {reason!r}")
    for output in report["outputs"]:
        want(f"{output['elements']:,}" in page.text, f"{name}: html: does not count {output['name']}")


def check_github(name: str, stdout: str, summary: str, report: dict) -> None:
    """The runner takes every line that begins with '::' for a command."""
    commands = [line for line in stdout.splitlines() if line.lstrip().startswith("::")]
    level = "error" if report["verdict"] != "pass" else "none"
    for command in commands:
        parsed = re.fullmatch(r"::(\w+) title=([^,:]+),file=([^,:]+)::(.+)", command)
        want(bool(parsed) and parsed[1] == level, f"{name}: github: {command!r}")
        want(bool(re.fullmatch(r"([^%]|%25|%0A|%3A|%2C)*", command)), f"{name}: github: {command!r} has another escape")
    wrong = [o for o in report["outputs"] if o["outside"] + o["nonfinite_mismatch"] or o["biased"]]
    if report["judged_by"]["mode"] == "rule":
        wrong = [rule for rule in report["rules"] if rule["verdict"] == "fail"]
    expected = {"pass": 0, "fail": len(wrong), "inconclusive": 1}[report["verdict"]]
    want(len(commands) == expected, f"{name}: github: {len(commands)} annotations, want {expected}")
    want(summary.startswith("\n### ") and report["verdict"] in summary.splitlines()[1], f"{name}: github: {summary[:80]!r}")
    want("<script" not in summary and "\n::" not in summary, f"{name}: github: the summary has markup of the kernel's")


def judge(program: Path, capture: Path, folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Every report at once, each by name, "github" being the step summary."""
    paths = {report: folder / f"report.{report}" for report in REPORTS}
    for path in paths.values():
        path.unlink(missing_ok=True)
    command = [program, "check", capture, "--github", *arguments]
    for report in ("json", "junit", "html"):
        command += [f"--{report}", paths[report]]
    done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", timeout=600, check=False,
                          env={**os.environ, "GITHUB_STEP_SUMMARY": str(paths["github"])})  # fmt: skip
    want(done.stderr == "", f"{capture}: {done.stderr}")
    return done, {report: path.read_text(encoding="utf-8") for report, path in paths.items() if path.exists()}


def check_all(program: Path, name: str, capture: Path, folder: Path, verdict: str, *arguments: str) -> dict[str, str]:
    failures = len(FAILURES)
    done, reports = judge(program, capture, folder, *arguments)
    want(set(reports) == set(REPORTS), f"{name}: wrote {set(reports)}, exit status {done.returncode}")
    report = json.loads(reports["json"])
    want(report["verdict"] == verdict, f"{name}: {report['verdict']}, want {verdict}")
    check_json(name, report, done.returncode)
    check_junit(name, reports["junit"], report)
    check_html(name, reports["html"], report)
    check_github(name, done.stdout, reports["github"], report)
    again, _ = judge(program, capture, folder, *arguments)
    want(again.stdout == done.stdout, f"{name}: judged again, another text")
    print(f"{'ok  ' if len(FAILURES) == failures else 'FAIL'} {name}: {report['verdict']}")
    return reports


def broken(capture: str, mutant: str, folder: Path) -> Path:
    made = folder / f"{capture} {mutant}.safetensors"
    subprocess.run([sys.executable, str(TOOLS / "break_capture.py"), str(DATA / f"{capture}.safetensors"), str(made),
                    "--mutant", mutant], check=True, capture_output=True)  # fmt: skip
    return made


def check_hostile(program: Path, folder: Path) -> None:
    """A kernel's free text and a path with whatever a file may hold."""
    from capture_file import read_capture, write_capture

    capture = read_capture(DATA / "torch-sdpa-causal-f32.safetensors")
    capture.metadata["kernel"] = HOSTILE
    capture.tensors["o"] = capture.tensors["o"].copy()
    capture.tensors["o"].flat[5] = float("nan")
    capture.tensors["lse"] = capture.tensors["lse"].copy()
    capture.tensors["lse"].flat[7] = float("inf")
    path = folder / "hostile,%:'\"<b>&\n::error::injected.safetensors"
    write_capture(path, capture)
    reports = check_all(program, "hostile", path, folder, "fail")
    suite = ElementTree.fromstring(reports["junit"].encode())[0]
    kernel = next(p.get("value") for p in suite.find("properties") if p.get("name") == "kernel")
    want(kernel == LEGIBLE, f"hostile: junit: kernel {kernel!r}")
    want(LEGIBLE in Page(reports["html"]).text, "hostile: html: the kernel's text is not there")
    want(json.loads(reports["json"])["problem"]["kernel"] == HOSTILE, "hostile: json: the kernel's text is another")
    worst = json.loads(reports["json"])["outputs"][0]["worst"][0]
    want(worst["got"] == "nan" and worst["share"] == "inf", f"hostile: json: worst {worst}")


def check_layout_thd(program: Path, folder: Path) -> None:
    """Indices have the tensor's own axes: [T, H, D] and [Hq, T]."""
    from capture_file import read_capture, write_capture

    import numpy as np

    capture = read_capture(DATA / "torch-sdpa-causal-f32.safetensors")
    tokens = capture.bshd("q").shape[1]
    for name in ("q", "k", "v", "o"):
        capture.tensors[name] = np.ascontiguousarray(capture.bshd(name)[0])
    capture.tensors["lse"] = np.ascontiguousarray(capture.tensors["lse"][0])
    capture.tensors["cu_seqlens"] = np.array([0, tokens], dtype=np.int32)
    capture.metadata["layout"] = "thd"
    capture.tensors["o"][200, 1, 63] += 1
    capture.tensors["lse"][1, 250] += 1
    path = folder / "thd.safetensors"
    write_capture(path, capture)
    report = json.loads(check_all(program, "thd", path, folder, "fail")["json"])
    worst = {output["name"]: output["worst"][0]["index"] for output in report["outputs"]}
    want(worst == {"o": [200, 1, 63], "lse": [1, 250]}, f"thd: worst {worst}")


def check_undecided(program: Path, folder: Path) -> None:
    from capture_file import read_capture, write_capture

    capture = read_capture(DATA / "torch-sdpa-causal-f32.safetensors").judged_by(["o"])
    capture.tensors["v"] = capture.tensors["v"] * 0 + 1
    capture.tensors["o"] = capture.tensors["o"] * 0 + 1
    path = folder / "undecided.safetensors"
    write_capture(path, capture)
    check_all(program, "undecided", path, folder, "inconclusive")
    done, reports = judge(program, path, folder, "--allow-inconclusive")
    suite = ElementTree.fromstring(reports["junit"].encode())[0]
    want(done.returncode == 0 and suite.get("errors") == "0" and "::error" not in done.stdout, "undecided, and allowed")
    want(suite.get("skipped") != "0" and "::warning " in done.stdout, "undecided, and allowed: not said")


def check_places(program: Path, folder: Path) -> None:
    """Where reports go: stdout, one place for one report, nothing over the capture, refusals before the work."""
    capture = folder / "a copy.safetensors"
    capture.write_bytes((DATA / "torch-sdpa-causal-f32.safetensors").read_bytes())
    for report, start in (("json", "{\n"), ("junit", "<?xml "), ("html", "<!DOCTYPE html>")):
        done = bitanchor(program, "check", capture, f"--{report}", "-")
        want(done.returncode == 0 and done.stdout.startswith(start), f"--{report} -: {done.stdout[:40]!r}")
        want("verdict: pass" not in done.stdout, f"--{report} -: text besides")
    before = capture.read_bytes()
    taken = folder / "taken"
    for arguments in (["--json", "-", "--junit", "-"], ["--html", "-", "--github"], ["--html", capture],
                      ["--json", taken, "--html", taken], ["--junit", folder], ["--html", folder / "no" / "where"],
                      ["--junit", "/dev/full"], ["--html", ""]):  # fmt: skip
        done = bitanchor(program, "check", capture, *arguments)
        one = done.stderr.count("\n") == 1 and len(done.stderr.encode()) <= 600
        want(done.returncode == 2 and one, f"{arguments}: {done.returncode} {done.stderr!r}")
    want(capture.read_bytes() == before and not taken.exists(), "a refused report left something")
    missing = bitanchor(program, "check", folder / "none", "--html", folder / "no" / "where")
    want("where" in missing.stderr, f"an unwritable place is refused first: {missing.stderr}")


def check_summary_and_command(program: Path, folder: Path) -> None:
    capture = folder / "it's a capture.safetensors"
    capture.write_bytes((DATA / "torch-sdpa-causal-f32.safetensors").read_bytes())
    summary = folder / "summary"
    summary.write_text("before\n")
    command = [str(program), "check", str(capture), "--github", "--sample-rows", "9"]
    for value, said in ((str(summary), False), ("", True)):
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, "GITHUB_STEP_SUMMARY": value})  # fmt: skip
        want(done.returncode == 0, f"--github: {done.stderr}")
        want(("annotations only" in done.stdout) == said, f"--github, summary {value!r}: {done.stdout[-200:]!r}")
    text = summary.read_text()
    want(text.startswith("before\n\n### ") and text.count("### ") == 1, f"the summary is added: {text[:60]!r}")
    line = text.split("```sh\n")[1].split("\n```")[0]
    want(shlex.split(line) == ["bitanchor", *command[1:]], f"the command line: {line}")
    without = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=without)
    want(done.returncode == 0 and "annotations only" in done.stdout, "--github without the variable")
    quiet = subprocess.run([*command[:3]], capture_output=True, text=True, check=False,
                           env={**os.environ, "GITHUB_STEP_SUMMARY": "/dev/full"})  # fmt: skip
    want(quiet.returncode == 0, "the environment is read though nobody asked for it")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bitanchor", type=Path, required=True, help="the program under test")
    program = parser.parse_args().bitanchor
    require("jsonschema", "numpy", "safetensors", "ml_dtypes")

    flex, backward = "torch-flex-anchor-bf16", "torch-sdpa-backward-causal-bf16"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for capture in sorted(DATA.glob("*.safetensors")):
            check_all(program, capture.stem, capture, folder, "pass")
        for capture, mutant in ((flex, "key-block-wrong"), (flex, "one-nan"), (flex, "rope-pairing"), (backward, "dk-scale-missing")):
            check_all(program, f"{capture}, {mutant}", broken(capture, mutant, folder), folder, "fail")
        check_all(program, "replay", DATA / f"{flex}.safetensors", folder, "fail", "--recipe", "textbook-bf16p")
        check_all(program, "rules, one of which fails", DATA / f"{flex}.safetensors", folder, "fail", "--rule", "torch,ggml")
        check_all(program, "a rule that passes", DATA / f"{flex}.safetensors", folder, "pass", "--rule", "ggml")
        check_all(program, "sampled", DATA / f"{flex}.safetensors", folder, "pass", "--sample-rows", "40")
        check_hostile(program, folder)
        check_layout_thd(program, folder)
        check_undecided(program, folder)
        check_places(program, folder)
        check_summary_and_command(program, folder)
    return finish(FAILURES, f"{len(FAILURES)} failures")


if __name__ == "__main__":
    sys.exit(main())
