// One individual over a batch of episodes, block by block. Every function returns nullptr, or what is wrong.
#pragma once
#include "backward.h"

namespace etm {

constexpr const char* TOO_SHORT = "the vector of live weights is too short for the individual";

// What a pass is given. Arrays are float32 and contiguous.
struct Call {
  Space space;
  const int32_t* genes;
  int64_t episodes, steps;
  int64_t segment;  // steps between states that are kept for the backward pass; all of them if at least `steps`
  const float* inputs;
  const float* live;        // weights, placed by `live_of`
  int64_t live_length;      // of that vector, which may have more than there are
};

// The live weights of an individual, out of its padded arrays (in the order of `Array`), and 0 behind them.
static const char* gather(const Space& s, const int32_t* genes, const float* const* params, float* live,
                          int64_t length) {
  Sizes z;
  if (const char* wrong = sizes_of(s, genes, z)) return wrong;
  if (live_of(z).length > length) return TOO_SHORT;
  memset(live, 0, length * 4);
  live_pieces(s, z, [&](int array, int64_t offset, int64_t at, int count) {
    memcpy(live + at, params[array] + offset, count * 4);
  });
  return nullptr;
}
// The way back, into arrays which are 0 elsewhere.
static const char* scatter(const Space& s, const int32_t* genes, const float* live, int64_t length,
                           float* const* params) {
  Sizes z;
  if (const char* wrong = sizes_of(s, genes, z)) return wrong;
  if (live_of(z).length > length) return TOO_SHORT;
  for (int a = 0; a < NUM_ARRAYS; a++)
    if (params[a]) memset(params[a], 0, s.size(a) * 4);
  live_pieces(s, z, [&](int array, int64_t offset, int64_t at, int count) {
    memcpy(params[array] + offset, live + at, count * 4);
  });
  return nullptr;
}
// Which places of a vector of live weights hold one, and how many there are up to the last.
static const char* places(const Space& s, const int32_t* genes, bool* exists, int64_t length, int32_t* used) {
  Sizes z;
  if (const char* wrong = sizes_of(s, genes, z)) return wrong;
  *used = int32_t(live_of(z).length);
  if (*used > length) return TOO_SHORT;
  memset(exists, 0, length);
  live_pieces(s, z, [&](int, int64_t, int64_t at, int count) { memset(exists + at, 1, count); });
  return nullptr;
}

static thread_local Arena arena;  // grows to what the largest call on this thread needs

ETM_INLINE int lanes_of(const Call& c, int64_t first) {
  return int(c.episodes - first < BLOCK ? c.episodes - first : BLOCK);
}
ETM_INLINE int halves_of(int lanes) { return lanes > LANES ? 2 : 1; }
ETM_INLINE int64_t segments_of(int64_t steps, int64_t segment) { return (steps + segment - 1) / segment; }

// The most floats that a block of any individual keeps for the backward pass.
static int64_t kept_of_block(const Space& s, int halves, int64_t steps, int64_t segment) {
  Trace x;
  if (segment >= steps) return x.place(largest(s), halves, int(steps), true, nullptr, true);
  x.place(largest(s), halves, 1, false, nullptr, true);
  return round_up(x.state_floats() * segments_of(steps, segment), 16);
}
static int64_t kept_of_batch(const Space& s, int64_t episodes, int64_t steps, int64_t segment) {
  const int64_t full = episodes / BLOCK;
  const int rest = int(episodes % BLOCK);
  return full * kept_of_block(s, 2, steps, segment) + (rest ? kept_of_block(s, halves_of(rest), steps, segment) : 0);
}

static Episodes episodes_of(const Call& c, int64_t first) {
  const int lanes = lanes_of(c, first);
  return {halves_of(lanes), lanes, c.steps, c.inputs + first * c.steps * c.space.inputs, nullptr, nullptr};
}

// The sizes of a call's individual, whose live weights must fit their vector.
static const char* sizes_of(const Call& c, Sizes& z) {
  if (const char* wrong = sizes_of(c.space, c.genes, z)) return wrong;
  return live_of(z).length <= c.live_length ? nullptr : TOO_SHORT;
}

// Each of outputs, weightings and kept may be null.
static const char* run_forward(const Call& c, float* outputs, float* weightings, float* kept) {
  Sizes z;
  if (const char* wrong = sizes_of(c, z)) return wrong;
  const int64_t focus = (c.space.reads + c.space.writes) * c.space.slots;
  if (weightings) memset(weightings, 0, c.episodes * c.steps * focus * 4);
  if (!c.episodes || !c.steps) return nullptr;
  const bool keep = kept && c.segment >= c.steps;
  Packed packed;
  Scratch scratch;
  Trace trace;
  const int64_t work = keep ? 0 : trace.place(z, HALVES, 1, false, nullptr);
  float* place = nullptr;
  auto take = [&](Arena& a) { packed.take(a, z, true, false), scratch.take(a, z), place = a.take(work); };
  Arena count;
  take(count);
  if (!arena.reserve(count.used)) return "out of memory";
  take(arena);
  packed.fill(z, c.live);
  for (int64_t first = 0; first < c.episodes; first += BLOCK) {
    Episodes e = episodes_of(c, first);
    e.outputs = outputs ? outputs + first * c.steps * c.space.outputs : nullptr;
    e.weightings = weightings ? weightings + first * c.steps * focus : nullptr;
    trace.place(z, e.halves, keep ? int(c.steps) : 1, keep, keep ? kept : place);
    start(z, e.halves, trace);
    if (keep || !kept) {
      forward(c.space, z, packed, e, 0, int(c.steps), trace, scratch);
    } else {
      float* state = kept;
      trace.save(0, state);
      for (int64_t from = 0; from < c.steps; from += c.segment) {
        const int now = int(c.steps - from < c.segment ? c.steps - from : c.segment);
        forward(c.space, z, packed, e, from, now, trace, scratch);
        if (from + now == c.steps) break;
        state += trace.state_floats();
        trace.save(now, state);
        trace.restore(state);
      }
    }
    if (kept) kept += kept_of_block(c.space, e.halves, c.steps, c.segment);
  }
  return nullptr;
}

// gradients: as long as `live`.
static const char* run_backward(const Call& c, const float* kept, const float* d_outputs, float* d_inputs,
                                float* gradients) {
  Sizes z;
  if (const char* wrong = sizes_of(c, z)) return wrong;
  memset(gradients, 0, c.live_length * 4);
  if (!c.episodes || !c.steps) return nullptr;
  const bool whole = c.segment >= c.steps;
  const int segment = int(whole ? c.steps : c.segment);
  Packed packed;
  Back back;
  Trace trace;
  const int64_t work = whole ? 0 : trace.place(z, HALVES, segment, true, nullptr);
  float* place = nullptr;
  auto take = [&](Arena& a) { packed.take(a, z, !whole, true), back.take(a, z, segment), place = a.take(work); };
  Arena count;
  take(count);
  if (!arena.reserve(count.used)) return "out of memory";
  take(arena);
  packed.fill(z, c.live);
  back.start(z, gradients);
  for (int64_t first = 0; first < c.episodes; first += BLOCK) {
    const Episodes e = episodes_of(c, first);
    const float* d_out = d_outputs + first * c.steps * c.space.outputs;
    float* d_in = d_inputs + first * c.steps * c.space.inputs;
    trace.place(z, e.halves, segment, true, whole ? const_cast<float*>(kept) : place);
    back.start_block();
    for (int64_t i = segments_of(c.steps, segment) - 1; i >= 0; i--) {
      const int64_t from = i * segment;
      const int now = int(c.steps - from < segment ? c.steps - from : segment);
      if (!whole) {
        trace.restore(kept + i * trace.state_floats());
        forward(c.space, z, packed, e, from, now, trace, back.scratch);
      }
      backward(z, packed, e, d_out, d_in, from, now, trace, back);
    }
    kept += kept_of_block(c.space, e.halves, c.steps, c.segment);
  }
  clear_absent(z, gradients);
  return nullptr;
}

}  // namespace etm
