// The weighting of one head of one half over the slots, and its gradients: Graves 2014, eq. 5 to 9.
#pragma once
#include "layout.h"

namespace etm {

ETM_INLINE V clip(V x) { return at_most(at_least(x, splat(-INTERFACE_LIMIT)), splat(INTERFACE_LIMIT)); }
// A cotangent of a clipped field, of the field.
ETM_INLINE V through_clip(V field, V d) { return absolute(field) < splat(INTERFACE_LIMIT) ? d : splat(0.f); }

template <class F>
ETM_INLINE void softmax(int count, V* out, F logit) {
  V most = logit(0);
  for (int n = 0; n < count; n++) {
    const V z = logit(n);
    out[n] = z, most = at_least(z, most);
  }
  V sum = splat(0.f);
  for (int n = 0; n < count; n++) out[n] = exponential(out[n] - most), sum += out[n];
  const V scale = splat(1.f) / sum;
  for (int n = 0; n < count; n++) out[n] *= scale;
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

static void address(const Sizes& z, int h, const V* fields, const V* key, Focus x, Room room) {
  const int slots = z.slots, range = z.shift_range;
  if (z.content) {
    const V strength = softplus(clip(fields[z.strength + h])) * key_norm(z, key);
    V* to = z.located ? x.content : x.weighting;
    softmax(slots, to, [&](int n) { return strength * x.score[n]; });  // eq. 5
    if (!z.located) return;
  }
  const V* move = fields + z.location + h * z.moves;
  const V sharpening = splat(1.f) + softplus(clip(move[0]));
  V *shift = room.shift, *gated = room.margin + range;
  softmax(z.shifts, shift, [&](int i) { return clip(move[1 + i]); });
  if (z.gated) {
    const V gate = sigmoid(clip(fields[z.gating + h])), stay = splat(1.f) - gate;
    for (int n = 0; n < slots; n++) gated[n] = gate * x.content[n] + stay * x.previous[n];  // eq. 7
  } else {
    memcpy(gated, x.previous, slots * sizeof(V));  // a tape moves from where it is
  }
  wrap(gated, slots, range);
  if (range == 1) {
    for (int n = 0; n < slots; n++)
      x.logarithm[n] = logarithm(shift[0] * gated[n + 1] + shift[1] * gated[n] + shift[2] * gated[n - 1]  // eq. 8
                                 + splat(LOG_EPSILON));
  } else {
    for (int n = 0; n < slots; n++) {
      V sum = splat(LOG_EPSILON);
      for (int d = -range; d <= range; d++) sum += shift[range + d] * gated[n - d];  // eq. 8
      x.logarithm[n] = logarithm(sum);
    }
  }
  softmax(slots, x.weighting, [&](int n) { return sharpening * x.logarithm[n]; });  // eq. 9, in log space
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

// dz of w = softmax(z), given dw: w (dw - sum w dw).
ETM_INLINE V weighted(int count, const V* w, const V* d) {
  V sum = splat(0.f);
  for (int n = 0; n < count; n++) sum += w[n] * d[n];
  return sum;
}

static void address_back(const Sizes& z, int h, const V* fields, const V* key, Focus x, FocusBack d, Room room) {
  const int slots = z.slots, range = z.shift_range;
  V *dw = d.d_weighting, *d_content = d.d_score;
  const V* content = z.located ? x.content : x.weighting;
  if (z.located) {
    const V* move = fields + z.location + h * z.moves;
    V* d_move = d.d_fields + z.location + h * z.moves;
    const V raw_gate = z.gated ? fields[z.gating + h] : splat(0.f);
    const V gate = z.gated ? sigmoid(clip(raw_gate)) : splat(0.f), stay = splat(1.f) - gate;
    const V sharpening = splat(1.f) + softplus(clip(move[0]));
    V *shift = room.shift, *d_shift = room.shift_back;
    V *gated = room.margin + range, *d_shifted = room.margin_back + range;
    softmax(z.shifts, shift, [&](int i) { return clip(move[1 + i]); });
    for (int n = 0; n < slots; n++)
      gated[n] = z.gated ? gate * content[n] + stay * x.previous[n] : x.previous[n];

    const V dot = weighted(slots, x.weighting, dw);
    V d_sharpening = splat(0.f);
    for (int n = 0; n < slots; n++) {  // eq. 9: logits sharpening * log(shifted)
      const V dz = x.weighting[n] * (dw[n] - dot);
      d_sharpening += dz * x.logarithm[n];
      d_shifted[n] = dz * sharpening * exponential(-x.logarithm[n]);
    }
    wrap(gated, slots, range), wrap(d_shifted, slots, range);
    V d_gate = splat(0.f);
    auto through_gate = [&](int n, V d_gated) {  // eq. 7
      if (z.gated) d_gate += d_gated * (content[n] - x.previous[n]), d_content[n] = gate * d_gated;
      dw[n] = stay * d_gated;
    };
    if (range == 1) {  // eq. 8
      V down = splat(0.f), same = down, up = down;
      for (int n = 0; n < slots; n++) {
        const V s = d_shifted[n];
        down += s * gated[n + 1], same += s * gated[n], up += s * gated[n - 1];
        through_gate(n, shift[0] * d_shifted[n - 1] + shift[1] * s + shift[2] * d_shifted[n + 1]);
      }
      d_shift[0] = down, d_shift[1] = same, d_shift[2] = up;
    } else {
      for (int i = -range; i <= range; i++) {
        V sum = splat(0.f);
        for (int n = 0; n < slots; n++) sum += d_shifted[n] * gated[n - i];
        d_shift[range + i] = sum;
      }
      for (int n = 0; n < slots; n++) {
        V sum = splat(0.f);
        for (int i = -range; i <= range; i++) sum += shift[range + i] * d_shifted[n + i];
        through_gate(n, sum);
      }
    }
    if (z.gated) d.d_fields[z.gating + h] = through_clip(raw_gate, d_gate * gate * stay);
    d_move[0] = through_clip(move[0], d_sharpening * sigmoid(clip(move[0])));
    const V mean = weighted(z.shifts, shift, d_shift);
    for (int i = 0; i < z.shifts; i++) d_move[1 + i] = through_clip(move[1 + i], shift[i] * (d_shift[i] - mean));
    if (!z.content) return;
  } else {
    for (int n = 0; n < slots; n++) d_content[n] = dw[n], dw[n] = splat(0.f);
  }
  const V raw = fields[z.strength + h], strength = softplus(clip(raw)), norm = key_norm(z, key);
  const V scale = strength * norm, dot = weighted(slots, content, d_content);
  V d_scale = splat(0.f);
  for (int n = 0; n < slots; n++) {  // eq. 5 and 6
    const V dz = content[n] * (d_content[n] - dot), each = dz * x.score[n];
    d_scale += each;
    d.shrink[n] += each * scale;
    d.d_score[n] = dz * scale * d.inverse_norm[n];
  }
  d.d_fields[z.strength + h] = through_clip(raw, d_scale * norm * sigmoid(clip(raw)));
  *d.d_key_norm = -d_scale * strength * norm * norm * norm;
}

}  // namespace etm
