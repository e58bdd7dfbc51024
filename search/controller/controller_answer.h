// SPDX-License-Identifier: Apache-2.0
// How every call of the controller is answered; for its own sources only.
#ifndef FORALL_SEARCH_CONTROLLER_CONTROLLER_ANSWER_H_
#define FORALL_SEARCH_CONTROLLER_CONTROLLER_ANSWER_H_

#include <cstddef>
#include <functional>
#include <utility>

#include "search/controller/controller.h"

namespace forall {

// What an answer keeps in memory, about.
template <typename T>
size_t KeptBytes(const absl::StatusOr<T>& answer) {
  if (!answer.ok()) return answer.status().message().size();
  if constexpr (requires { answer->ByteSizeLong(); }) {
    return answer->ByteSizeLong();
  } else {
    return sizeof(T);
  }
}

template <typename T, typename Compute>
void Controller::Answer(size_t request_bytes, Done<T> done, Compute compute) {
  Outbox outbox;
  absl::Status overload;
  {
    MutexLock lock(&mu_);
    overload = OverloadLocked(request_bytes);
    if (overload.ok()) {
      absl::StatusOr<T> answer = absl::UnavailableError("the controller is stopping");
      if (!stopping_) {
        if (const absl::Status refusal = RefusalLocked(); refusal.ok()) {
          answer = compute();
        } else {
          answer = refusal;
        }
      }
      WhenDurableLocked(
          [done, answer = std::move(answer)](absl::Status status) mutable {
            // An error of the call itself stands, whatever became of the round.
            if (answer.ok() && !status.ok()) {
              done(std::move(status));
            } else {
              done(std::move(answer));
            }
          },
          request_bytes, &outbox);
      KickLocked(&outbox);
    }
  }
  Run(&outbox);
  if (!overload.ok()) done(std::move(overload));
}

template <typename T>
void Controller::Read(size_t request_bytes, Done<T> done,
                      std::function<absl::StatusOr<T>()> compute) {
  Outbox outbox;
  absl::Status overload;
  {
    MutexLock lock(&mu_);
    overload = OverloadLocked(request_bytes);
    if (overload.ok()) {
      absl::StatusOr<T> answer = absl::UnavailableError("the controller is stopping");
      if (!stopping_ && broken_.ok()) {
        answer = compute();
      } else if (!stopping_ && unreadable_) {
        answer = RefusalLocked();
      } else if (!stopping_) {
        parked_bytes_ += request_bytes;
        parked_reads_.push_back(
            [this, request_bytes, done, compute] { Read<T>(request_bytes, done, compute); });
        return;
      }
      // The request is kept beside its answer: it may have to be answered anew.
      const size_t kept = WouldWaitLocked() ? request_bytes + KeptBytes(answer) : 0;
      overload = OverloadLocked(kept);
      if (overload.ok()) {
        WhenDurableLocked(
            [this, request_bytes, done, compute,
             answer = std::move(answer)](const absl::Status& status) mutable {
              if (answer.ok() && !status.ok()) {
                Read<T>(request_bytes, done, compute);
              } else {
                done(std::move(answer));
              }
            },
            kept, &outbox);
      }
      KickLocked(&outbox);
    }
  }
  Run(&outbox);
  if (!overload.ok()) done(std::move(overload));
}

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_CONTROLLER_ANSWER_H_
