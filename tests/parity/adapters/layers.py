"""The layers on which our steps are held to peft's, and one step: what comes out, and every gradient."""

import torch
from torch import nn

LAYERS = {
    "linear": lambda: nn.Linear(24, 40),
    "linear without bias": lambda: nn.Linear(24, 40, bias=False),
    "convolution": lambda: nn.Conv2d(12, 20, 3, padding=1, stride=2),
    "pointwise": lambda: nn.Conv2d(12, 20, 1, bias=False),
}


def step(model, x):
    torch.manual_seed(3)  # peft's dropout draws from the global generator
    y = model(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    grads = {name: param.grad for name, param in model.named_parameters() if param.requires_grad}
    return {"output": y.detach(), "input": x.grad, **grads}
