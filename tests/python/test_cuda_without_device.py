"""The way of the operator on CUDA from a node to its launches, without a device: ONNX Runtime, the operator library and NVRTC
are real, the driver is `fake_cuda/driver.cpp`, which runs NVRTC's PTX on the host. The provider is the CPU's, which
`ops/examples/cuda_on_cpu.rs` gives the kernel to.

What a device does with the code that ptxas makes of the PTX, and how fast, is not in these tests.
"""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnx
import oracle
import pytest
from conftest import required
from oracle import assert_close

HERE = pathlib.Path(__file__).parent
# Of fused_on_gpu.py: vectors, every shape of rows and type, edges.
ON_GPU = "ib_6x1000x512 or balanced_softmax or ldam or f32-size0 or f64-size1 or f16-size1 or bf16-size2 or f32-size3"
ON_GPU += " or (ignored and size1) or empty or switches"
N, C, D = 9, 100, 65
# A device that NVRTC does not know yet gets PTX, which the fake runs.
PTX = "12,130,232448,1"


class Fake:
    def __init__(self, directory: pathlib.Path):
        self.log = directory / "log"
        self.built = directory / "built"
        self.built.mkdir()
        flags = ["-std=c++20", "-O1", "-shared", "-fPIC"]
        library = directory / "libcuda.so.1"
        subprocess.run(["c++", *flags, "-o", library, HERE / "fake_cuda" / "driver.cpp"], check=True, timeout=120)
        (nvrtc,) = pathlib.Path(required("IBGRAPH_TEST_NVRTC", "NVRTC's directory")).rglob("libnvrtc.so.12")
        self.libraries = [directory, nvrtc.parent]

    def run(self, *command, libraries=None, **variables) -> str:
        """What a process prints that has the fake driver."""
        shim = required("IBGRAPH_TEST_CUDA_ON_CPU", "the built example cuda_on_cpu")
        paths = self.libraries if libraries is None else libraries
        environment = {
            "LD_LIBRARY_PATH": ":".join(map(str, paths)),
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "IBGRAPH_OPS": shim,
            "IBGRAPH_OPS_ON_CPU": required("IBGRAPH_OPS", "the built operator library"),
            "IBGRAPH_TEST_PROVIDER": "CPUExecutionProvider",
            "IBGRAPH_CACHE": str(self.built),
            "FAKE_CUDA_LOG": str(self.log),
            "FAKE_CUDA_TOOLS": str(HERE / "fake_cuda"),
            "FAKE_CUDA_BUILT": str(self.built),
            "FAKE_CUDA_DEVICE": PTX,
        }
        self.log.write_text("")
        command = [sys.executable, *map(str, command)]
        done = subprocess.run(command, env=os.environ | environment | variables, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def lines(self) -> list[str]:
        """What the driver was called for. It found nothing wrong, and got back what it gave."""
        lines = self.log.read_text().splitlines()
        assert not [line for line in lines if line.startswith("wrong")]
        taken, given = ([line.split()[k] for line in lines if line.startswith(w)] for w, k in (("take", 1), ("give", 2)))
        assert sorted(taken) == sorted(given) and lines[-1] == "end"
        return lines[:-1]


@pytest.fixture(scope="session")
def fake(tmp_path_factory) -> Fake:
    return Fake(tmp_path_factory.mktemp("fake"))


@pytest.fixture
def sessions(fake, tmp_path):
    def sessions(model, feeds, sessions=1, runs=1, threads=1, **variables) -> tuple[str, dict[str, np.ndarray]]:
        """What sessions print, and what the last run gives; see fake_cuda/session.py."""
        given, results = tmp_path / "feeds.npz", tmp_path / "results.npz"
        results.unlink(missing_ok=True)
        np.savez(given, **feeds)
        printed = fake.run(HERE / "fake_cuda" / "session.py", model, given, results, sessions, runs, threads, **variables)
        return printed, dict(np.load(results)) if results.exists() else {}

    return sessions


def batch(n=N, d=D):
    random = np.random.default_rng(3)
    logits, features = (random.normal(0, 3, (n, k)).astype(np.float32) for k in (C, d))
    return {"logits": logits, "labels": random.integers(0, C, n), "features": features}


@pytest.fixture
def model(emit):
    return emit("ib", f"--classes={C}", "--ignore-index=-100", "--lowering=fused")


def assert_right(results, feeds):
    want = oracle.reduced(oracle.rows(*(feeds[k] for k in ("logits", "labels", "features"))), len(feeds["labels"]))
    for name, value in results.items():
        assert_close(value, want[name])


def test_what_is_tested_on_a_gpu_holds_for_the_code_that_nvrtc_makes(fake):
    printed = fake.run("-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / "fused_on_gpu.py", "-k", ON_GPU)
    assert re.search(r"^\d\d passed", printed, re.M), printed
    lines = fake.lines()
    assert any("blocks of 1024, 228352 bytes" in line for line in lines)


def test_a_run_takes_memory_launches_and_gives_back(fake, sessions, model):
    feeds = batch()
    printed, results = sessions(model, feeds)
    assert not printed
    assert_right(results, feeds)
    # Two numbers, and a share a block.
    assert fake.lines() == [
        "context of device 0",
        "pool of device 0",
        "module of device 0, PTX",
        "take 40 bytes of device 0",
        "launch batch on device 0: 1 blocks of 1024, 0 bytes",
        "launch rows on device 0: 3 blocks of 128, 0 bytes",
        "launch total on device 0: 1 blocks of 1024, 0 bytes",
        "give back 40 bytes",
    ]


def test_sessions_share_what_is_made_once_and_threads_share_no_memory(fake, sessions, model):
    """Though ONNX Runtime closes the library between sessions that follow one another."""
    feeds = batch()
    printed, results = sessions(model, feeds, 2, 3, 3)
    assert not printed
    assert_right(results, feeds)
    lines = fake.lines()
    assert [line.split()[0] for line in lines[:3]] == ["context", "pool", "module"]
    assert sum(line.startswith(("context", "pool", "module")) for line in lines) == 3
    assert sum(line.startswith("launch rows") for line in lines) == 18


def test_the_device_is_the_providers(fake, sessions, model):
    printed, results = sessions(model, batch(), CUDA_ON_CPU_DEVICE="1")
    assert not printed and results
    assert all(line.startswith("give") or "device 1" in line for line in fake.lines())
    printed, results = sessions(model, batch(), CUDA_ON_CPU_DEVICE="7")
    assert "cuDeviceGet" in printed and not results


# What the first session or run fails at; the next one does not.
FAILURES = ["cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuMemPoolCreate", "cuMemPoolSetAttribute"]
FAILURES += ["cuCtxPushCurrent_v2", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute"]


@pytest.mark.parametrize("name", FAILURES)
def test_a_session_that_the_driver_fails_says_so_and_the_next_is_made(fake, sessions, model, name):
    feeds = batch()
    printed, results = sessions(model, feeds, 2, FAKE_CUDA_FAIL=f"{name}=2@1")
    assert printed.count("\n") == 1 and f"({name.removesuffix('_v2')}): CUDA_ERROR_2" in printed
    assert_right(results, feeds)
    fake.lines()


# Of which each run has three or one.
@pytest.mark.parametrize("name", ["cuMemAllocFromPoolAsync=2@2", "cuLaunchKernel=700@4", "cuLaunchKernel=700@5", "cuLaunchKernel=700@6"])
def test_a_run_that_the_driver_fails_says_so_gives_back_and_the_next_is_right(fake, sessions, model, name):
    feeds = batch()
    printed, results = sessions(model, feeds, 1, 3, FAKE_CUDA_FAIL=name)
    function, code = name.split("@")[0].split("=")
    assert printed.count("\n") == 1 and f"({function}): CUDA_ERROR_{code}" in printed
    assert_right(results, feeds)
    fake.lines()


def test_what_is_missing_is_an_error_that_says_what_to_install(fake, sessions, model):
    directory, nvrtc = fake.libraries
    for variables, words in [
        ({"libraries": [nvrtc]}, "install the driver"),
        ({"libraries": [directory]}, "`pip install nvidia-cuda-nvrtc-cu12`"),
        ({"FAKE_CUDA_DEVICE": "11,80,166912,1"}, "is for CUDA 11"),
        ({"FAKE_CUDA_FAIL": "cuInit=100"}, "(cuInit): CUDA_ERROR_100"),
        ({"FAKE_CUDA_DEVICE": "12,90,232448,0"}, "memory pools"),
        ({"FAKE_CUDA_DEVICE": "12,35,49152,1"}, "compute capability 3.5"),
    ]:
        printed, results = sessions(model, batch(), 2, **variables)
        assert printed.count(words) == 2 and not results, printed


@pytest.mark.parametrize("capability, shared, cached", [(80, 166912, 162816), (86, 101376, 97280), (90, 232448, 228352)])
def test_a_device_gets_its_code_and_no_more_shared_memory_than_it_has(fake, sessions, emit, capability, shared, cached):
    model = emit("cross-entropy", "--classes=100003", "--outputs=loss,logits_grad", "--lowering=fused")
    feeds = {"logits": np.zeros((2, 100_003), np.float32), "labels": np.arange(2)}
    printed, _ = sessions(model, feeds, FAKE_CUDA_DEVICE=f"12,{capability},{shared},1")
    assert not printed
    assert "module of device 0, code" in fake.lines()
    assert f"launch rows on device 0: 2 blocks of 1024, {cached} bytes" in fake.lines()


def test_rows_and_features_that_there_are_none_of(fake, sessions, model):
    printed, results = sessions(model, batch(n=0))
    assert not printed and np.isnan(results["loss"]) and results["logits_grad"].shape == (0, C)
    assert not [line for line in fake.lines() if line.startswith("launch rows")]
    feeds = batch(d=0)
    printed, results = sessions(model, feeds)
    assert not printed
    assert_right(results, feeds)


def test_outputs_that_no_one_asks_for_are_not_written(fake, sessions, model, tmp_path):
    whole, feeds = onnx.load(model), batch()
    for kept in range(3):
        some = onnx.ModelProto.FromString(whole.SerializeToString())
        (node,) = some.graph.node
        name = node.output[kept]
        node.output[:] = [output if output == name else "" for output in node.output]
        del some.graph.output[:]
        some.graph.output.extend(output for output in whole.graph.output if output.name == name)
        onnx.save(some, tmp_path / "some.onnx")
        printed, results = sessions(tmp_path / "some.onnx", feeds)
        assert not printed and list(results) == [name]
        assert_right(results, feeds)
    fake.lines()


def test_vectors_are_written_whole(fake, sessions, emit):
    """Left to itself, NVRTC stores 16-bit elements one or two at a time."""
    feeds = {k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in batch().items()}
    feeds["logits"] = np.tile(feeds["logits"], 10)
    printed, results = sessions(emit("ib", "--classes=1000", "--dtype=f16", "--lowering=fused"), feeds)
    assert not printed and results
    ptx = max(fake.built.glob("*.ptx"), key=lambda path: path.stat().st_mtime_ns).read_text()
    # Four of logits, two of features, and those of features beyond.
    assert len(re.findall(r"st\.global\.wb\.v4\.u32", ptx)) >= 7 and "st.global.v2" not in ptx
