"""Writes dynamo_plain.onnx: a classifier as the exporter of torch 2.15 writes it before it optimizes (onnxscript
0.7.2, onnx 1.23.2).

Shapes are computed by nodes, and types are matched by CastLike. Run with a Python that has torch and onnxscript.
"""

import onnx
import torch


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.n, self.l = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.GroupNorm(2, 8), torch.nn.Linear(8, 10)

    def forward(self, x):
        x = torch.nn.functional.gelu(self.n(self.c(x)))
        x = torch.nn.functional.layer_norm(x.mean((2, 3)), (8,))
        return self.l(torch.nn.functional.silu(x))


torch.manual_seed(0)
batch = (torch.randn(2, 3, 8, 8),)
torch.onnx.export(Classifier().eval(), batch, dynamo=True, optimize=False, verbose=False).save("dynamo_plain.onnx")
model = onnx.load("dynamo_plain.onnx")
# The exporter notes the paths of source files on the machine.
for part in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]:
    del part.metadata_props[:]
onnx.save(model, "dynamo_plain.onnx")
