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

// Genes, inputs and params of a call, which begin the arguments of every function.
ffi::Error call_of(ffi::Span<const int64_t> numbers, int64_t segment, const ffi::RemainingArgs& args, Call& c) {
  if (numbers.size() != SPACE_LENGTH) return invalid("space has another length than this library's");
  c.space = space_of(numbers.begin());
  auto genes = args.get<ffi::AnyBuffer>(0), inputs = args.get<ffi::AnyBuffer>(1);
  if (!genes || !holds(*genes, ffi::DataType::S32, NUM_GENES)) return invalid("genes must be int32 [9]");
  if (!inputs || inputs->element_type() != ffi::DataType::F32 || inputs->dimensions().size() != 3 ||
      inputs->dimensions()[2] != c.space.inputs)
    return invalid("inputs must be float32 [batch time input]");
  c.genes = (const int32_t*)genes->untyped_data();
  c.episodes = inputs->dimensions()[0], c.steps = inputs->dimensions()[1];
  c.inputs = (const float*)inputs->untyped_data();
  if (segment < 1 || c.steps > INT32_MAX) return invalid("segment must be at least 1, and time below 2^31");
  c.segment = segment;
  for (int a = 0; a < NUM_ARRAYS; a++) {
    c.params[a] = nullptr;
    if (c.space.argument[a] < 0) continue;
    auto array = args.get<ffi::AnyBuffer>(2 + c.space.argument[a]);
    if (!array || !holds(*array, ffi::DataType::F32, c.space.size(a))) return invalid("an array has the wrong size");
    c.params[a] = (const float*)array->untyped_data();
  }
  return ffi::Error::Success();
}

ffi::Error result(const ffi::RemainingRets& rets, size_t index, int64_t count, float** to) {
  auto found = rets.get<ffi::AnyBuffer>(index);
  if (!found || !holds(**found, ffi::DataType::F32, count)) return invalid("a result has the wrong size");
  *to = (float*)(*found)->untyped_data();
  return ffi::Error::Success();
}
bool aligned(const float* p) { return (uintptr_t)p % alignof(V) == 0; }
ffi::Error finish(const char* wrong) { return wrong ? invalid(wrong) : ffi::Error::Success(); }

#define ETM_TRY(call) \
  if (auto error = (call); error.failure()) return error

// -> outputs [batch time output], and where asked for what the backward pass needs
ffi::Error forward_call(ffi::Span<const int64_t> space, int64_t segment, ffi::RemainingArgs args,
                        ffi::RemainingRets rets) {
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
ffi::Error weightings_call(ffi::Span<const int64_t> space, int64_t segment, ffi::RemainingArgs args,
                           ffi::RemainingRets rets) {
  Call c;
  ETM_TRY(call_of(space, segment, args, c));
  float* weightings;
  const int64_t focus = (c.space.reads + c.space.writes) * c.space.slots;
  ETM_TRY(result(rets, 0, c.episodes * c.steps * focus, &weightings));
  return finish(run_forward(c, nullptr, weightings, nullptr));
}

// after the params: kept, cotangents of the outputs -> gradients of the inputs and of the params
ffi::Error backward_call(ffi::Span<const int64_t> space, int64_t segment, ffi::RemainingArgs args,
                         ffi::RemainingRets rets) {
  Call c;
  ETM_TRY(call_of(space, segment, args, c));
  size_t arrays = 0;
  for (int a = 0; a < NUM_ARRAYS; a++) arrays += c.space.has(Array(a));
  auto kept = args.get<ffi::AnyBuffer>(2 + arrays), d_outputs = args.get<ffi::AnyBuffer>(3 + arrays);
  if (!kept || !holds(*kept, ffi::DataType::F32, kept_of_batch(c.space, c.episodes, c.steps, segment)) ||
      !aligned((const float*)kept->untyped_data()))
    return invalid("what the forward pass kept has the wrong size");
  if (!d_outputs || !holds(*d_outputs, ffi::DataType::F32, c.episodes * c.steps * c.space.outputs))
    return invalid("cotangents have the wrong size");
  float *d_inputs, *gradients[NUM_ARRAYS];
  ETM_TRY(result(rets, 0, c.episodes * c.steps * c.space.inputs, &d_inputs));
  for (int a = 0; a < NUM_ARRAYS; a++) {
    gradients[a] = nullptr;
    if (c.space.has(Array(a))) ETM_TRY(result(rets, 1 + c.space.argument[a], c.space.size(a), &gradients[a]));
  }
  return finish(run_backward(c, (const float*)kept->untyped_data(), (const float*)d_outputs->untyped_data(), d_inputs,
                             gradients));
}

}  // namespace
}  // namespace etm

#define ETM_HANDLER(name, function)                                                                             \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function,                                                                 \
                                ffi::Ffi::Bind()                                                                \
                                    .Attr<ffi::Span<const int64_t>>("space")                                    \
                                    .Attr<int64_t>("segment")                                                   \
                                    .RemainingArgs()                                                            \
                                    .RemainingRets())
ETM_HANDLER(EtmForward, etm::forward_call);
ETM_HANDLER(EtmWeightings, etm::weightings_call);
ETM_HANDLER(EtmBackward, etm::backward_call);

extern "C" const char* etm_key() { return ETM_KEY; }
extern "C" int64_t etm_kept_floats(const int64_t* space, int64_t episodes, int64_t steps, int64_t segment) {
  return etm::kept_of_batch(etm::space_of(space), episodes, steps, segment);
}
