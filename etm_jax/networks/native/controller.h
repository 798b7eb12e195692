// Controllers: the units of the next step from the sums at every gate, as in etm_jax/cells/_gated.py, and back.
#pragma once
#include "layout.h"

namespace etm {

// sums [gate][unit], which become the values of the gates; `cell` and `hidden` of the step before and after.
static void update_units(const Sizes& z, V* sums, const V* hidden, const V* cell, V* next_hidden, V* next_cell) {
  const int units = z.units;
  const V one = splat(1.f);
  for (int u = 0; u < units; u++) {
    if (z.controller == LSTM) {  // c = f c + i tanh(g), h = o tanh(c)
      const V in = sigmoid(sums[u]), forget = sigmoid(sums[units + u]), out = sigmoid(sums[3 * units + u]);
      const V candidate = hyperbolic(sums[2 * units + u]), now = forget * cell[u] + in * candidate;
      sums[u] = in, sums[units + u] = forget, sums[2 * units + u] = candidate, sums[3 * units + u] = out;
      next_cell[u] = now, next_hidden[u] = out * hyperbolic(now);
    } else if (z.controller == GRU) {  // n = tanh(W x + r U h), h = (1 - z) n + z h
      const V reset = sigmoid(sums[u]), keep = sigmoid(sums[units + u]);
      const V candidate = hyperbolic(sums[2 * units + u] + reset * sums[3 * units + u]);
      sums[u] = reset, sums[units + u] = keep, sums[2 * units + u] = candidate;
      next_hidden[u] = (one - keep) * candidate + keep * hidden[u];
    } else {  // h = tanh(W x + U h)
      sums[u] = next_hidden[u] = hyperbolic(sums[u]);
    }
  }
}

// gates: what `update_units` left. d_carried: of an LSTM's cells after the step, which becomes that of those before; of
// a GRU out: of the units before, by the gate that keeps them.
static void update_units_back(const Sizes& z, const V* gates, const V* hidden, const V* cell, const V* next_cell,
                              const V* d_hidden, V* d_carried, V* d_sums) {
  const int units = z.units;
  const V one = splat(1.f);
  for (int u = 0; u < units; u++) {
    const V d = d_hidden[u];
    if (z.controller == LSTM) {
      const V in = gates[u], forget = gates[units + u], candidate = gates[2 * units + u], out = gates[3 * units + u];
      const V squashed = hyperbolic(next_cell[u]);
      const V d_cell = d_carried[u] + d * out * (one - squashed * squashed);
      d_sums[u] = d_cell * candidate * in * (one - in);
      d_sums[units + u] = d_cell * cell[u] * forget * (one - forget);
      d_sums[2 * units + u] = d_cell * in * (one - candidate * candidate);
      d_sums[3 * units + u] = d * squashed * out * (one - out);
      d_carried[u] = d_cell * forget;
    } else if (z.controller == GRU) {
      const V reset = gates[u], keep = gates[units + u], candidate = gates[2 * units + u];
      const V d_candidate = d * (one - keep) * (one - candidate * candidate);
      d_sums[u] = d_candidate * gates[3 * units + u] * reset * (one - reset);
      d_sums[units + u] = d * (hidden[u] - candidate) * keep * (one - keep);
      d_sums[2 * units + u] = d_candidate;
      d_sums[3 * units + u] = d_candidate * reset;
      d_carried[u] = d * keep;
    } else {
      d_sums[u] = d * (one - gates[u] * gates[u]);
    }
  }
}

}  // namespace etm
