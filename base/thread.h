// SPDX-License-Identifier: Apache-2.0
// A named thread that must be joined: every long-lived object that starts one has a Stop().
#ifndef FORALL_BASE_THREAD_H_
#define FORALL_BASE_THREAD_H_

#include <pthread.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace forall {

// Thread-compatible. Joins in the destructor.
class Thread {
 public:
  Thread() = default;
  // `name` is cut to the 15 characters that Linux keeps; it shows in `top -H` and in a debugger.
  Thread(const std::string& name, std::function<void()> body)
      : thread_([name = name.substr(0, 15), body = std::move(body)] {
          pthread_setname_np(pthread_self(), name.c_str());
          body();
        }) {}
  Thread(Thread&&) = default;
  Thread& operator=(Thread&& other) noexcept {
    Join();
    thread_ = std::move(other.thread_);
    return *this;
  }
  ~Thread() { Join(); }

  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  bool joinable() const { return thread_.joinable(); }

 private:
  std::thread thread_;
};

}  // namespace forall

#endif  // FORALL_BASE_THREAD_H_
