// The backward pass of a block, and the weights' gradients after each segment of its steps.
#pragma once
#include "forward.h"

namespace etm {

// Cotangents and gradients of one block of one individual.
struct Back {
  Track gates, fields, outputs;              // cotangents of the products' results, of every step of a segment
  Track memories;                             // those that the trace leaves out, of MEMORIES_APART - 1 steps
  float *source, *cell, *memory, *weighting;  // of the state after the step that is being taken back
  int64_t source_half, cell_half, memory_half, weighting_half;
  V *d_score, *shrink, *nothing, *d_keys, *d_erase, *d_add, *d_key_norm, *products;
  float *gate_kernel, *field_kernel, *output_kernel, *gate_bias, *field_bias, *output_bias;  // gradients
  float *x_panels, *g_panels;
  Scratch scratch;

  void take(Arena& a, const Sizes& z, int steps) {
    auto track = [&](Track& x, int64_t rows) {
      x.step = rows * BLOCK;
      if (x.step % (EVERY / 2) == 0) x.step += APART;
      x.start = a.take(x.step * steps);
    };
    track(gates, round_up(z.sums, PANEL));
    track(fields, round_up(z.fields, PANEL));
    track(outputs, round_up(z.outputs, PANEL));
    source_half = int64_t(z.rows + PANEL) * LANES, cell_half = int64_t(z.units) * LANES;
    memory_half = int64_t(z.slots) * z.width * LANES, weighting_half = int64_t(z.heads) * z.slots * LANES;
    memories.half = memory_half, memories.step = memory_half * HALVES;
    memories.start = a.take(memories.step * (MEMORIES_APART - 1));
    source = a.take(source_half * HALVES), cell = a.take(cell_half * HALVES);
    memory = a.take(memory_half * HALVES), weighting = a.take(weighting_half * HALVES);
    d_score = a.vectors(int64_t(z.heads) * z.slots), shrink = a.vectors(z.slots), nothing = a.vectors(z.slots);
    d_keys = a.vectors(int64_t(z.heads) * z.width), d_key_norm = a.vectors(z.heads);
    d_erase = a.vectors(int64_t(z.writes) * z.width), d_add = a.vectors(int64_t(z.writes) * z.width);
    products = a.vectors(2 * z.writes);
    x_panels = a.take(source_panels(z.sources > z.out_sources ? z.sources : z.out_sources));
    g_panels = a.take(target_panels());
    scratch.take(a, z);
  }
  // Before the first block of an individual. Gradients are placed as its live weights, and are 0.
  void start(const Sizes& z, float* gradients) {
    const Live at = live_of(z);
    gate_kernel = gradients + at.gates, gate_bias = gradients + at.gate_bias;
    field_kernel = gradients + at.fields, field_bias = gradients + at.field_bias;
    output_kernel = gradients + at.outputs, output_bias = gradients + at.output_bias;
    memset(nothing, 0, z.slots * sizeof(V));
  }
  // Before each block: nothing follows the last step.
  void start_block() {
    memset(source, 0, source_half * HALVES * 4), memset(cell, 0, cell_half * HALVES * 4);
    memset(memory, 0, memory_half * HALVES * 4), memset(weighting, 0, weighting_half * HALVES * 4);
  }
};

// The memory before step t: of those that the trace leaves out, what `write_again` wrote.
static const V* memory_at(const Trace& x, const Back& b, int t, int half) {
  return t % MEMORIES_APART ? b.memories.at(t % MEMORIES_APART - 1, half) : x.memory.at(t, half);
}
// The memories before step t back to the last one that the trace has.
static void write_again(const Sizes& z, const Trace& x, Back& b, int t, int half) {
  for (int from = t - t % MEMORIES_APART; from < t; from++) {
    b.scratch.prepare(z, x.fields.at(from, half));
    const V* weighting = x.weighting.at(from + 1, half) + int64_t(z.reads) * z.slots;
    write_then_read({z.slots, z.width}, {0, z.writes, weighting, b.scratch.erase, b.scratch.add},
                    memory_at(x, b, from, half), b.memories.at(from % MEMORIES_APART, half), nullptr, b.shrink);
  }
}

// The memory's step t taken back: from cotangents of what was read, the memory and the weightings, to those of the
// fields and of the state before.
static void memory_back(const Sizes& z, const Trace& x, Back& b, int t, int half) {
  const Cells cells{z.slots, z.width};
  const V* before = memory_at(x, b, t, half);
  const V *fields = x.fields.at(t, half), *inverse_norm = x.inverse_norm.at(t, half);
  V *d_fields = b.fields.at(t, half), *d_memory = (V*)(b.memory + half * b.memory_half);
  V* d_weighting = (V*)(b.weighting + half * b.weighting_half);
  Scratch& scratch = b.scratch;
  scratch.prepare(z, fields);
  const Writing writing{z.reads, z.writes, x.weighting.at(t + 1, half), scratch.erase, scratch.add};
  const V* d_read = (V*)(b.source + half * b.source_half) + z.inputs;
  write_then_read_back(cells, writing, before, {d_memory, d_read, d_weighting, b.d_erase, b.d_add, b.products});
  for (int n = 0; n < z.slots; n++) b.shrink[n] = splat(0.f);
  for (int h = 0; h < z.heads; h++) {
    const int64_t from = int64_t(h) * z.slots;
    address_back(z, h, fields, scratch.keys + h * z.width, focus_of(z, x, t, half, h),
                 {d_weighting + from, b.d_score + from, b.shrink, inverse_norm, d_fields, b.d_key_norm + h},
                 scratch.room);
  }
  if (z.content) {
    for (int n = 0; n < z.slots; n++) b.shrink[n] *= inverse_norm[n] * inverse_norm[n];
    compare_back(cells, z.heads, before, d_memory, scratch.keys, b.d_score, b.shrink, b.nothing,
                 b.d_keys);
    for (int h = 0; h < z.heads; h++)
      for (int i = h * z.width; i < (h + 1) * z.width; i++)
        d_fields[z.key + i] = through_clip(fields[z.key + i], b.d_keys[i] + b.d_key_norm[h] * scratch.keys[i]);
  }
  for (int i = 0; i < z.writes * z.width; i++) {
    const V erase = scratch.erase[i];
    if (z.erases)
      d_fields[z.erase + i] = through_clip(fields[z.erase + i], b.d_erase[i] * erase * (splat(1.f) - erase));
    d_fields[z.add + i] = through_clip(fields[z.add + i], b.d_add[i]);
  }
}

// `count` steps from `first`, which the trace has as step 0, from the last to the first.
static void backward(const Sizes& z, const Packed& p, const Episodes& e, const float* d_outputs, float* d_inputs,
                     int64_t first, int count, const Trace& x, Back& b) {
  b.gates.half = round_up(z.sums, PANEL) * LANES;
  b.fields.half = round_up(z.fields, PANEL) * LANES;
  b.outputs.half = round_up(z.outputs, PANEL) * LANES;
  const int from_reads = z.inputs * LANES, from_units = z.hidden_row * LANES;
  for (int t = count - 1; t >= 0; t--) {
    const int64_t step = first + t;
    float* d_out = b.outputs.floats(t);
    memset(d_out, 0, b.outputs.half * e.halves * 4);
    for (int lane = 0; lane < e.lanes; lane++)
      for (int o = 0; o < z.outputs; o++)
        d_out[lane / LANES * b.outputs.half + o * LANES + lane % LANES] =
            d_outputs[(lane * e.steps + step) * z.outputs + o];
    product<true>(e.halves, p.outputs_back, z.outputs, z.out_sources, d_out, b.outputs.half, nullptr,
                  b.source + from_reads, b.source_half);
    if (z.heads) {
      for (int half = 0; half < e.halves; half++) {
        if (t == count - 1 || t % MEMORIES_APART == MEMORIES_APART - 1) write_again(z, x, b, t, half);
        memory_back(z, x, b, t, half);
      }
      product<true>(e.halves, p.fields_back, z.fields, z.units, b.fields.floats(t), b.fields.half, nullptr,
                    b.source + from_units, b.source_half);
    }
    for (int half = 0; half < e.halves; half++)
      update_units_back(z, x.gates.at(t, half), x.source.at(t, half) + z.hidden_row, x.cell.at(t, half),
                        x.cell.at(t + 1, half), (V*)(b.source + half * b.source_half) + z.hidden_row,
                        (V*)(b.cell + half * b.cell_half), b.gates.at(t, half));
    product<false>(e.halves, p.gates_back, z.sums, z.sources, b.gates.floats(t), b.gates.half, nullptr, b.source,
                   b.source_half);
    for (int half = 0; half < e.halves; half++) {
      V* d_hidden = (V*)(b.source + half * b.source_half) + z.hidden_row;
      const V* kept = (V*)(b.cell + half * b.cell_half);
      if (z.controller == GRU)
        for (int u = 0; u < z.units; u++) d_hidden[u] += kept[u];
      if (z.controller == FEEDFORWARD)
        for (int u = 0; u < z.units; u++) d_hidden[u] = splat(0.f);
    }
    for (int lane = 0; lane < e.lanes; lane++)
      for (int d = 0; d < z.inputs; d++)
        d_inputs[(lane * e.steps + step) * z.inputs + d] =
            b.source[lane / LANES * b.source_half + d * LANES + lane % LANES];
  }
  const Track &source = x.source, &g = b.gates, &f = b.fields, &o = b.outputs;
  const float* after = source.floats(1);
  weight_gradient(count, e.halves, z.sources, z.sums, source.floats(0), source.step, source.half, g.start, g.step,
                  g.half, b.gate_kernel, b.gate_bias, b.x_panels, b.g_panels);
  weight_gradient(count, e.halves, z.units, z.fields, after + from_units, source.step, source.half, f.start, f.step,
                  f.half, b.field_kernel, b.field_bias, b.x_panels, b.g_panels);
  weight_gradient(count, e.halves, z.out_sources, z.outputs, after + from_reads, source.step, source.half, o.start,
                  o.step, o.half, b.output_kernel, b.output_bias, b.x_panels, b.g_panels);
}

}  // namespace etm
