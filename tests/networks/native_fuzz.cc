// Random spaces, individuals and batches through the kernel, for the sanitizers: every buffer has exactly its size.
// Genes are within the space for two of three individuals, and any number for the others, which must be refused.
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "run.h"

using namespace etm;

static std::mt19937 source(0);
static int from(int low, int high) { return std::uniform_int_distribution<int>(low, high)(source); }

static int one_of(int64_t kinds) {
  for (;;)
    if (const int kind = from(0, NTM); kinds >> kind & 1) return kind;
}

static Space random_space() {
  Space s{};
  s.inputs = from(1, 4), s.outputs = from(1, 9);
  s.controllers = from(1, 15);
  s.memories = from(0, 1) << NO_MEMORY | from(0, 1) << TAPE | from(0, 1) << NTM;
  if (!s.memories) s.memories = 1 << NTM;
  const bool tape = s.memories >> TAPE & 1, ntm = s.memories >> NTM & 1, remembers = tape || ntm;
  s.units = from(1, 9);
  s.shift_range = from(1, 3);
  if (remembers) s.slots = from(2 * s.shift_range + 1, 12), s.width = from(1, 6);
  if (remembers) s.reads = from(1, 9), s.writes = from(1, 5);
  s.gating = ntm && from(0, 2);
  s.location = tape || s.gating ? 2 + 2 * s.shift_range : 0;
  if (!s.location) s.shift_range = 0;
  for (int g = 0; g < MAX_GATES; g++) {
    bool in = false, units = false;
    for (int kind = LSTM; kind <= FEEDFORWARD; kind++) {
      if (!(s.controllers >> kind & 1) || (kind > GRU && g)) continue;
      in |= from_inputs(Controller(kind), g), units |= kind != FEEDFORWARD && from_units(Controller(kind), g);
    }
    s.input_place[g] = in ? s.input_gates++ : -1;
    s.unit_place[g] = units ? s.unit_gates++ : -1;
    s.gate_place[g] = in || units ? s.gates++ : -1;
  }
  for (int a = 0, next = 0; a < NUM_ARRAYS; a++) {
    const bool shared = a == LOCATION || a == LOCATION_BIAS || a == ADD || a == ADD_BIAS;
    const bool memory = a >= KEY && a <= ADD_BIAS;
    const bool there = memory ? (shared ? remembers : ntm) : a != RECURRENT || s.unit_gates;
    s.argument[a] = there ? next++ : -1;
  }
  return s;
}

int main() {
  int ran = 0, refused = 0;
  for (int round = 0; round < 400; round++) {
    Call c{};
    c.space = random_space();
    const Space& s = c.space;
    const int shift = from(1, s.shift_range > 1 ? s.shift_range : 1);
    int32_t genes[NUM_GENES] = {s.slots ? from(2 * shift + 1, s.slots) : 1,
                                s.width ? from(1, s.width) : 1,
                                s.reads ? from(1, s.reads) : 1,
                                s.writes ? from(1, s.writes) : 1,
                                from(1, s.units),
                                shift,
                                s.gating ? from(0, 1) : 0,
                                one_of(s.controllers),
                                one_of(s.memories)};
    if (round % 3 == 0)
      for (int i = 0; i < 2; i++) genes[from(0, NUM_GENES - 1)] = int32_t(source());
    c.genes = genes;
    c.episodes = from(0, 40), c.steps = from(0, 7), c.segment = from(1, 8);
    std::vector<std::vector<float>> arrays(NUM_ARRAYS), back(NUM_ARRAYS);
    const float* params[NUM_ARRAYS] = {};
    float* to[NUM_ARRAYS] = {};
    auto random = [&](int64_t count) {
      std::vector<float> x(count);
      for (float& each : x) each = std::normal_distribution<float>(0, 1)(source);
      return x;
    };
    for (int a = 0; a < NUM_ARRAYS; a++) {
      const int64_t size = s.has(Array(a)) ? s.size(a) : 0;
      arrays[a] = random(size), back[a].resize(size);
      if (s.has(Array(a))) params[a] = arrays[a].data(), to[a] = back[a].data();
    }
    c.live_length = round % 4 ? live_of(largest(s)).length : from(1, 200);
    std::vector<float> live(c.live_length), gradients(c.live_length);
    std::unique_ptr<bool[]> exists(new bool[c.live_length]);
    int32_t used = 0;
    c.live = live.data();
    const std::vector<float> inputs = random(c.episodes * c.steps * s.inputs);
    const std::vector<float> d_outputs = random(c.episodes * c.steps * s.outputs);
    std::vector<float> outputs(d_outputs.size()), d_inputs(inputs.size());
    std::vector<float> weightings(c.episodes * c.steps * (s.reads + s.writes) * s.slots);
    c.inputs = inputs.data();
    const int64_t kept_floats = kept_of_batch(s, c.episodes, c.steps, c.segment);
    float* kept = (float*)aligned_alloc(64, round_up(kept_floats * 4 + 64, 64));
    const char* wrong = places(s, genes, exists.get(), c.live_length, &used);
    if (!wrong) wrong = gather(s, genes, params, live.data(), c.live_length);
    if (!wrong) wrong = run_forward(c, outputs.data(), weightings.data(), kept);
    if (!wrong) wrong = run_forward(c, outputs.data(), nullptr, nullptr);
    if (!wrong && c.segment >= c.steps && round % 5 == 0) memset(kept, 0, 8);  // traces that are gone are made again
    if (!wrong) wrong = run_backward(c, kept, d_outputs.data(), d_inputs.data(), gradients.data());
    if (!wrong) wrong = scatter(s, genes, gradients.data(), c.live_length, to);
    free(kept);
    wrong ? refused++ : ran++;
    if (wrong) continue;
    for (const auto* each : {&outputs, &weightings, &d_inputs, &gradients})
      for (float x : *each)
        if (!std::isfinite(x)) return printf("round %d: not finite\n", round), 1;
    for (int64_t i = 0; i < c.live_length; i++)
      if (!exists[i] && (live[i] || gradients[i])) return printf("round %d: not 0 where nothing is\n", round), 1;
  }
  printf("%d ran, %d refused\n", ran, refused);
  return ran < 200 || refused < 50;
}
