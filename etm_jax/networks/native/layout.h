// Padded and live sizes, the arrays of an individual, and where its live weights stand in them.
#pragma once
#include "lanes.h"

namespace etm {

constexpr float INTERFACE_LIMIT = 20.f, NORM_EPSILON = 1e-6f, LOG_EPSILON = 1e-12f, INITIAL_MEMORY = 1e-6f;

// The places of etm_jax.cells.CONTROLLERS and MEMORIES. The others are not served.
enum Controller { LSTM = 0, GRU = 1, RNN = 2, FEEDFORWARD = 3 };
enum Memory { NO_MEMORY = 0, TAPE = 1, NTM = 3 };
constexpr int MAX_GATES = 4;

// The order of ARRAYS in _layout.py.
enum Array {
  INPUT, READ, RECURRENT, GATE_BIAS,
  KEY, KEY_BIAS, STRENGTH, STRENGTH_BIAS, GATING, GATING_BIAS, LOCATION, LOCATION_BIAS,
  ERASE, ERASE_BIAS, ADD, ADD_BIAS,
  OUTPUT, OUTPUT_READ, OUTPUT_BIAS,
  NUM_ARRAYS
};

// The order of GENES in _layout.py.
enum Gene { SLOTS_, WIDTH_, READS_, WRITES_, UNITS_, SHIFT_RANGE_, ADDRESSING_, CONTROLLER_, MEMORY_, NUM_GENES };

// What is the same for every individual: lengths of the padded axes, and which arrays there are. As in _layout.py.
struct Space {
  int64_t inputs, outputs, slots, width, reads, writes, units, shift_range, location, gating;
  int64_t input_gates, unit_gates, gates;  // lengths of these axes
  int64_t input_place[MAX_GATES], unit_place[MAX_GATES], gate_place[MAX_GATES];  // of each gate on its axis, or -1
  int64_t controllers, memories;           // bit i: kind i may occur
  int64_t argument[NUM_ARRAYS];            // place of each array among those given, or -1

  bool has(Array array) const { return argument[array] >= 0; }

  int64_t size(int array) const {
    const int64_t heads = reads + writes;
    switch (array) {
      case INPUT: return inputs * input_gates * units;
      case READ: return reads * width * input_gates * units;
      case RECURRENT: return units * unit_gates * units;
      case GATE_BIAS: return gates * units;
      case KEY: return units * heads * width;
      case KEY_BIAS: return heads * width;
      case STRENGTH: return units * heads;
      case STRENGTH_BIAS: return heads;
      case GATING: return units * heads * gating;
      case GATING_BIAS: return heads * gating;
      case LOCATION: return units * heads * location;
      case LOCATION_BIAS: return heads * location;
      case ERASE: case ADD: return units * writes * width;
      case ERASE_BIAS: case ADD_BIAS: return writes * width;
      case OUTPUT: return units * outputs;
      case OUTPUT_READ: return reads * width * outputs;
      default: return outputs;
    }
  }
};
constexpr int SPACE_LENGTH = sizeof(Space) / sizeof(int64_t);

// Live sizes of one individual, and what follows from them.
struct Sizes {
  int slots, width, reads, writes, units, shift_range, inputs, outputs;
  Controller controller;
  bool content, gated, located, erases;  // compares keys; chooses between content and location; moves; erases

  int heads, shifts, moves;               // location fields of a head: the sharpening and the shifts
  int read_rows, gates, sums;             // rows of all reads; sums of a unit; of all units
  int rows;                               // inputs, reads, units: a source vector
  int sources;                            // of these, what the gates see
  int out_sources;                        // reads and units: what the output sees
  int hidden_row;                         // where the units stand in a source vector
  int key, strength, gating, location, erase, add, fields;  // where the fields start

  void derive() {
    heads = reads + writes;
    shifts = 2 * shift_range + 1;
    moves = located ? 1 + shifts : 0;
    read_rows = reads * width;
    gates = controller == LSTM || controller == GRU ? 4 : 1;
    sums = gates * units;
    hidden_row = inputs + read_rows;
    rows = hidden_row + units;
    sources = controller == FEEDFORWARD ? hidden_row : rows;
    out_sources = read_rows + units;
    key = 0;
    strength = key + (content ? heads * width : 0);
    gating = strength + (content ? heads : 0);
    location = gating + (gated ? heads : 0);
    erase = location + heads * moves;
    add = erase + (erases ? writes * width : 0);
    fields = add + writes * width;
  }
};

// The individual with every part at its largest: what it needs suffices for all.
static inline Sizes largest(const Space& s) {
  Sizes z{};
  z.slots = s.slots, z.width = s.width, z.reads = s.reads, z.writes = s.writes, z.units = s.units;
  z.shift_range = s.shift_range, z.inputs = s.inputs, z.outputs = s.outputs;
  z.controller = s.controllers & 1 << LSTM ? LSTM : s.controllers & 1 << GRU ? GRU : RNN;
  z.content = s.has(KEY), z.gated = s.gating > 0, z.located = s.location > 0, z.erases = s.has(ERASE);
  z.derive();
  return z;
}

// Read the genes. Returns nullptr, or the rule that they break.
static inline const char* sizes_of(const Space& s, const int32_t* gene, Sizes& z) {
  const int32_t controller = gene[CONTROLLER_], memory = gene[MEMORY_];
  if (controller < 0 || controller > FEEDFORWARD || !(s.controllers >> controller & 1))
    return "controller must be a kind of the space that the kernel serves";
  if (memory < 0 || memory > NTM || !(s.memories >> memory & 1))
    return "memory must be a kind of the space that the kernel serves";
  if (gene[UNITS_] < 1 || gene[UNITS_] > s.units) return "controller_size must be from 1 to that of the space";
  z = Sizes{};
  z.controller = Controller(controller), z.units = gene[UNITS_];
  z.inputs = s.inputs, z.outputs = s.outputs;
  if (memory != NO_MEMORY) {
    if (gene[SLOTS_] < 1 || gene[SLOTS_] > s.slots) return "num_slots must be from 1 to that of the space";
    if (gene[WIDTH_] < 1 || gene[WIDTH_] > s.width) return "slot_width must be from 1 to that of the space";
    if (gene[READS_] < 1 || gene[READS_] > s.reads) return "num_read_heads must be from 1 to that of the space";
    if (gene[WRITES_] < 1 || gene[WRITES_] > s.writes) return "num_write_heads must be from 1 to that of the space";
    if (gene[ADDRESSING_] < 0 || gene[ADDRESSING_] > 1) return "addressing must be 0 (content) or 1 (and location)";
    z.slots = gene[SLOTS_], z.width = gene[WIDTH_], z.reads = gene[READS_], z.writes = gene[WRITES_];
    z.content = z.erases = memory == NTM;
    z.gated = memory == NTM && gene[ADDRESSING_];
    z.located = memory == TAPE || z.gated;
    if (z.gated && !s.gating) return "addressing must be one of the space";
    if (z.located) {
      if (gene[SHIFT_RANGE_] < 1 || gene[SHIFT_RANGE_] > s.shift_range)
        return "shift_range must be from 1 to that of the space";
      if (gene[SLOTS_] < 2 * gene[SHIFT_RANGE_] + 1) return "num_slots must be at least 2*shift_range+1";
      z.shift_range = gene[SHIFT_RANGE_];
    }
  }
  z.derive();
  return nullptr;
}

// Where the live weights of an individual stand in one vector, as matrices [source, target] and biases, row by row.
struct Live {
  int64_t gates, fields, outputs, gate_bias, field_bias, output_bias, length;
};

static inline Live live_of(const Sizes& z) {
  Live at{};
  at.fields = int64_t(z.sources) * z.sums;
  at.outputs = at.fields + int64_t(z.units) * z.fields;
  at.gate_bias = at.outputs + int64_t(z.out_sources) * z.outputs;
  at.field_bias = at.gate_bias + z.sums;
  at.output_bias = at.field_bias + z.fields;
  at.length = at.output_bias + z.outputs;
  return at;
}

// ---- live weights in padded arrays, as contiguous pieces: f(array, offset in it, offset in the live vector, count) ---

ETM_INLINE bool from_inputs(Controller controller, int gate) { return controller != GRU || gate != 3; }
ETM_INLINE bool from_units(Controller controller, int gate) { return controller != GRU || gate != 2; }

template <class F>
ETM_INLINE void gate_pieces(const Space& s, const Sizes& z, const Live& at, F f) {
  for (int k = 0; k < z.sources; k++) {
    const bool unit = k >= z.hidden_row;
    const Array array = k < z.inputs ? INPUT : unit ? RECURRENT : READ;
    const int read = k - z.inputs;
    const int64_t row = k < z.inputs ? k : unit ? k - z.hidden_row : read / z.width * s.width + read % z.width;
    for (int g = 0; g < z.gates; g++) {
      if (!(unit ? from_units(z.controller, g) : from_inputs(z.controller, g))) continue;
      const int64_t from = unit ? row * s.unit_gates + s.unit_place[g] : row * s.input_gates + s.input_place[g];
      f(array, from * s.units, at.gates + int64_t(k) * z.sums + g * z.units, z.units);
    }
  }
  for (int g = 0; g < z.gates; g++) f(GATE_BIAS, s.gate_place[g] * s.units, at.gate_bias + g * z.units, z.units);
}
// A row of kernels, that of a unit, or with BIAS the biases, which follow their kernels in `Array`.
template <int BIAS, class F>
ETM_INLINE void field_row(const Space& s, const Sizes& z, int64_t unit, int64_t to, F f) {
  const int64_t heads = s.reads + s.writes;
  for (int h = 0; h < z.heads; h++) {
    const int64_t head = unit * heads + (h < z.reads ? h : s.reads + h - z.reads);
    if (z.content) {
      f(KEY + BIAS, head * s.width, to + z.key + h * z.width, z.width);
      f(STRENGTH + BIAS, head, to + z.strength + h, 1);
    }
    if (z.gated) f(GATING + BIAS, head, to + z.gating + h, 1);
    if (z.located) {
      const int64_t start = head * s.location;
      f(LOCATION + BIAS, start, to + z.location + h * z.moves, 1);
      const int64_t first = start + 1 + s.shift_range - z.shift_range;  // of the shifts -S..S, those within reach
      f(LOCATION + BIAS, first, to + z.location + h * z.moves + 1, z.shifts);
    }
  }
  for (int q = 0; q < z.writes; q++) {
    const int64_t head = (unit * s.writes + q) * s.width;
    if (z.erases) f(ERASE + BIAS, head, to + z.erase + q * z.width, z.width);
    f(ADD + BIAS, head, to + z.add + q * z.width, z.width);
  }
}
template <class F>
static void live_pieces(const Space& s, const Sizes& z, F f) {
  const Live at = live_of(z);
  gate_pieces(s, z, at, f);
  for (int unit = 0; unit < z.units; unit++) field_row<0>(s, z, unit, at.fields + int64_t(unit) * z.fields, f);
  field_row<1>(s, z, 0, at.field_bias, f);
  for (int k = 0; k < z.out_sources; k++) {
    const bool unit = k >= z.read_rows;
    const int64_t row = unit ? k - z.read_rows : k / z.width * s.width + k % z.width;
    f(unit ? OUTPUT : OUTPUT_READ, row * s.outputs, at.outputs + int64_t(k) * z.outputs, z.outputs);
  }
  f(OUTPUT_BIAS, 0, at.output_bias, z.outputs);
}

// Of a GRU two blocks of the gates' matrix do not exist: they are 0.
static void clear_absent(const Sizes& z, float* live) {
  for (int k = 0; k < z.sources; k++)
    for (int g = 0; g < z.gates; g++)
      if (!(k >= z.hidden_row ? from_units(z.controller, g) : from_inputs(z.controller, g)))
        memset(live + int64_t(k) * z.sums + g * z.units, 0, z.units * 4);
}

// Memory of a call, taken piece by piece. With no base it only counts.
struct Arena {
  char* base = nullptr;
  size_t size = 0, used = 0;

  ~Arena() { free(base); }
  float* take(int64_t floats) {
    float* piece = base ? (float*)(base + used) : nullptr;
    used += round_up(floats * 4, 64);
    return piece;
  }
  V* vectors(int64_t count) { return (V*)take(count * LANES); }
  bool reserve(size_t bytes) {
    used = 0;
    if (bytes <= size) return true;
    free(base);
    size = round_up(bytes, 4096);
    base = (char*)aligned_alloc(4096, size);
    if (!base) size = 0;
    return base;
  }
};

}  // namespace etm
