"""The CUDA source of every loss, compiled by NVRTC for two architectures, through the library's own loader and cache.

There is no GPU in these tests. `ci/nvrtc --every` sets IBGRAPH_TEST_EVERY, for every loss with every type and size.
"""

import os
import pathlib
import subprocess

import pytest
from conftest import required
from cuda_source import source

ARCHITECTURES = ["80", "90"]
LOSSES = ["ib", "ib-cb", "ib-focal", "cross-entropy", "class-balanced", "focal", "ldam", "ldam-drw"]
LOSSES += ["balanced-softmax", "logit-adjusted"]
TYPES = ["f32", "f64", "f16", "bf16"]
# A warp, a block and a streamed block a row.
CLASSES = [100, 5000, 100_000]
OPTIONS = {
    "ib": ["--runtime-input=enabled,class_weights,alpha,epsilon", "--ignore-index=-100"],
    "cross-entropy": ["--set=label_smoothing=0.1", "--reduction=none", "--outputs=loss,logits_grad,row_loss"],
    "ib-focal": ["--feature-input=norm", "--outputs=loss,logits_grad,features_grad,influence_weight"],
}
EVERY = [(loss, dtype, classes) for loss in LOSSES for dtype in TYPES for classes in CLASSES]
# Each loss, and each type with each size, about once.
SOME = [case for k, case in enumerate(EVERY) if k % 11 == 0 or case[0] == "ib"]


@pytest.fixture(scope="session")
def nvrtc() -> pathlib.Path:
    (library,) = pathlib.Path(required("IBGRAPH_TEST_NVRTC", "NVRTC's directory")).rglob("libnvrtc.so.12")
    return library.parent


def compiled(nvrtc, text: str, cache, *architectures) -> list[list[str]]:
    """Per architecture: its name, the bytes of its code, their start, the milliseconds that it took."""
    program = required("IBGRAPH_TEST_CUDA_COMPILE", "the built example cuda_compile")
    command = [program, nvrtc, cache, *architectures]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return [line.split() for line in done.stdout.decode().splitlines()]


def emitted(emit, loss, dtype="f32", classes=10) -> str:
    balanced = [f"--class-counts={write_counts(emit, classes)}"]
    return source(emit(loss, *balanced, f"--dtype={dtype}", "--lowering=fused", *OPTIONS.get(loss, [])), dtype)


def write_counts(emit, classes):
    path = emit.directory / "counts.csv"
    path.write_text("\n".join(str(1 + k % 100) for k in range(classes)))
    return path


@pytest.mark.parametrize("loss, dtype, classes", EVERY if os.environ.get("IBGRAPH_TEST_EVERY") else SOME)
def test_nvrtc_compiles_it(emit, nvrtc, loss, dtype, classes):
    every = os.environ.get("IBGRAPH_TEST_EVERY")
    one = ARCHITECTURES[EVERY.index((loss, dtype, classes)) % 2 :][:1]
    for code in compiled(nvrtc, emitted(emit, loss, dtype, classes), "-", *(ARCHITECTURES if every else one)):
        assert code[2] == "\\u{7f}ELF" and int(code[1]) > 10_000


def test_a_device_that_nvrtc_does_not_know_gets_ptx_and_an_old_one_an_error(emit, nvrtc):
    text = emitted(emit, "ib")
    (code,) = compiled(nvrtc, text, "-", "999")
    assert code[2].startswith("//")
    with pytest.raises(RuntimeError, match="compute capability 3.5"):
        compiled(nvrtc, text, "-", "35")


def test_nvrtc_does_not_take_what_is_wrong(emit, nvrtc):
    text = emitted(emit, "ib").replace("double s1 =", "double s0 =")
    with pytest.raises(RuntimeError, match="s0"):
        compiled(nvrtc, text, "-", "80")


def test_without_nvrtc_the_error_says_what_to_install(emit, tmp_path):
    with pytest.raises(RuntimeError, match="pip install nvidia-cuda-nvrtc"):
        compiled(tmp_path, emitted(emit, "ib"), "-", "80")


def test_compiled_code_is_kept_and_a_damaged_entry_is_made_again(emit, nvrtc, tmp_path):
    text, cache = emitted(emit, "ib"), tmp_path / "kernels"
    first = compiled(nvrtc, text, cache, "80", "90")
    entries = sorted(cache.iterdir())
    contents = [entry.read_bytes() for entry in entries]
    assert len(entries) == 2
    times = [entry.stat().st_mtime_ns for entry in entries]
    assert [code[:3] for code in compiled(nvrtc, text, cache, "80", "90")] == [code[:3] for code in first]
    assert [entry.stat().st_mtime_ns for entry in entries] == times
    entries[0].write_bytes(contents[0][:-1])
    entries[1].write_bytes(b"")
    assert [code[:3] for code in compiled(nvrtc, text, cache, "80", "90")] == [code[:3] for code in first]
    assert [entry.read_bytes() for entry in entries] == contents
    # Another source has an entry of its own.
    compiled(nvrtc, text + "\n", cache, "80")
    assert len(list(cache.iterdir())) == 3


def test_a_cache_that_cannot_be_written_is_no_error(emit, nvrtc, tmp_path):
    (tmp_path / "file").write_text("no directory")
    (code,) = compiled(nvrtc, emitted(emit, "ib"), tmp_path / "file" / "kernels", "80")
    assert code[2] == "\\u{7f}ELF"
