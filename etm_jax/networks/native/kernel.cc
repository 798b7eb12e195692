// The library's entry points: XLA's foreign functions, and two plain ones.
#include "run.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

#ifndef ETM_KEY
#define ETM_KEY ""
#endif

namespace etm {
namespace {

ffi::Error invalid(std::string text) { return ffi::Error::InvalidArgument("native kernel: " + text); }

template <class Buffer>
bool holds(const Buffer& b, ffi::DataType type, int64_t count) {
  return b.element_type() == type && int64_t(b.element_count()) == count;
}

Space space_of(const int64_t* numbers) {
  Space space;
  memcpy(&space, numbers, sizeof space);
  return space;
}

bool aligned(const float* p) { return (uintptr_t)p % alignof(V) == 0; }
ffi::Error finish(const char* wrong) { return wrong ? invalid(wrong) : ffi::Error::Success(); }

using Numbers = ffi::Span<const int64_t>;

#define ETM_TRY(call) \
  if (auto error = (call); error.failure()) return error

ffi::Error argument(const ffi::RemainingArgs& args, size_t index, int64_t count, const float** to) {
  auto found = args.get<ffi::AnyBuffer>(index);
  if (!found || !holds(*found, ffi::DataType::F32, count)) return invalid("an array has the wrong size");
  *to = (const float*)found->untyped_data();
  return ffi::Error::Success();
}
template <class T>
ffi::Error result(const ffi::RemainingRets& rets, size_t index, ffi::DataType type, int64_t count, T** to) {
  auto found = rets.get<ffi::AnyBuffer>(index);
  if (!found || !holds(**found, type, count)) return invalid("a result has the wrong size");
  *to = (T*)(*found)->untyped_data();
  return ffi::Error::Success();
}
ffi::Error result(const ffi::RemainingRets& rets, size_t index, int64_t count, float** to) {
  return result(rets, index, ffi::DataType::F32, count, to);
}
int64_t length_of(const ffi::RemainingArgs& args, size_t index) {
  auto found = args.get<ffi::AnyBuffer>(index);
  return found ? int64_t(found->element_count()) : -1;
}
int64_t length_of(const ffi::RemainingRets& rets, size_t index) {
  auto found = rets.get<ffi::AnyBuffer>(index);
  return found ? int64_t((*found)->element_count()) : -1;
}

// What begins the arguments of every function.
ffi::Error individual_of(Numbers numbers, const ffi::RemainingArgs& args, Space& space, const int32_t*& genes) {
  if (numbers.size() != SPACE_LENGTH) return invalid("space has another length than this library's");
  space = space_of(numbers.begin());
  auto found = args.get<ffi::AnyBuffer>(0);
  if (!found || !holds(*found, ffi::DataType::S32, NUM_GENES)) return invalid("genes must be int32 [9]");
  genes = (const int32_t*)found->untyped_data();
  return ffi::Error::Success();
}

// genes, padded arrays -> live [length]
ffi::Error gather_call(Numbers numbers, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Space space;
  const int32_t* genes;
  ETM_TRY(individual_of(numbers, args, space, genes));
  const float* params[NUM_ARRAYS] = {};
  for (int a = 0; a < NUM_ARRAYS; a++)
    if (space.has(Array(a))) ETM_TRY(argument(args, 1 + space.argument[a], space.size(a), &params[a]));
  const int64_t length = length_of(rets, 0);
  float* live;
  ETM_TRY(result(rets, 0, length, &live));
  return finish(gather(space, genes, params, live, length));
}

// genes, live -> padded arrays
ffi::Error scatter_call(Numbers numbers, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Space space;
  const int32_t* genes;
  ETM_TRY(individual_of(numbers, args, space, genes));
  const int64_t length = length_of(args, 1);
  const float* live;
  ETM_TRY(argument(args, 1, length, &live));
  float* params[NUM_ARRAYS] = {};
  for (int a = 0; a < NUM_ARRAYS; a++)
    if (space.has(Array(a))) ETM_TRY(result(rets, space.argument[a], space.size(a), &params[a]));
  return finish(scatter(space, genes, live, length, params));
}

// genes -> exists bool [length], used int32 [1]
ffi::Error places_call(Numbers numbers, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Space space;
  const int32_t* genes;
  ETM_TRY(individual_of(numbers, args, space, genes));
  const int64_t length = length_of(rets, 0);
  bool* exists;
  int32_t* used;
  ETM_TRY(result(rets, 0, ffi::DataType::PRED, length, &exists));
  ETM_TRY(result(rets, 1, ffi::DataType::S32, 1, &used));
  return finish(places(space, genes, exists, length, used));
}

// Genes, live weights and inputs, which begin the arguments of every pass.
ffi::Error call_of(Numbers numbers, int64_t segment, const ffi::RemainingArgs& args, Call& c) {
  ETM_TRY(individual_of(numbers, args, c.space, c.genes));
  c.live_length = length_of(args, 1);
  ETM_TRY(argument(args, 1, c.live_length, &c.live));
  auto inputs = args.get<ffi::AnyBuffer>(2);
  if (!inputs || inputs->element_type() != ffi::DataType::F32 || inputs->dimensions().size() != 3 ||
      inputs->dimensions()[2] != c.space.inputs)
    return invalid("inputs must be float32 [batch time input]");
  c.episodes = inputs->dimensions()[0], c.steps = inputs->dimensions()[1];
  c.inputs = (const float*)inputs->untyped_data();
  if (segment < 1 || c.steps > INT32_MAX) return invalid("segment must be at least 1, and time below 2^31");
  c.segment = segment;
  return ffi::Error::Success();
}

// -> outputs [batch time output], and where asked for what the backward pass needs
ffi::Error forward_call(Numbers space, int64_t segment, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Call c;
  ETM_TRY(call_of(space, segment, args, c));
  float *outputs, *kept = nullptr;
  ETM_TRY(result(rets, 0, c.episodes * c.steps * c.space.outputs, &outputs));
  if (rets.size() > 1) {
    ETM_TRY(result(rets, 1, kept_of_batch(c.space, c.episodes, c.steps, segment), &kept));
    if (!aligned(kept)) return invalid("a result is not aligned");
  }
  return finish(run_forward(c, outputs, nullptr, kept));
}

// -> weightings [batch time head slot]
ffi::Error weightings_call(Numbers space, int64_t segment, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Call c;
  ETM_TRY(call_of(space, segment, args, c));
  float* weightings;
  const int64_t focus = (c.space.reads + c.space.writes) * c.space.slots;
  ETM_TRY(result(rets, 0, c.episodes * c.steps * focus, &weightings));
  return finish(run_forward(c, nullptr, weightings, nullptr));
}

// after the inputs: kept, cotangents of the outputs -> gradients of the inputs and of the live weights
ffi::Error backward_call(Numbers space, int64_t segment, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  Call c;
  ETM_TRY(call_of(space, segment, args, c));
  const float *kept, *d_outputs;
  ETM_TRY(argument(args, 3, kept_of_batch(c.space, c.episodes, c.steps, segment), &kept));
  if (!aligned(kept)) return invalid("what the forward pass kept is not aligned");
  ETM_TRY(argument(args, 4, c.episodes * c.steps * c.space.outputs, &d_outputs));
  float *d_inputs, *gradients;
  ETM_TRY(result(rets, 0, c.episodes * c.steps * c.space.inputs, &d_inputs));
  ETM_TRY(result(rets, 1, c.live_length, &gradients));
  return finish(run_backward(c, kept, d_outputs, d_inputs, gradients));
}

}  // namespace
}  // namespace etm

#define ETM_BINDING ffi::Ffi::Bind().Attr<ffi::Span<const int64_t>>("space")
#define ETM_HANDLER(name, function, binding) \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, binding.RemainingArgs().RemainingRets())
ETM_HANDLER(EtmGather, etm::gather_call, ETM_BINDING);
ETM_HANDLER(EtmScatter, etm::scatter_call, ETM_BINDING);
ETM_HANDLER(EtmPlaces, etm::places_call, ETM_BINDING);
ETM_HANDLER(EtmForward, etm::forward_call, ETM_BINDING.Attr<int64_t>("segment"));
ETM_HANDLER(EtmWeightings, etm::weightings_call, ETM_BINDING.Attr<int64_t>("segment"));
ETM_HANDLER(EtmBackward, etm::backward_call, ETM_BINDING.Attr<int64_t>("segment"));

extern "C" const char* etm_key() { return ETM_KEY; }
extern "C" int64_t etm_kept_floats(const int64_t* space, int64_t episodes, int64_t steps, int64_t segment) {
  return etm::kept_of_batch(etm::space_of(space), episodes, steps, segment);
}
// Of the traces of any individual.
extern "C" int64_t etm_trace_floats(const int64_t* space, int64_t episodes, int64_t steps) {
  return etm::trace_floats(etm::largest(etm::space_of(space)), episodes, steps, true);
}
// Of the vector that holds the live weights of any individual.
extern "C" int64_t etm_live_length(const int64_t* space) {
  return etm::live_of(etm::largest(etm::space_of(space))).length;
}
