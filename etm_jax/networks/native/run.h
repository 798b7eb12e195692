// One individual over a batch of episodes, block by block. Every function returns nullptr, or what is wrong.
#pragma once
#include "backward.h"
#include "traces.h"

namespace etm {

constexpr const char* TOO_SHORT = "the vector of live weights is too short for the individual";
constexpr const char* NO_MEMORY_LEFT = "out of memory";

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
static Traces traces;

ETM_INLINE int lanes_of(const Call& c, int64_t first) {
  return int(c.episodes - first < BLOCK ? c.episodes - first : BLOCK);
}
ETM_INLINE int halves_of(int lanes) { return lanes > LANES ? 2 : 1; }
ETM_INLINE int64_t segments_of(int64_t steps, int64_t segment) { return (steps + segment - 1) / segment; }

// Floats of an individual's traces over a batch; with `bound` no smaller individual has more.
static int64_t trace_floats(const Sizes& z, int64_t episodes, int64_t steps, bool bound) {
  auto of_block = [&](int halves) { return Trace().place(z, halves, int(steps), true, nullptr, bound); };
  const int rest = int(episodes % BLOCK);
  return episodes / BLOCK * of_block(2) + (rest ? of_block(halves_of(rest)) : 0);
}

// The most floats that an individual keeps for the backward pass: the number of its traces, or the state before each
// segment.
constexpr int64_t NUMBER_FLOATS = 16;
static int64_t kept_of_block(const Space& s, int halves, int64_t steps, int64_t segment) {
  Trace x;
  x.place(largest(s), halves, 1, false, nullptr, true);
  return round_up(x.state_floats() * segments_of(steps, segment), 16);
}
static int64_t kept_of_batch(const Space& s, int64_t episodes, int64_t steps, int64_t segment) {
  if (segment >= steps) return NUMBER_FLOATS;
  const int rest = int(episodes % BLOCK);
  const int64_t full = episodes / BLOCK * kept_of_block(s, 2, steps, segment);
  return full + (rest ? kept_of_block(s, halves_of(rest), steps, segment) : 0);
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

// Each of outputs and weightings may be null. What the backward pass needs goes to `traces`, if it is not null, or else
// to `states`, if that is not.
static const char* pass_forward(const Call& c, const Sizes& z, float* outputs, float* weightings, float* traces,
                                float* states) {
  const int64_t focus = (c.space.reads + c.space.writes) * c.space.slots;
  if (weightings) memset(weightings, 0, c.episodes * c.steps * focus * 4);
  Packed packed;
  Scratch scratch;
  Trace trace;
  const int64_t work = traces ? 0 : trace.place(z, HALVES, 1, false, nullptr);
  float* place = nullptr;
  auto take = [&](Arena& a) { packed.take(a, z, true, false), scratch.take(a, z), place = a.take(work); };
  Arena count;
  take(count);
  if (!arena.reserve(count.used)) return NO_MEMORY_LEFT;
  take(arena);
  packed.fill(z, c.live);
  for (int64_t first = 0; first < c.episodes; first += BLOCK) {
    Episodes e = episodes_of(c, first);
    e.outputs = outputs ? outputs + first * c.steps * c.space.outputs : nullptr;
    e.weightings = weightings ? weightings + first * c.steps * focus : nullptr;
    const int64_t floats = trace.place(z, e.halves, traces ? int(c.steps) : 1, traces, traces ? traces : place);
    start(z, e.halves, trace);
    if (traces || !states) {
      forward(c.space, z, packed, e, 0, int(c.steps), trace, scratch);
      if (traces) traces += floats;
      continue;
    }
    float* state = states;
    trace.save(0, state);
    for (int64_t from = 0; from < c.steps; from += c.segment) {
      const int now = int(c.steps - from < c.segment ? c.steps - from : c.segment);
      forward(c.space, z, packed, e, from, now, trace, scratch);
      if (from + now == c.steps) break;
      state += trace.state_floats();
      trace.save(now, state);
      trace.restore(state);
    }
    states += kept_of_block(c.space, e.halves, c.steps, c.segment);
  }
  return nullptr;
}

// A forward pass that leaves its traces in `own`, which the caller gives back.
static const char* pass_with_traces(const Call& c, const Sizes& z, float* outputs, Kept*& own) {
  own = traces.make();
  const bool enough = own->room.reserve(trace_floats(z, c.episodes, c.steps, false) * 4);
  return enough ? pass_forward(c, z, outputs, nullptr, (float*)own->room.base, nullptr) : NO_MEMORY_LEFT;
}

// Each of outputs, weightings and kept may be null.
static const char* run_forward(const Call& c, float* outputs, float* weightings, float* kept) {
  Sizes z;
  if (const char* wrong = sizes_of(c, z)) return wrong;
  if (!c.episodes || !c.steps) return nullptr;
  if (!kept || c.segment < c.steps) return pass_forward(c, z, outputs, weightings, nullptr, kept);
  Kept* own;
  const char* wrong = pass_with_traces(c, z, outputs, own);
  memcpy(kept, &own->number, sizeof own->number);
  traces.give_back(own, !wrong);
  return wrong;
}

// gradients: as long as `live`.
static const char* pass_backward(const Call& c, const Sizes& z, float* traces, const float* states,
                                 const float* d_outputs, float* d_inputs, float* gradients) {
  const int segment = int(traces ? c.steps : c.segment);
  Packed packed;
  Back back;
  Trace trace;
  const int64_t work = traces ? 0 : trace.place(z, HALVES, segment, true, nullptr);
  float* place = nullptr;
  auto take = [&](Arena& a) { packed.take(a, z, !traces, true), back.take(a, z, segment), place = a.take(work); };
  Arena count;
  take(count);
  if (!arena.reserve(count.used)) return NO_MEMORY_LEFT;
  take(arena);
  packed.fill(z, c.live);
  back.start(z, gradients);
  for (int64_t first = 0; first < c.episodes; first += BLOCK) {
    const Episodes e = episodes_of(c, first);
    const float* d_out = d_outputs + first * c.steps * c.space.outputs;
    float* d_in = d_inputs + first * c.steps * c.space.inputs;
    const int64_t floats = trace.place(z, e.halves, segment, true, traces ? traces : place);
    back.start_block();
    for (int64_t i = segments_of(c.steps, segment) - 1; i >= 0; i--) {
      const int64_t from = i * segment;
      const int now = int(c.steps - from < segment ? c.steps - from : segment);
      if (!traces) {
        trace.restore(states + i * trace.state_floats());
        forward(c.space, z, packed, e, from, now, trace, back.scratch);
      }
      backward(z, packed, e, d_out, d_in, from, now, trace, back);
    }
    if (traces) traces += floats;
    else states += kept_of_block(c.space, e.halves, c.steps, c.segment);
  }
  clear_absent(z, gradients);
  return nullptr;
}

static const char* run_backward(const Call& c, const float* kept, const float* d_outputs, float* d_inputs,
                                float* gradients) {
  Sizes z;
  if (const char* wrong = sizes_of(c, z)) return wrong;
  memset(gradients, 0, c.live_length * 4);
  if (!c.episodes || !c.steps) return nullptr;
  if (c.segment < c.steps) return pass_backward(c, z, nullptr, kept, d_outputs, d_inputs, gradients);
  uint64_t number;
  memcpy(&number, kept, sizeof number);
  Kept* own = traces.find(number);
  const char* wrong = own ? nullptr : pass_with_traces(c, z, nullptr, own);
  if (!wrong) wrong = pass_backward(c, z, (float*)own->room.base, nullptr, d_outputs, d_inputs, gradients);
  traces.give_back(own, false);
  return wrong;
}

}  // namespace etm
