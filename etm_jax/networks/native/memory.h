// Passes over the memory of one half: [slot][width] of vectors. Comparing with keys, writing and reading, and back.
#pragma once
#include "layout.h"

namespace etm {

struct Cells {
  int slots, width;
};

// ---- comparing keys: cosine without the key's norm, Graves 2014, eq. 6 ---------------------------------------------

template <int HEADS, int COUNT>
ETM_INLINE void compare_slots(Cells c, int n, const V* memory, const V* key, const V* inverse_norm, V* score) {
  V sum[HEADS][COUNT];
  for (int h = 0; h < HEADS; h++)
    for (int b = 0; b < COUNT; b++) sum[h][b] = splat(0.f);
  const V* m = memory + int64_t(n) * c.width;
  for (int w = 0; w < c.width; w++)
#pragma GCC unroll 8
    for (int h = 0; h < HEADS; h++) {
      const V k = key[h * c.width + w];
#pragma GCC unroll 2
      for (int b = 0; b < COUNT; b++) sum[h][b] += k * m[b * c.width + w];
    }
  for (int h = 0; h < HEADS; h++)
    for (int b = 0; b < COUNT; b++) score[int64_t(h) * c.slots + n + b] = sum[h][b] * inverse_norm[n + b];
}
template <int HEADS>
static void compare_heads(Cells c, const V* memory, const V* key, const V* inverse_norm, V* score) {
  int n = 0;
  for (; n + 2 <= c.slots; n += 2) compare_slots<HEADS, 2>(c, n, memory, key, inverse_norm, score);
  for (; n < c.slots; n++) compare_slots<HEADS, 1>(c, n, memory, key, inverse_norm, score);
}

template <int HEADS, int COUNT>
ETM_INLINE void compare_slots_back(Cells c, int n, const V* memory, V* d_memory, const V* key, const V* d_score,
                                   const V* shrink, V* d_key) {
  V d[HEADS][COUNT];
  for (int h = 0; h < HEADS; h++)
    for (int b = 0; b < COUNT; b++) d[h][b] = d_score[int64_t(h) * c.slots + n + b];
  const V* m = memory + int64_t(n) * c.width;
  V* g = d_memory + int64_t(n) * c.width;
  for (int w = 0; w < c.width; w++) {
    V value[COUNT], sum[COUNT];
#pragma GCC unroll 2
    for (int b = 0; b < COUNT; b++) {
      value[b] = m[b * c.width + w];
      sum[b] = g[b * c.width + w] - shrink[n + b] * value[b];
    }
#pragma GCC unroll 8
    for (int h = 0; h < HEADS; h++) {
      const V k = key[h * c.width + w];
      V to_key = d_key[h * c.width + w];
#pragma GCC unroll 2
      for (int b = 0; b < COUNT; b++) sum[b] += d[h][b] * k, to_key += d[h][b] * value[b];
      d_key[h * c.width + w] = to_key;
    }
#pragma GCC unroll 2
    for (int b = 0; b < COUNT; b++) g[b * c.width + w] = sum[b];
  }
}
template <int HEADS>
static void compare_heads_back(Cells c, const V* memory, V* d_memory, const V* key, const V* d_score,
                               const V* shrink, V* d_key) {
  for (int i = 0; i < HEADS * c.width; i++) d_key[i] = splat(0.f);
  int n = 0;
  for (; n + 2 <= c.slots; n += 2) compare_slots_back<HEADS, 2>(c, n, memory, d_memory, key, d_score, shrink, d_key);
  for (; n < c.slots; n++) compare_slots_back<HEADS, 1>(c, n, memory, d_memory, key, d_score, shrink, d_key);
}

constexpr int HEADS_AT_ONCE = 7;  // whose sums over two slots fit the registers
typedef void (*Compare)(Cells, const V*, const V*, const V*, V*);
typedef void (*CompareBack)(Cells, const V*, V*, const V*, const V*, const V*, V*);
static constexpr Compare COMPARE[] = {compare_heads<1>, compare_heads<2>, compare_heads<3>, compare_heads<4>,
                                      compare_heads<5>, compare_heads<6>, compare_heads<7>};
static constexpr CompareBack COMPARE_BACK[] = {
    compare_heads_back<1>, compare_heads_back<2>, compare_heads_back<3>, compare_heads_back<4>,
    compare_heads_back<5>, compare_heads_back<6>, compare_heads_back<7>};

static void compare(Cells c, int heads, const V* memory, const V* key, const V* inverse_norm, V* score) {
  for (int h = 0; h < heads; h += HEADS_AT_ONCE) {
    const int now = heads - h < HEADS_AT_ONCE ? heads - h : HEADS_AT_ONCE;
    COMPARE[now - 1](c, memory, key + h * c.width, inverse_norm, score + int64_t(h) * c.slots);
  }
}
// shrink: what each slot's norm takes off its own gradient; `nothing` is 0 in every slot.
static void compare_back(Cells c, int heads, const V* memory, V* d_memory, const V* key, const V* d_score,
                         const V* shrink, const V* nothing, V* d_key) {
  for (int h = 0; h < heads; h += HEADS_AT_ONCE) {
    const int now = heads - h < HEADS_AT_ONCE ? heads - h : HEADS_AT_ONCE;
    COMPARE_BACK[now - 1](c, memory, d_memory, key + h * c.width, d_score + int64_t(h) * c.slots,
                          h ? nothing : shrink, d_key + h * c.width);
  }
}

// ---- writing, then reading: Graves 2014, eq. 3, 4 and 2 ------------------------------------------------------------

struct Writing {
  int reads, writes;
  const V *weighting, *erase, *add;  // [head][slot], [write][width], [write][width]
};

template <int READS, int WRITES, int COUNT>
ETM_INLINE void write_slots(Cells c, int n, Writing x, const V* before, V* after, V* read, V* inverse_norm) {
  V norm[COUNT], by_read[READS][COUNT], by_write[WRITES][COUNT];
  for (int b = 0; b < COUNT; b++) {
    norm[b] = splat(NORM_EPSILON);
    for (int h = 0; h < READS; h++) by_read[h][b] = x.weighting[int64_t(h) * c.slots + n + b];
    for (int q = 0; q < WRITES; q++) by_write[q][b] = x.weighting[int64_t(READS + q) * c.slots + n + b];
  }
  const int64_t first = int64_t(n) * c.width;
  for (int w = 0; w < c.width; w++) {
    V m[COUNT];
#pragma GCC unroll 4
    for (int b = 0; b < COUNT; b++) {
      const int64_t at = first + b * c.width + w;
      V v = before[at];
#pragma GCC unroll 4
      for (int q = 0; q < WRITES; q++) v *= splat(1.f) - by_write[q][b] * x.erase[q * c.width + w];  // eq. 3
#pragma GCC unroll 4
      for (int q = 0; q < WRITES; q++) v += by_write[q][b] * x.add[q * c.width + w];  // eq. 4
      m[b] = v, after[at] = v, norm[b] += v * v;
    }
#pragma GCC unroll 4
    for (int h = 0; h < READS; h++) {
      V sum = read[h * c.width + w];
#pragma GCC unroll 4
      for (int b = 0; b < COUNT; b++) sum += by_read[h][b] * m[b];  // eq. 2
      read[h * c.width + w] = sum;
    }
  }
  for (int b = 0; b < COUNT; b++) inverse_norm[n + b] = inverse_root(norm[b]);
}
template <int READS, int WRITES>
static void write_heads(Cells c, Writing x, const V* before, V* after, V* read, V* inverse_norm) {
  int n = 0;
  for (; n + 2 <= c.slots; n += 2) write_slots<READS, WRITES, 2>(c, n, x, before, after, read, inverse_norm);
  for (; n < c.slots; n++) write_slots<READS, WRITES, 1>(c, n, x, before, after, read, inverse_norm);
}
// The same for any number of heads.
static void write_any_heads(Cells c, Writing x, const V* before, V* after, V* read, V* inverse_norm) {
  for (int n = 0; n < c.slots; n++) {
    V norm = splat(NORM_EPSILON);
    for (int w = 0; w < c.width; w++) {
      const int64_t at = int64_t(n) * c.width + w;
      V v = before[at];
      for (int q = 0; q < x.writes; q++)
        v *= splat(1.f) - x.weighting[int64_t(x.reads + q) * c.slots + n] * x.erase[q * c.width + w];
      for (int q = 0; q < x.writes; q++)
        v += x.weighting[int64_t(x.reads + q) * c.slots + n] * x.add[q * c.width + w];
      after[at] = v, norm += v * v;
      for (int h = 0; h < x.reads; h++) read[h * c.width + w] += x.weighting[int64_t(h) * c.slots + n] * v;
    }
    inverse_norm[n] = inverse_root(norm);
  }
}

struct WritingBack {
  V *d_memory;                // of the memory after the step; becomes that of the memory before
  const V* d_read;            // [read][width]
  V *d_weighting;             // [head][slot], added to
  V *d_erase, *d_add;         // [write][width], 0 at the start
  V* products;                // scratch of 2 vectors a write head
};

template <int READS, int WRITES, int COUNT>
ETM_INLINE void write_slots_back(Cells c, int n, Writing x, const V* before, WritingBack d) {
  V by_read[READS][COUNT], by_write[WRITES][COUNT], d_by_read[READS][COUNT], d_by_write[WRITES][COUNT];
  for (int b = 0; b < COUNT; b++) {
    for (int h = 0; h < READS; h++)
      by_read[h][b] = x.weighting[int64_t(h) * c.slots + n + b], d_by_read[h][b] = splat(0.f);
    for (int q = 0; q < WRITES; q++)
      by_write[q][b] = x.weighting[int64_t(READS + q) * c.slots + n + b], d_by_write[q][b] = splat(0.f);
  }
  const int64_t first = int64_t(n) * c.width;
  for (int w = 0; w < c.width; w++) {
    V d_erase[WRITES], d_add[WRITES];
#pragma GCC unroll 4
    for (int q = 0; q < WRITES; q++) d_erase[q] = d.d_erase[q * c.width + w], d_add[q] = d.d_add[q * c.width + w];
#pragma GCC unroll 4
    for (int b = 0; b < COUNT; b++) {
      const int64_t at = first + b * c.width + w;
      V left[WRITES];
#pragma GCC unroll 4
      for (int q = 0; q < WRITES; q++) left[q] = splat(1.f) - by_write[q][b] * x.erase[q * c.width + w];
      V all = left[0];
#pragma GCC unroll 4
      for (int q = 1; q < WRITES; q++) all *= left[q];
      V g = d.d_memory[at], m = before[at] * all;
#pragma GCC unroll 4
      for (int q = 0; q < WRITES; q++) m += by_write[q][b] * x.add[q * c.width + w];  // what was written
#pragma GCC unroll 4
      for (int h = 0; h < READS; h++) {
        const V dr = d.d_read[h * c.width + w];
        g += by_read[h][b] * dr, d_by_read[h][b] += m * dr;
      }
      const V old = g * before[at];
#pragma GCC unroll 4
      for (int q = 0; q < WRITES; q++) {
        V y = old;  // times what the other heads left
#pragma GCC unroll 4
        for (int j = 0; j < WRITES; j++)
          if (j != q) y *= left[j];
        d_by_write[q][b] += g * x.add[q * c.width + w] - y * x.erase[q * c.width + w];
        d_erase[q] -= y * by_write[q][b];
        d_add[q] += g * by_write[q][b];
      }
      d.d_memory[at] = g * all;
    }
#pragma GCC unroll 4
    for (int q = 0; q < WRITES; q++) d.d_erase[q * c.width + w] = d_erase[q], d.d_add[q * c.width + w] = d_add[q];
  }
  for (int b = 0; b < COUNT; b++) {
    for (int h = 0; h < READS; h++) d.d_weighting[int64_t(h) * c.slots + n + b] += d_by_read[h][b];
    for (int q = 0; q < WRITES; q++) d.d_weighting[int64_t(READS + q) * c.slots + n + b] += d_by_write[q][b];
  }
}
template <int READS, int WRITES>
static void write_heads_back(Cells c, Writing x, const V* before, WritingBack d) {
  int n = 0;
  for (; n + 2 <= c.slots; n += 2) write_slots_back<READS, WRITES, 2>(c, n, x, before, d);
  for (; n < c.slots; n++) write_slots_back<READS, WRITES, 1>(c, n, x, before, d);
}
// The same for any number of heads.
static void write_any_heads_back(Cells c, Writing x, const V* before, WritingBack d) {
  V *left = d.products, *earlier = d.products + x.writes;  // of each head; the product of those before it
  for (int n = 0; n < c.slots; n++)
    for (int w = 0; w < c.width; w++) {
      const int64_t at = int64_t(n) * c.width + w;
      V all = splat(1.f), m = splat(0.f);
      for (int q = 0; q < x.writes; q++) {
        left[q] = splat(1.f) - x.weighting[int64_t(x.reads + q) * c.slots + n] * x.erase[q * c.width + w];
        earlier[q] = all;
        all *= left[q];
        m += x.weighting[int64_t(x.reads + q) * c.slots + n] * x.add[q * c.width + w];
      }
      m += before[at] * all;  // what was written
      V g = d.d_memory[at];
      for (int h = 0; h < x.reads; h++) {
        g += x.weighting[int64_t(h) * c.slots + n] * d.d_read[h * c.width + w];
        d.d_weighting[int64_t(h) * c.slots + n] += m * d.d_read[h * c.width + w];
      }
      V old = g * before[at];  // times what the later heads left
      for (int q = x.writes - 1; q >= 0; q--) {
        const int64_t slot = int64_t(x.reads + q) * c.slots + n;
        const V by_write = x.weighting[slot], y = old * earlier[q];
        d.d_weighting[slot] += g * x.add[q * c.width + w] - y * x.erase[q * c.width + w];
        d.d_erase[q * c.width + w] -= y * by_write;
        d.d_add[q * c.width + w] += g * by_write;
        old *= left[q];
      }
      d.d_memory[at] = g * all;
    }
}

constexpr int MOST_READS = 4, MOST_WRITES = 3;  // with a form of their own, whose numbers stay in registers
typedef void (*Write)(Cells, Writing, const V*, V*, V*, V*);
typedef void (*WriteBack)(Cells, Writing, const V*, WritingBack);
#define ETM_EACH(f) \
  {f<1, 1>, f<1, 2>, f<1, 3>}, {f<2, 1>, f<2, 2>, f<2, 3>}, {f<3, 1>, f<3, 2>, f<3, 3>}, {f<4, 1>, f<4, 2>, f<4, 3>}
static constexpr Write WRITE[MOST_READS + 1][MOST_WRITES] = {
    {write_heads<0, 1>, write_heads<0, 2>, write_heads<0, 3>}, ETM_EACH(write_heads)};
static constexpr WriteBack WRITE_BACK[MOST_READS][MOST_WRITES] = {ETM_EACH(write_heads_back)};
#undef ETM_EACH

ETM_INLINE bool few(const Writing& x) { return x.reads <= MOST_READS && x.writes <= MOST_WRITES; }

// `after` may be `before`. Leaves what was read and 1/|slot| of the memory after. With no reads it only writes.
static void write_then_read(Cells c, Writing x, const V* before, V* after, V* read, V* inverse_norm) {
  for (int i = 0; i < x.reads * c.width; i++) read[i] = splat(0.f);
  (few(x) ? WRITE[x.reads][x.writes - 1] : write_any_heads)(c, x, before, after, read, inverse_norm);
}
static void write_then_read_back(Cells c, Writing x, const V* before, WritingBack d) {
  for (int i = 0; i < x.writes * c.width; i++) d.d_erase[i] = d.d_add[i] = splat(0.f);
  (few(x) ? WRITE_BACK[x.reads - 1][x.writes - 1] : write_any_heads_back)(c, x, before, d);
}

}  // namespace etm
