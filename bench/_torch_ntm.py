"""A plain PyTorch Neural Turing Machine of exact sizes: the peer that `bench.population` measures against.

Equations of Graves et al. 2014 (arXiv 1410.5401) with the choices of `etm_jax.cells`: every head addresses the memory
of the step before, the write heads write, the read heads read what has just been written; sharpening in log space.
"""

# pyright: reportMissingImports=false
# PyTorch is a peer to measure against, not a dependency.

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_MEMORY = 1e-6
INTERFACE_LIMIT = 20.0
NORM_EPSILON = 1e-6
LOG_EPSILON = 1e-12


class TorchNTM(nn.Module):
    """One network with an LSTM controller, and content and location addressing.

    Args:
        input_size: channels in.
        output_size: channels out.
        genes: `num_slots`, `slot_width`, `num_read_heads`, `num_write_heads`, `controller_size`, `shift_range`.
    """

    def __init__(self, input_size: int, output_size: int, genes: dict[str, Any]):
        super().__init__()
        self.num_slots, self.width = genes["num_slots"], genes["slot_width"]
        self.num_reads, self.num_writes = genes["num_read_heads"], genes["num_write_heads"]
        self.shift_range, num_units = genes["shift_range"], genes["controller_size"]
        self.num_heads = self.num_reads + self.num_writes
        num_locations = 2 * self.shift_range + 2  # sharpening, shifts
        self.fields = [self.num_heads * self.width, self.num_heads, self.num_heads, self.num_heads * num_locations]
        self.fields += 2 * [self.num_writes * self.width]
        num_read = self.num_reads * self.width
        self.controller = nn.LSTMCell(input_size + num_read, num_units)
        nn.init.zeros_(self.controller.bias_hh.requires_grad_(False))  # one bias is enough
        self.interface = nn.Linear(num_units, sum(self.fields))
        self.output = nn.Linear(num_units + num_read, output_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [batch, time, input] to logits [batch, time, output]."""
        batch_size = inputs.shape[0]
        hidden = cell = inputs.new_zeros(batch_size, self.controller.hidden_size)
        reads = inputs.new_zeros(batch_size, self.num_reads * self.width)
        memory = inputs.new_full((batch_size, self.num_slots, self.width), INITIAL_MEMORY)
        weightings = inputs.new_zeros(batch_size, self.num_heads, self.num_slots)
        weightings[..., 0] = 1
        features = []
        for step in inputs.unbind(1):
            hidden, cell = self.controller(torch.cat([step, reads], dim=1), (hidden, cell))
            interface = self.interface(hidden).clamp(-INTERFACE_LIMIT, INTERFACE_LIMIT)
            key, strength, gate, location, erase, add = interface.split(self.fields, dim=1)
            weightings = self.address(key, strength, gate, location, memory, weightings)
            memory = self.write(memory, weightings[:, self.num_reads :], erase, add)
            reads = (weightings[:, : self.num_reads] @ memory).flatten(1)  # eq. 2
            features.append(torch.cat([hidden, reads], dim=1))
        return self.output(torch.stack(features, dim=1))

    def address(
        self, key: Tensor, strength: Tensor, gate: Tensor, location: Tensor, memory: Tensor, previous: Tensor
    ) -> Tensor:
        """The weightings [batch, head, slot] of all heads."""
        key = key.unflatten(1, (self.num_heads, self.width))
        sharpening, shift = location.unflatten(1, (self.num_heads, -1)).split([1, 2 * self.shift_range + 1], dim=2)
        key = key / (key.square().sum(2, keepdim=True) + NORM_EPSILON).sqrt()
        slots = memory / (memory.square().sum(2, keepdim=True) + NORM_EPSILON).sqrt()
        cosine = key @ slots.transpose(1, 2)  # eq. 6
        content = torch.softmax(functional.softplus(strength)[..., None] * cosine, dim=2)  # eq. 5
        gate, shift = torch.sigmoid(gate)[..., None], torch.softmax(shift, dim=2)
        located = gate * content + (1 - gate) * previous  # eq. 7
        shifted = shift[..., self.shift_range, None] * located
        for distance in (d for d in range(-self.shift_range, self.shift_range + 1) if d):
            weight = shift[..., self.shift_range + distance, None]
            shifted = shifted + weight * torch.roll(located, distance, dims=2)  # eq. 8
        power = 1 + functional.softplus(sharpening)
        return torch.softmax(power * torch.log(shifted + LOG_EPSILON), dim=2)  # eq. 9

    def write(self, memory: Tensor, weightings: Tensor, erase: Tensor, add: Tensor) -> Tensor:
        """The memory [batch, slot, width] after every write head has erased and added."""
        erase = torch.sigmoid(erase).unflatten(1, (self.num_writes, self.width))
        for head in range(self.num_writes):
            memory = memory * (1 - weightings[:, head, :, None] * erase[:, head, None])  # eq. 3
        return torch.baddbmm(
            memory, weightings.transpose(1, 2), add.unflatten(1, (self.num_writes, self.width))
        )  # eq. 4

    def load(self, params: dict[str, dict[str, np.ndarray]]) -> None:
        """Take over the weights of a compact etm_jax network."""
        controller, heads, write, output = (params[name] for name in ("controller", "heads", "write", "output"))
        num_units = self.controller.hidden_size
        with torch.no_grad():
            _copy(self.controller.weight_ih, _rows(controller, ("input_kernel", "read_kernel"), 4 * num_units).T)
            _copy(self.controller.weight_hh, _rows(controller, ("recurrent_kernel",), 4 * num_units).T)
            _copy(self.controller.bias_ih, controller["bias"].reshape(-1))
            emitted = [heads[name] for name in ("key_kernel", "strength_kernel", "gate_kernel", "location_kernel")]
            emitted += [write[name] for name in ("erase_kernel", "add_kernel")]
            _copy(self.interface.weight, np.concatenate([array.reshape(num_units, -1) for array in emitted], axis=1).T)
            biases = [heads[name] for name in ("key_bias", "strength_bias", "gate_bias", "location_bias")]
            biases += [write[name] for name in ("erase_bias", "add_bias")]
            _copy(self.interface.bias, np.concatenate([array.reshape(-1) for array in biases]))
            _copy(self.output.weight, _rows(output, ("controller_kernel", "read_kernel"), output["bias"].size).T)
            _copy(self.output.bias, output["bias"])


def _rows(block: dict[str, np.ndarray], names: tuple[str, ...], columns: int) -> np.ndarray:
    return np.concatenate([block[name].reshape(-1, columns) for name in names])


def _copy(parameter: Tensor, array: np.ndarray) -> None:
    parameter.copy_(torch.tensor(array))
