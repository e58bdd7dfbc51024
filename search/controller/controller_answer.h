// SPDX-License-Identifier: Apache-2.0
// How every call of the controller is answered; for its own sources only.
#ifndef FORALL_SEARCH_CONTROLLER_CONTROLLER_ANSWER_H_
#define FORALL_SEARCH_CONTROLLER_CONTROLLER_ANSWER_H_

#include <functional>
#include <utility>

#include "search/controller/controller.h"

namespace forall {

template <typename T, typename Compute>
void Controller::Answer(Done<T> done, Compute compute, size_t request_bytes) {
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
void Controller::Read(Done<T> done, std::function<absl::StatusOr<T>()> compute) {
  Outbox outbox;
  absl::Status overload;
  {
    MutexLock lock(&mu_);
    overload = OverloadLocked(/*request_bytes=*/0);
    if (overload.ok()) {
      absl::StatusOr<T> answer = absl::UnavailableError("the controller is stopping");
      if (!stopping_ && broken_.ok()) {
        answer = compute();
      } else if (!stopping_ && unreadable_) {
        answer = RefusalLocked();
      } else if (!stopping_) {
        parked_reads_.push_back([this, done, compute] { Read<T>(done, compute); });
        return;
      }
      WhenDurableLocked(
          [this, done, compute, answer = std::move(answer)](const absl::Status& status) {
            if (answer.ok() && !status.ok()) {
              Read<T>(done, compute);
            } else {
              done(answer);
            }
          },
          /*request_bytes=*/0, &outbox);
      KickLocked(&outbox);
    }
  }
  Run(&outbox);
  if (!overload.ok()) done(std::move(overload));
}

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_CONTROLLER_ANSWER_H_
