// The weighting of one head of one half over the slots, and its gradients: Graves 2014, eq. 5 to 9.
#pragma once
#include "layout.h"

namespace etm {

ETM_INLINE V clip(V x) { return at_most(at_least(x, splat(-INTERFACE_LIMIT)), splat(INTERFACE_LIMIT)); }
// A cotangent of a clipped field, of the field.
ETM_INLINE V through_clip(V field, V d) { return absolute(field) < splat(INTERFACE_LIMIT) ? d : splat(0.f); }

// out = exp(logit). Returns 1 / their sum.
template <class F>
ETM_INLINE V exponentials(int count, V* out, F logit) {
  V sum = splat(0.f);
  for (int n = 0; n < count; n++) out[n] = exponential(logit(n)), sum += out[n];
  return splat(1.f) / sum;
}
ETM_INLINE void times(int count, V* x, V scale) {
  for (int n = 0; n < count; n++) x[n] *= scale;
}

// Room of an address: `margin` holds the slots with S more on either side, for the circular shift.
struct Room {
  V *margin, *margin_back, *shift, *shift_back;

  void take(Arena& a, const Sizes& z) {
    margin = a.vectors(z.slots + 2 * z.shift_range);
    margin_back = a.vectors(z.slots + 2 * z.shift_range);
    shift = a.vectors(z.shifts);
    shift_back = a.vectors(z.shifts);
  }
};
ETM_INLINE void wrap(V* slot, int slots, int range) {  // modulo the slots that exist
  for (int d = 1; d <= range; d++) slot[-d] = slot[slots - d], slot[slots + d - 1] = slot[d - 1];
}

// What a head leaves, each over the slots of one half.
struct Focus {
  const V *score, *previous;  // key . slot / |slot|; the weighting of the step before
  V *content, *logarithm, *weighting;
};

ETM_INLINE V key_norm(const Sizes& z, const V* key) {
  V norm = splat(NORM_EPSILON);
  for (int i = 0; i < z.width; i++) norm += key[i] * key[i];
  return inverse_root(norm);
}

// exp(logit) stays within range without taking off the largest: a field is at most INTERFACE_LIMIT.
ETM_INLINE void shifts_of(const Sizes& z, const V* move, V* shift) {
  times(z.shifts, shift, exponentials(z.shifts, shift, [&](int i) { return clip(move[1 + i]); }));
}
ETM_INLINE V shifted(const V* shift, int range, const V* gated) {  // eq. 8, of one slot
  V sum = splat(LOG_EPSILON);
  for (int d = -range; d <= range; d++) sum += shift[range + d] * gated[-d];
  return sum;
}

static void address(const Sizes& z, int h, const V* fields, const V* key, Focus x, Room room) {
  const int slots = z.slots, range = z.shift_range;
  V scale = splat(0.f);
  if (z.content) {  // eq. 5; a cosine is at most 1, so these logits too are at most INTERFACE_LIMIT
    const V strength = softplus(clip(fields[z.strength + h])) * key_norm(z, key);
    V* to = z.located ? x.content : x.weighting;
    scale = exponentials(slots, to, [&](int n) { return strength * x.score[n]; });
    if (!z.located) return times(slots, to, scale);
  }
  const V* move = fields + z.location + h * z.moves;
  const V sharpening = splat(1.f) + softplus(clip(move[0]));
  V *shift = room.shift, *gated = room.margin + range;
  shifts_of(z, move, shift);
  if (z.gated) {
    const V gate = sigmoid(clip(fields[z.gating + h])), stay = splat(1.f) - gate;
    for (int n = 0; n < slots; n++) {
      x.content[n] *= scale;
      gated[n] = gate * x.content[n] + stay * x.previous[n];  // eq. 7
    }
  } else {
    memcpy(gated, x.previous, slots * sizeof(V));  // a tape moves from where it is
  }
  wrap(gated, slots, range);
  V most = splat(-INFINITY);
  auto shift_all = [&](int reach) __attribute__((always_inline)) {
    for (int n = 0; n < slots; n++) {
      const V log = logarithm(shifted(shift, reach, gated + n));
      x.logarithm[n] = log, most = at_least(log, most);
    }
  };
  range == 1 ? shift_all(1) : shift_all(range);
  most *= sharpening;
  scale = exponentials(slots, x.weighting, [&](int n) { return sharpening * x.logarithm[n] - most; });
  times(slots, x.weighting, scale);  // eq. 9, in log space
}

// What goes back through a head.
struct FocusBack {
  V* d_weighting;    // of the head's weighting; becomes that of the step before's
  V* d_score;        // out: of key . slot, ready for `compare_back`
  V* shrink;         // added to: the part of each slot's norm
  const V* inverse_norm;
  V* d_fields;       // out: strength, gate, location of this head
  V* d_key_norm;     // out: times the key, what its norm takes off its gradient
};

// Of w = softmax(z), dz = w (dw - sum of w dw).
static void address_back(const Sizes& z, int h, const V* fields, const V* key, Focus x, FocusBack d, Room room) {
  const int slots = z.slots, range = z.shift_range;
  V *dw = d.d_weighting, *d_content = d.d_score;
  const V* content = z.located ? x.content : x.weighting;
  V mean = splat(0.f);  // of the cotangents of what eq. 5 gives
  if (z.located) {
    const V* move = fields + z.location + h * z.moves;
    V* d_move = d.d_fields + z.location + h * z.moves;
    const V raw_gate = z.gated ? fields[z.gating + h] : splat(0.f);
    const V gate = z.gated ? sigmoid(clip(raw_gate)) : splat(0.f), stay = splat(1.f) - gate;
    const V sharpening = splat(1.f) + softplus(clip(move[0]));
    V *shift = room.shift, *d_shift = room.shift_back;
    V *gated = room.margin + range, *d_shifted = room.margin_back + range;
    shifts_of(z, move, shift);
    V dot = splat(0.f);
    for (int n = 0; n < slots; n++) {
      gated[n] = z.gated ? gate * content[n] + stay * x.previous[n] : x.previous[n];
      dot += x.weighting[n] * dw[n];
    }
    wrap(gated, slots, range);
    V d_sharpening = splat(0.f), d_gate = splat(0.f);
    auto unshift = [&](int reach) __attribute__((always_inline)) {
      for (int n = 0; n < slots; n++) {  // eq. 9: logits sharpening * log(shifted)
        const V dz = x.weighting[n] * (dw[n] - dot);
        d_sharpening += dz * x.logarithm[n];
        d_shifted[n] = dz * sharpening * reciprocal(shifted(shift, reach, gated + n));
      }
      wrap(d_shifted, slots, reach);
      for (int i = 0; i <= 2 * reach; i++) d_shift[i] = splat(0.f);
      for (int n = 0; n < slots; n++) {  // eq. 8
        V d_gated = splat(0.f);
        for (int i = -reach; i <= reach; i++) {
          d_shift[reach + i] += d_shifted[n] * gated[n - i];
          d_gated += shift[reach + i] * d_shifted[n + i];
        }
        if (z.gated) {  // eq. 7
          d_gate += d_gated * (content[n] - x.previous[n]);
          d_content[n] = gate * d_gated, mean += content[n] * d_content[n];
        }
        dw[n] = stay * d_gated;
      }
    };
    range == 1 ? unshift(1) : unshift(range);
    if (z.gated) d.d_fields[z.gating + h] = through_clip(raw_gate, d_gate * gate * stay);
    d_move[0] = through_clip(move[0], d_sharpening * sigmoid(clip(move[0])));
    dot = splat(0.f);
    for (int i = 0; i < z.shifts; i++) dot += shift[i] * d_shift[i];
    for (int i = 0; i < z.shifts; i++) d_move[1 + i] = through_clip(move[1 + i], shift[i] * (d_shift[i] - dot));
    if (!z.content) return;
  } else {
    for (int n = 0; n < slots; n++) {
      d_content[n] = dw[n], dw[n] = splat(0.f);
      mean += content[n] * d_content[n];
    }
  }
  const V raw = fields[z.strength + h], strength = softplus(clip(raw)), norm = key_norm(z, key);
  const V scale = strength * norm;
  V d_scale = splat(0.f);
  for (int n = 0; n < slots; n++) {  // eq. 5 and 6
    const V dz = content[n] * (d_content[n] - mean), each = dz * x.score[n];
    d_scale += each;
    d.shrink[n] += each * scale;
    d.d_score[n] = dz * scale * d.inverse_norm[n];
  }
  d.d_fields[z.strength + h] = through_clip(raw, d_scale * norm * sigmoid(clip(raw)));
  *d.d_key_norm = -d_scale * strength * norm * norm * norm;
}

}  // namespace etm
