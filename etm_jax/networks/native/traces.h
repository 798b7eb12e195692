// Traces that forward passes leave for their backward passes, kept here from one call to the next: as results they
// would be allocated and fetched from new memory in every step.
#pragma once
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "layout.h"

namespace etm {

// Room for the traces of one call, and the call's number; 0 for none.
struct Kept {
  Arena room;
  uint64_t number = 0, used = 0;  // `used`: when it was taken last
  bool busy = false, wanted = false;
};

// As many as there are threads that may call, and one more. A trace that is gone is made again, to the same bits.
class Traces {
 public:
  // Room for a new trace, with a number of its own: of those that no backward pass still wants the one used last, or
  // else the one used longest ago.
  Kept* make() {
    std::lock_guard<std::mutex> lock(mutex);
    Kept* best = nullptr;
    for (auto& each : all) {
      if (each->busy) continue;
      const bool better = !best || (each->wanted != best->wanted ? !each->wanted
                                    : each->wanted              ? each->used < best->used
                                                                : each->used > best->used);
      if (better) best = each.get();
    }
    if (!best || (best->wanted && all.size() < most)) {
      all.push_back(std::make_unique<Kept>());
      best = all.back().get();
    }
    best->number = ++last;
    return take(best);
  }
  // The trace of this number, or nullptr where it is gone.
  Kept* find(uint64_t number) {
    std::lock_guard<std::mutex> lock(mutex);
    for (auto& each : all)
      if (each->number == number && !each->busy) return take(each.get());
    return nullptr;
  }
  void give_back(Kept* kept, bool wanted) {
    std::lock_guard<std::mutex> lock(mutex);
    kept->busy = false, kept->wanted = wanted;
  }

 private:
  Kept* take(Kept* kept) {
    kept->busy = true, kept->used = ++clock;
    return kept;
  }
  std::mutex mutex;
  std::vector<std::unique_ptr<Kept>> all;
  const size_t most = std::thread::hardware_concurrency() + 1;
  uint64_t last = 0, clock = 0;
};

}  // namespace etm
