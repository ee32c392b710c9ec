"""Data-parallel training: gradients on every process, averaged with MPI, and the same update everywhere.

    mpiexec -n 2 python data_parallel.py --data train.npz --steps 10 --lr 0.05 -o trained.npz

Needs mpi4py with an MPI (`pip install mpi4py mpich`), onnxruntime and numpy; and in this directory gradients.onnx and
apply.onnx (`ibgraph graft --emit gradients`, `--emit apply`) with their initial values (`ibgraph init`). Every process
takes its share of each joint batch. The loss must be a mean over rows; batch statistics are each process's own.
"""

import argparse
import json

import numpy as np
import onnxruntime as ort
from mpi4py import MPI


def opened(path):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["ibgraph.train"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32, help="samples of a joint batch")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    world = MPI.COMM_WORLD

    backward, about = opened("gradients.onnx")
    update, recipe = opened("apply.onnx")
    gradients = {output["of"]: output["name"] for output in about["outputs"] if output["role"] == "gradient"}
    statistics = {value["name"]: value["next"] for value in about["carried"] if value["role"] == "statistic"}
    carried = {value["name"]: value["next"] for value in recipe["carried"]}
    with np.load("parameters.npz") as parameters, np.load("state.npz") as state:
        own = {value["name"]: parameters[value["name"]] for value in about["carried"]}
        values = {name: state[name] if name in state.files else own[name] for name in carried}
    with np.load(args.data) as archive:
        samples = {item["name"]: archive[item["name"]] for item in about["inputs"]}
    counts_steps = any(item["role"] == "step" for item in recipe["inputs"])

    count = len(samples["labels"])
    random = np.random.default_rng(0)
    for step in range(1, args.steps + 1):
        joint = random.permutation(count)[: args.batch]
        rows = joint[world.rank :: world.size]
        feed = {name: array[rows] for name, array in samples.items()}
        feed |= {name: values.get(name, own[name]) for name in own}
        loss, *found = backward.run(["loss", *gradients.values(), *statistics.values()], feed)
        own |= dict(zip(statistics, found[len(gradients) :]))
        # The mean over the joint batch: each process's mean, weighted by its share of the rows.
        share = np.float32(len(rows) / len(joint))
        feed = {"learning_rate": np.array(args.lr, np.float32)}
        if counts_steps:
            feed["step"] = np.array(step)
        for name, gradient in zip(gradients.values(), found):
            feed[name] = np.ascontiguousarray(gradient * share)
            world.Allreduce(MPI.IN_PLACE, feed[name], op=MPI.SUM)
        loss = world.allreduce(float(loss) * float(share))
        values = dict(zip(carried, update.run(list(carried.values()), feed | values)))
        if world.rank == 0:
            print(f"step {step}: loss {loss:.4f}")
    if world.rank == 0:
        np.savez(args.output, **{**own, **values})


if __name__ == "__main__":
    main()
