// SPDX-License-Identifier: Apache-2.0
// Binds the calling thread to fixed cores for a while.
#ifndef FORALL_LATENCY_MEASURE_CORE_PIN_H_
#define FORALL_LATENCY_MEASURE_CORE_PIN_H_

#include <string>
#include <vector>

namespace forall {

// Binds to the last `cores` of the cores that the thread may use (the first one serves most
// interrupts); threads started meanwhile inherit it. Undone in the destructor, which must run in
// the same thread.
class ScopedCorePin {
 public:
  explicit ScopedCorePin(int cores);
  ~ScopedCorePin();
  ScopedCorePin(const ScopedCorePin&) = delete;
  ScopedCorePin& operator=(const ScopedCorePin&) = delete;

  // Empty when it was refused.
  const std::vector<int>& cores() const { return cores_; }
  // Why it was refused; "" when it was not.
  const std::string& refusal() const { return refusal_; }

 private:
  std::vector<int> before_;
  std::vector<int> cores_;
  std::string refusal_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_CORE_PIN_H_
