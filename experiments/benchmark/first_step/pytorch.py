"""PyTorch."""

import time

import torch
from torch import nn

inputs, targets = torch.rand(128, 784), torch.randint(10, (128,))

model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
nn.functional.cross_entropy(model(inputs), targets).backward()
optimizer.step()

print(time.time())
