"""The benchmark's files as others read them: the results by their schema, the page in a browser."""

import json
import pathlib
import re
import subprocess

import fastjsonschema
import pytest

from conftest import required

ROOT = pathlib.Path(__file__).parent.parent.parent
PLAN = """\
name: page
title: A page for a test
losses: [ib]
rows: [2, 4]
classes: [10, 100000]
features: [4]
threads: [1]
lowerings: [direct, portable]
peers: [pytorch-eager]
budget: {cell: 0.1, samples: 20}
"""
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=4000 --dump-dom""".split()


@pytest.fixture(scope="module")
def results(run_ibgraph, ort_library, tmp_path_factory):
    """The directory of a small benchmark."""
    directory = tmp_path_factory.mktemp("bench")
    (directory / "plan.yaml").write_text(PLAN)
    done = run_ibgraph("bench", directory / "plan.yaml", "--runtime", ort_library, "-o", directory / "out")
    assert done.returncode == 0, done.stderr.decode()
    return directory / "out"


def test_results_keep_to_their_schema(results):
    schema = json.loads((ROOT / "docs" / "results.schema.json").read_text())
    validate = fastjsonschema.compile(schema)
    data = json.loads((results / "results.json").read_text())
    validate(data)
    data["cells"][0]["arms"][0]["status"] = "excellent"
    with pytest.raises(fastjsonschema.JsonSchemaException):
        validate(data)


def rendered(page: pathlib.Path, tmp_path: pathlib.Path, width: int) -> str:
    """The document as it is after its script has run."""
    browser = required("IBGRAPH_TEST_BROWSER", "a Chromium or Chrome")
    command = [browser, *FLAGS, f"--window-size={width},900", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, text=True)
    assert done.returncode == 0, done.stderr
    assert "Uncaught" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_draws_every_figure(results, tmp_path, width):
    dom = rendered(results / "report.html", tmp_path, width)
    data = json.loads((results / "results.json").read_text())
    body = dom[dom.index("<body") : dom.index('<script id="data"')]
    assert "A page for a test" in body
    arms = [arm for cell in data["cells"] for arm in cell["arms"]]
    rows = re.findall(r"<tr>(?:(?!</tr>).)*<td.*?</tr>", body, re.S)
    assert len(rows) == len(arms)
    # Three charts, a line in each for every arm that was measured.
    for arm in ("direct", "portable", "copy"):
        assert body.count(f'data-arm="{arm}"') == 3, arm
    assert body.count('class="band"') == 9
    assert ">100k</text>" in body, "a tick of the axis of classes"
    assert "no Python with PyTorch was named" in body
    median = next(arm["cold"]["summary"]["median"] for arm in arms if arm["arm"] == "portable")
    assert shown(median) in body


STEPS = f"""\
name: steps
classifiers: [{ROOT / "tests/data/classifiers/cnn/model.onnx"}]
emit: [gradients, train-step]
rows: [4]
threads: [1]
peers: [ort-training]
budget: {{cell: 0.1, samples: 20}}
"""


def test_the_page_of_training_steps_has_bars_and_keeps_to_the_schema(run_ibgraph, ort_library, tmp_path):
    (tmp_path / "steps.yaml").write_text(STEPS)
    done = run_ibgraph("bench", tmp_path / "steps.yaml", "--runtime", ort_library, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr.decode()
    schema = json.loads((ROOT / "docs" / "results.schema.json").read_text())
    fastjsonschema.compile(schema)(json.loads((tmp_path / "out" / "results.json").read_text()))
    dom = rendered(tmp_path / "out" / "report.html", tmp_path, 390)
    body = dom[dom.index("<body") : dom.index('<script id="data"')]
    assert "cnn, batches of 4" in body
    assert re.findall(r'class="bar" data-arm="([^"]+)"', body) == ["gradients", "train-step"]
    assert ">bandwidth</button>" not in body and ">samples/s</button>" in body
    assert "no Python with ONNX Runtime Training was named" in body


def shown(seconds: float) -> str:
    value, unit = (seconds * 1e3, "ms") if seconds >= 1e-3 else (seconds * 1e6, "µs")
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}" if value >= 9.995 else f"{value:.2f} {unit}"


def test_the_page_of_no_results_opens(results, run_ibgraph, tmp_path):
    data = json.loads((results / "results.json").read_text())
    (tmp_path / "none.json").write_text(json.dumps({**data, "cells": []}))
    page = tmp_path / "none.html"
    done = run_ibgraph("report", tmp_path / "none.json", "--format", "html", "-o", page)
    assert done.returncode == 0, done.stderr.decode()
    dom = rendered(page, tmp_path, 800)
    assert "Not complete: 0 of 4 cells were measured." in dom
