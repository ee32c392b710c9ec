"""Cross entropy against the Influence-Balanced loss on long-tailed digits, over several seeds.

    python compare.py [--seeds 5] [--epochs 40] [--ratio 30] [--ibgraph PATH] [--directory DIR]

For each seed: a split, random weights, and the same number of epochs with the same optimizer for every loss. The
Influence-Balanced loss follows the paper: plain cross entropy for the first half of the epochs, then the loss with
weights inverse to the number of samples. Prints a table of accuracies and writes results.json.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

GRAFT = "graft classifier.onnx {loss} --emit train-step --optimizer adamw -o step.onnx"
TRAIN = "train step.onnx --data train.npz --validation test.npz -o trained.npz --json run.json --batch 32 --lr 1e-3"
LOSSES = {
    "cross entropy": ("cross-entropy", ""),
    "cross entropy, weighted in 2nd half": (
        "cross-entropy --runtime-input class_weights",
        "--class-weights inverse --first-phase {half}",
    ),
    "IB in 2nd half": (
        "ib --runtime-input enabled,class_weights",
        "--class-weights inverse --first-phase {half}",
    ),
    "IB from the start": ("ib --runtime-input class_weights", "--class-weights inverse"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--ratio", type=float, default=30.0)
    parser.add_argument("--ibgraph", default="ibgraph")
    parser.add_argument("--directory", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = compare(args, args.directory or pathlib.Path(temporary))
    pathlib.Path("results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{'':36}{'all classes':>16}{'head (0-2)':>12}{'middle (3-6)':>14}{'tail (7-9)':>12}")
    for name, runs in results.items():
        runs = 100 * np.array(runs)
        all_classes = runs.mean(1)
        parts = [runs[:, part].mean() for part in (slice(0, 3), slice(3, 7), slice(7, 10))]
        spread = all_classes.std(ddof=1) if len(runs) > 1 else float("nan")
        print(f"{name:36}{all_classes.mean():8.1f} ± {spread:4.1f} {parts[0]:12.1f}{parts[1]:14.1f}{parts[2]:12.1f}")


def compare(args, directory):
    """The accuracy of each class after the last epoch: by loss, a list of one list a seed."""

    def run(words):
        subprocess.run([str(word) for word in words], cwd=directory, check=True, stdout=subprocess.DEVNULL)

    results = {name: [] for name in LOSSES}
    prepare = pathlib.Path(__file__).with_name("prepare.py").resolve()
    for seed in range(args.seeds):
        run([sys.executable, prepare, directory, "--seed", seed, "--ratio", args.ratio])
        for name, (loss, phases) in LOSSES.items():
            run([args.ibgraph, *GRAFT.format(loss=loss).split()])
            phases = phases.format(half=args.epochs // 2).split()
            run([args.ibgraph, *TRAIN.split(), "--epochs", args.epochs, "--seed", seed, *phases])
            last = json.loads((directory / "run.json").read_text())["epochs"][-1]
            results[name].append([found["correct"] / found["samples"] for found in last["classes"]])
            print(f"seed {seed}: {name}: {100 * last['accuracy']:.1f} %", flush=True)
    return results


if __name__ == "__main__":
    main()
