"""The network of pytorch-ntm (github.com/loudinthecloud/pytorch-ntm, 3c64937) in plain PyTorch: a peer to train.

Graves et al. 2014 (arXiv 1410.5401) with that library's choices, where they differ from `bench._torch_ntm`: the read
head reads before the write head writes; keys, erase and add vectors are not limited; the first hidden state and cell
are learned, the first reads and the first memory are random and stay as they are, the first weightings are zero.
"""

# pyright: reportMissingImports=false
# PyTorch is a peer to measure against, not a dependency.

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-16  # added to keys, to slots and to the sum that a sharpened weighting is divided by
LOCATIONS = 3  # shifts by -1, 0 and 1


class PublishedNTM(nn.Module):
    """One network with an LSTM controller, a read head and a write head.

    Args:
        input_size: channels in.
        output_size: channels out.
        num_slots: slots of the memory.
        width: numbers in a slot.
        num_units: units of the controller.
    """

    def __init__(self, input_size: int, output_size: int, num_slots: int, width: int, num_units: int):
        super().__init__()
        self.address_fields = [width, 1, 1, LOCATIONS, 1]  # key, strength, gate, shifts, sharpening
        self.write_fields = [sum(self.address_fields), width, width]  # and erase, add
        self.controller = nn.LSTMCell(input_size + width, num_units)
        limit = 5 / math.sqrt(input_size + width + num_units)
        for parameter in self.controller.parameters():
            nn.init.uniform_(parameter, -limit, limit) if parameter.ndim == 2 else nn.init.zeros_(parameter)
        self.first_hidden = nn.Parameter(0.05 * torch.randn(1, num_units))
        self.first_cell = nn.Parameter(0.05 * torch.randn(1, num_units))
        self.read_head = _linear(num_units, sum(self.address_fields), gain=1.4)
        self.write_head = _linear(num_units, sum(self.write_fields), gain=1.4)
        self.output = _linear(num_units + width, output_size, gain=1.0)
        limit = 1 / math.sqrt(num_slots + width)
        self.register_buffer("first_memory", torch.empty(1, num_slots, width).uniform_(-limit, limit))
        self.register_buffer("first_read", 0.01 * torch.randn(1, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [batch, time, input] to logits [batch, time, output]."""
        batch_size = inputs.shape[0]
        hidden, cell = (first.expand(batch_size, -1) for first in (self.first_hidden, self.first_cell))
        memory, read = self.first_memory.expand(batch_size, -1, -1), self.first_read.expand(batch_size, -1)
        read_weighting = write_weighting = inputs.new_zeros(batch_size, memory.shape[1])
        features = []
        for step in inputs.unbind(1):
            hidden, cell = self.controller(torch.cat([step, read], dim=1), (hidden, cell))
            read_weighting = self.weighting(self.read_head(hidden), memory, read_weighting)
            read = (read_weighting[:, None] @ memory)[:, 0]  # eq. 2
            address, erase, add = self.write_head(hidden).split(self.write_fields, dim=1)
            write_weighting = self.weighting(address, memory, write_weighting)
            column = write_weighting[:, :, None]
            memory = memory * (1 - column * torch.sigmoid(erase)[:, None]) + column * add[:, None]  # eq. 3, 4
            features.append(torch.cat([hidden, read], dim=1))
        return self.output(torch.stack(features, dim=1))

    def weighting(self, fields: Tensor, memory: Tensor, previous: Tensor) -> Tensor:
        """The weighting [batch, slot] of a head."""
        key, strength, gate, shifts, sharpening = fields.split(self.address_fields, dim=1)
        cosine = functional.cosine_similarity(memory + EPSILON, key[:, None] + EPSILON, dim=2)  # eq. 6
        content = torch.softmax(functional.softplus(strength) * cosine, dim=1)  # eq. 5
        gate = torch.sigmoid(gate)
        located = gate * content + (1 - gate) * previous  # eq. 7
        around = torch.cat([located[:, -1:], located, located[:, :1]], dim=1).unfold(1, LOCATIONS, 1)
        shifted = (around @ torch.softmax(shifts, dim=1)[:, :, None])[:, :, 0]  # eq. 8
        sharp = shifted ** (1 + functional.softplus(sharpening))
        return sharp / (sharp.sum(1, keepdim=True) + EPSILON)  # eq. 9


def _linear(num_inputs: int, num_outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(num_inputs, num_outputs)
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.normal_(layer.bias, std=0.01)
    return layer
