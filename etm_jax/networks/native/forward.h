// What a block of episodes leaves behind step by step, and its forward pass.
#pragma once
#include "addressing.h"
#include "controller.h"
#include "memory.h"
#include "products.h"

namespace etm {

// One array of each step, [half][row] of vectors. Of a state there is one more step: the state before the first.
struct Track {
  float* start = nullptr;
  int64_t half = 0, step = 0;  // floats
  int wrap = 0;                // steps after which storage is used again; 0 for never
  int every = 1;               // with more than 1 only each so many steps stay, the latest of the others at `latest`
  int latest = 0;

  V* at(int t, int which_half) const {
    const int place = wrap ? t % wrap : t % every ? latest : t / every;
    return (V*)(start + step * place + half * which_half);
  }
  float* floats(int t) const { return (float*)at(t, 0); }
};

constexpr int64_t EVERY = 1024, APART = 48;  // strides of whole pages would fall on the same lines of the cache

// Of the memories only each so many stay: writing those between again takes less time than fetching them.
constexpr int MEMORIES_APART = 4;

struct Trace {
  Track source, cell, weighting, inverse_norm, memory;  // states
  Track gates, fields, score, content, logarithm;       // of the steps
  static constexpr int STATES = 5;

  Track* states() { return &source; }

  // Place everything from `base`; without one it only counts. Returns floats. Never more than `bound` of larger sizes.
  int64_t place(const Sizes& z, int halves, int steps, bool keep, float* base, bool bound = false) {
    int64_t used = 0;
    auto track = [&](Track& x, int64_t rows, bool state, bool in_place = false) {
      x.half = rows * LANES;
      x.step = rows * LANES * halves;
      if (bound) x.step += APART;
      else if (x.step % (EVERY / 2) == 0) x.step += APART;
      x.wrap = keep ? 0 : state && !in_place ? 2 : 1;
      x.every = keep && in_place ? MEMORIES_APART : 1;
      x.latest = steps / x.every + 1;
      x.start = base ? base + used : nullptr;
      const int64_t count = x.wrap ? x.wrap : x.every > 1 ? x.latest + 1 : steps + state;
      used += round_up(x.step * count, 16);
    };
    const int64_t focus = int64_t(z.heads) * z.slots;
    track(source, z.rows + PANEL, true);  // products write whole panels
    track(cell, z.controller == LSTM ? z.units : 0, true);
    track(weighting, focus, true);
    track(inverse_norm, z.slots, true);
    track(memory, int64_t(z.slots) * z.width, true, true);
    track(gates, round_up(z.sums, PANEL), false);
    track(fields, round_up(z.fields, PANEL), false);
    track(score, z.content ? focus : 0, false);
    track(content, z.content && z.located ? focus : 0, false);
    track(logarithm, z.located ? focus : 0, false);
    return used;
  }

  int64_t state_floats() {
    int64_t floats = 0;
    for (int i = 0; i < STATES; i++) floats += states()[i].step;
    return floats;
  }
  // Copy the state after step `t` out, or one in as that before the first.
  void save(int t, float* to) {
    for (int i = 0; i < STATES; i++) memcpy(to, states()[i].floats(t), states()[i].step * 4), to += states()[i].step;
  }
  void restore(const float* from) {
    for (int i = 0; i < STATES; from += states()[i].step, i++)
      memcpy(states()[i].floats(0), from, states()[i].step * 4);
  }
};

// Episodes of a block: `lanes` of them, in one half or two. The strides are from one episode to the next.
struct Episodes {
  int halves, lanes;
  int64_t steps;       // of the whole sequence
  const float* inputs;  // [episode][step][input]
  float* outputs;       // [episode][step][output]
  float* weightings;    // [episode][step][head][slot] at padded sizes, or null
};

// Room of a forward pass beyond its trace.
struct Scratch {
  Room room;
  V *keys, *erase, *add;
  float* outputs;

  void take(Arena& a, const Sizes& z) {
    room.take(a, z);
    keys = a.vectors(int64_t(z.heads) * z.width);
    erase = a.vectors(int64_t(z.writes) * z.width);
    add = a.vectors(int64_t(z.writes) * z.width);
    outputs = a.take(round_up(z.outputs, PANEL) * BLOCK);
  }
  // The fields of a step, clipped and squashed. A tape erases nothing.
  void prepare(const Sizes& z, const V* fields) {
    if (z.content)
      for (int i = 0; i < z.heads * z.width; i++) keys[i] = clip(fields[z.key + i]);
    for (int i = 0; i < z.writes * z.width; i++) {
      erase[i] = z.erases ? sigmoid(clip(fields[z.erase + i])) : splat(0.f);
      add[i] = clip(fields[z.add + i]);
    }
  }
};

ETM_INLINE Focus focus_of(const Sizes& z, const Trace& x, int t, int half, int head) {
  const int64_t from = int64_t(head) * z.slots;
  return {x.score.at(t, half) + from, x.weighting.at(t, half) + from, x.content.at(t, half) + from,
          x.logarithm.at(t, half) + from, x.weighting.at(t + 1, half) + from};
}

// The state before the first step: nothing read, heads on slot 0, a small constant in the memory.
static void start(const Sizes& z, int halves, Trace& x) {
  for (int i = 0; i < Trace::STATES; i++) memset(x.states()[i].floats(0), 0, x.states()[i].step * 4);
  const V norm = inverse_root(splat(INITIAL_MEMORY * INITIAL_MEMORY * z.width + NORM_EPSILON));
  for (int half = 0; half < halves; half++) {
    for (int h = 0; h < z.heads; h++) x.weighting.at(0, half)[int64_t(h) * z.slots] = splat(1.f);
    for (int n = 0; n < z.slots; n++) x.inverse_norm.at(0, half)[n] = norm;
    for (int64_t i = 0; i < int64_t(z.slots) * z.width; i++) x.memory.at(0, half)[i] = splat(INITIAL_MEMORY);
  }
}

static void write_weightings(const Space& s, const Sizes& z, const Episodes& e, const Trace& x, int t, int64_t step) {
  const int64_t heads = s.reads + s.writes;
  for (int lane = 0; lane < e.lanes; lane++) {
    float* to = e.weightings + (lane * e.steps + step) * heads * s.slots;
    const float* from = (const float*)x.weighting.at(t + 1, lane / LANES) + lane % LANES;
    for (int h = 0; h < z.heads; h++)
      for (int n = 0; n < z.slots; n++)
        to[(h < z.reads ? h : s.reads + h - z.reads) * s.slots + n] = from[(int64_t(h) * z.slots + n) * LANES];
  }
}

// `count` steps from `first`, which the trace has as step 0; its state before that must be there.
static void forward(const Space& s, const Sizes& z, const Packed& p, const Episodes& e, int64_t first, int count,
                    Trace& x, Scratch& scratch) {
  const Cells cells{z.slots, z.width};
  for (int t = 0; t < count; t++) {
    const int64_t step = first + t;
    float *source = x.source.floats(t), *next = x.source.floats(t + 1);
    for (int lane = 0; lane < e.halves * LANES; lane++)
      for (int d = 0; d < z.inputs; d++)
        source[lane / LANES * x.source.half + d * LANES + lane % LANES] =
            lane < e.lanes ? e.inputs[(lane * e.steps + step) * z.inputs + d] : 0.f;
    product<false>(e.halves, p.gates, z.sources, z.sums, source, x.source.half, p.gate_bias, x.gates.floats(t),
                   x.gates.half);
    for (int half = 0; half < e.halves; half++)
      update_units(z, x.gates.at(t, half), x.source.at(t, half) + z.hidden_row, x.cell.at(t, half),
                   x.source.at(t + 1, half) + z.hidden_row, x.cell.at(t + 1, half));
    if (z.heads) {
      product<false>(e.halves, p.fields, z.units, z.fields, next + z.hidden_row * LANES, x.source.half, p.field_bias,
                     x.fields.floats(t), x.fields.half);
      for (int half = 0; half < e.halves; half++) {
        const V* fields = x.fields.at(t, half);
        scratch.prepare(z, fields);
        if (z.content)
          compare(cells, z.heads, x.memory.at(t, half), scratch.keys, x.inverse_norm.at(t, half), x.score.at(t, half));
        for (int h = 0; h < z.heads; h++)
          address(z, h, fields, scratch.keys + h * z.width, focus_of(z, x, t, half, h), scratch.room);
        const Writing writing{z.reads, z.writes, x.weighting.at(t + 1, half), scratch.erase, scratch.add};
        write_then_read(cells, writing, x.memory.at(t, half), x.memory.at(t + 1, half),
                        x.source.at(t + 1, half) + z.inputs, x.inverse_norm.at(t + 1, half));
      }
      if (e.weightings) write_weightings(s, z, e, x, t, step);
    }
    if (!e.outputs) continue;
    const int64_t half = round_up(z.outputs, PANEL) * LANES;
    product<false>(e.halves, p.outputs, z.out_sources, z.outputs, next + z.inputs * LANES, x.source.half,
                   p.output_bias, scratch.outputs, half);
    for (int lane = 0; lane < e.lanes; lane++)
      for (int o = 0; o < z.outputs; o++)
        e.outputs[(lane * e.steps + step) * z.outputs + o] =
            scratch.outputs[lane / LANES * half + o * LANES + lane % LANES];
  }
}

}  // namespace etm
