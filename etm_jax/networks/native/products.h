// Matrix products of packed weights with blocks of episodes, and the gradients of weights.
#pragma once
#include "layout.h"

namespace etm {

// Targets at once: with two halves their sums, 2 loads and 1 broadcast fit the registers, 16 or with AVX-512 32.
// Sources at once in a gradient: their sums with 3 vectors of targets, these, and 1 broadcast.
#ifdef __AVX512F__
constexpr int PANEL = 12, SOURCES = 8;
#else
constexpr int PANEL = 6, SOURCES = 4;
#endif

// Panels of columns of a matrix [rows, columns]: [column / PANEL][row][PANEL].
static void pack(const float* matrix, int64_t rows, int64_t columns, float* out) {
  const int64_t rest = columns % PANEL;
  for (int64_t k = 0; k < rows; k++, out += PANEL) {  // along rows, since columns are far apart
    float* to = out;
    for (int64_t m = rest; m < columns; m += PANEL, matrix += PANEL, to += rows * PANEL)
      memcpy(to, matrix, PANEL * 4);
    for (int64_t i = 0; rest && i < PANEL; i++) to[i] = i < rest ? matrix[i] : 0.f;
    matrix += rest;
  }
}
// The same of the transpose: panels of rows, [row / PANEL][column][PANEL].
static void pack_transposed(const float* matrix, int64_t rows, int64_t columns, float* out) {
  for (int64_t k = 0; k < rows; k += PANEL) {
    const int count = rows - k < PANEL ? rows - k : PANEL;
    const float* from = matrix + k * columns;
    if (count == PANEL)
      for (int64_t m = 0; m < columns; m++, out += PANEL)
        for (int i = 0; i < PANEL; i++) out[i] = from[i * columns + m];
    else
      for (int64_t m = 0; m < columns; m++, out += PANEL)
        for (int i = 0; i < PANEL; i++) out[i] = i < count ? from[i * columns + m] : 0.f;
  }
}

// Of WIDE panels of targets, side by side: out[half][target][lane] = bias + packed x[half][source][lane], or added to
// what is there.
template <int COUNT, int WIDE, bool ADD_UP>
ETM_INLINE void product_of_panels(const float* packed, int sources, const float* x, int64_t x_half, const float* bias,
                                  float* out, int64_t out_half) {
  V sum[COUNT][WIDE * PANEL];
#pragma GCC unroll 2
  for (int c = 0; c < COUNT; c++)
#pragma GCC unroll 24
    for (int i = 0; i < WIDE * PANEL; i++)
      sum[c][i] = ADD_UP ? load(out + c * out_half + i * LANES) : splat(bias ? bias[i] : 0.f);
  const float *weight = packed, *next = packed + int64_t(WIDE - 1) * PANEL * sources;
  for (int k = 0; k < sources; k++, weight += PANEL, next += PANEL, x += LANES) {
    V value[COUNT];
#pragma GCC unroll 2
    for (int c = 0; c < COUNT; c++) value[c] = load(x + c * x_half);
#pragma GCC unroll 24
    for (int i = 0; i < WIDE * PANEL; i++) {
      const V w = splat(i < PANEL ? weight[i] : next[i - PANEL]);
#pragma GCC unroll 2
      for (int c = 0; c < COUNT; c++) sum[c][i] += w * value[c];
    }
  }
#pragma GCC unroll 2
  for (int c = 0; c < COUNT; c++)
#pragma GCC unroll 24
    for (int i = 0; i < WIDE * PANEL; i++) store(out + c * out_half + i * LANES, sum[c][i]);
}
// Of all panels. With one half the registers hold the sums of two panels, and each load of x serves both.
template <int COUNT, bool ADD_UP>
static void product_of(const float* packed, int sources, int targets, const float* x, int64_t x_half,
                       const float* bias, float* out, int64_t out_half) {
  constexpr int WIDE = HALVES / COUNT;
  auto from = [&](int m) { return packed + int64_t(m) * sources; };
  auto bias_of = [&](int m) { return bias ? bias + m : nullptr; };
  int m = 0;
  for (; m + (WIDE - 1) * PANEL < targets; m += WIDE * PANEL)
    product_of_panels<COUNT, WIDE, ADD_UP>(from(m), sources, x, x_half, bias_of(m), out + m * LANES, out_half);
  for (; m < targets; m += PANEL)
    product_of_panels<COUNT, 1, ADD_UP>(from(m), sources, x, x_half, bias_of(m), out + m * LANES, out_half);
}
// Writes whole panels.
template <bool ADD_UP>
static void product(int halves, const float* packed, int sources, int targets, const float* x, int64_t x_half,
                    const float* bias, float* out, int64_t out_half) {
  auto run = halves == 1 ? product_of<1, ADD_UP> : product_of<2, ADD_UP>;
  run(packed, sources, targets, x, x_half, bias, out, out_half);
}

// The weights of one individual as products take them.
struct Packed {
  float *gates, *fields, *outputs, *gate_bias, *field_bias, *output_bias;
  float *gates_back, *fields_back, *outputs_back;  // of the transposes, for the backward pass

  void take(Arena& a, const Sizes& z, bool forward, bool backward) {
    *this = {};
    if (forward) {
      gates = a.take(round_up(z.sums, PANEL) * z.sources);
      fields = a.take(round_up(z.fields, PANEL) * z.units);
      outputs = a.take(round_up(z.outputs, PANEL) * z.out_sources);
      gate_bias = a.take(round_up(z.sums, PANEL));
      field_bias = a.take(round_up(z.fields, PANEL));
      output_bias = a.take(round_up(z.outputs, PANEL));
    }
    if (backward) {
      gates_back = a.take(round_up(z.sources, PANEL) * z.sums);
      fields_back = a.take(round_up(z.units, PANEL) * z.fields);
      outputs_back = a.take(round_up(z.out_sources, PANEL) * z.outputs);
    }
  }

  void fill(const Sizes& z, const float* live) {
    const Live at = live_of(z);
    if (gates) {
      pack(live + at.gates, z.sources, z.sums, gates);
      pack(live + at.fields, z.units, z.fields, fields);
      pack(live + at.outputs, z.out_sources, z.outputs, outputs);
      pack(live + at.gate_bias, 1, z.sums, gate_bias);
      pack(live + at.field_bias, 1, z.fields, field_bias);
      pack(live + at.output_bias, 1, z.outputs, output_bias);
    }
    if (gates_back) {
      pack_transposed(live + at.gates, z.sources, z.sums, gates_back);
      pack_transposed(live + at.fields, z.units, z.fields, fields_back);
      pack_transposed(live + at.outputs, z.out_sources, z.outputs, outputs_back);
    }
  }
};

constexpr int VECTORS = 3;  // of targets at once in a gradient
constexpr int ROWS = 192;   // steps x episodes, of which these vectors stay in the first-level cache
static_assert(ROWS % BLOCK == 0, "whole steps");

static inline int64_t source_panels(int sources) { return round_up(sources, LANES) * ROWS; }
static inline int64_t target_panels() { return int64_t(VECTORS) * LANES * ROWS; }

// LANES rows of x [step][half][row][lane] turned to [step][half][lane][row]; rows from `count` on are 0.
static void turn(int steps, int halves, int count, const float* x, int64_t step, int64_t half, float* out) {
  for (int t = 0; t < steps; t++)
    for (int c = 0; c < halves; c++, out += LANES * LANES) {
      const float* from = x + t * step + c * half;
      V row[LANES];
      for (int i = 0; i < LANES; i++) row[i] = i < count ? load(from + i * LANES) : splat(0.f);
      transpose(row);
      for (int i = 0; i < LANES; i++) store(out + i * LANES, row[i]);
    }
}

// kernel[source][target] += sum over rows of x[row][source] g[vector][row][target], for COUNT vectors of targets.
template <int COUNT>
static void outer_products(int rows, const float* x, int sources, const float* g, int targets, float* kernel,
                           int64_t columns) {
  V sum[COUNT][SOURCES];
#pragma GCC unroll 3
  for (int j = 0; j < COUNT; j++)
#pragma GCC unroll 8
    for (int i = 0; i < SOURCES; i++) sum[j][i] = splat(0.f);
  for (int r = 0; r < rows; r++) {
    V value[COUNT];
#pragma GCC unroll 3
    for (int j = 0; j < COUNT; j++) value[j] = load(g + (j * rows + r) * LANES);
#pragma GCC unroll 8
    for (int i = 0; i < SOURCES; i++) {
      const V w = splat(x[r * LANES + i]);
#pragma GCC unroll 3
      for (int j = 0; j < COUNT; j++) sum[j][i] += w * value[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < SOURCES; i++) {
    if (i >= sources) break;
#pragma GCC unroll 3
    for (int j = 0; j < COUNT; j++) add_to(kernel + i * columns + j * LANES, sum[j][i], targets - j * LANES);
  }
}

// kernel[source][target] += sum over steps and episodes of x g, and bias[target] += sum of g.
static void weight_gradient(int steps, int halves, int sources, int targets, const float* x, int64_t x_step,
                            int64_t x_half, const float* g, int64_t g_step, int64_t g_half, float* kernel,
                            float* bias, float* x_panels, float* g_panels) {
  const int at_once = ROWS / (halves * LANES);
  for (; steps > 0; steps -= at_once, x += at_once * x_step, g += at_once * g_step) {
    const int now = steps < at_once ? steps : at_once, rows = now * halves * LANES;
    for (int k = 0; k < sources; k += LANES)
      turn(now, halves, sources - k, x + int64_t(k) * LANES, x_step, x_half, x_panels + int64_t(k) * rows);
    for (int m = 0; m < targets; m += VECTORS * LANES) {
      const int wide = targets - m, count = wide > 2 * LANES ? 3 : wide > LANES ? 2 : 1;
      for (int j = 0; j < count; j++) {
        float* panel = g_panels + int64_t(j) * rows * LANES;
        turn(now, halves, wide - j * LANES, g + int64_t(m + j * LANES) * LANES, g_step, g_half, panel);
        V sum = splat(0.f);
        for (int r = 0; r < rows; r++) sum += load(panel + r * LANES);
        add_to(bias + m + j * LANES, sum, wide - j * LANES);
      }
      auto run = count == 3 ? outer_products<3> : count == 2 ? outer_products<2> : outer_products<1>;
      for (int k = 0; k < sources; k += SOURCES)
        run(rows, x_panels + int64_t(k / LANES) * LANES * rows + k % LANES, sources - k, g_panels, wide,
            kernel + int64_t(k) * targets + m, targets);
    }
  }
}

}  // namespace etm
