// SPDX-License-Identifier: Apache-2.0
#include "search/service/watch_call.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "search/controller/resource_names.h"
#include "search/service/grpc_status.h"
#include "search/service/refused_call.h"

namespace forall {
namespace {

class WatchCall : public grpc::ServerWriteReactor<v1::SearchJobUpdate>,
                  public std::enable_shared_from_this<WatchCall> {
 public:
  WatchCall(const v1::WatchSearchJobRequest& request, Controller* controller)
      : controller_(controller), name_(request.name()), cursor_(request.after_event_sequence()) {}

  void Start() {
    self_ = shared_from_this();
    const absl::StatusOr<int64_t> job = ParseJobName(name_);
    if (!job.ok()) return End(job.status());
    const std::weak_ptr<WatchCall> weak = self_;
    // Subscribed before the first look, so that no change falls in between.
    subscription_ = controller_->Subscribe(*job, [weak] {
      if (const std::shared_ptr<WatchCall> call = weak.lock()) call->OnChanged();
    });
    Look();
  }

  void OnWriteDone(bool ok) override {
    bool again = false;
    std::optional<absl::Status> end;
    {
      MutexLock lock(&mu_);
      writing_ = false;
      cursor_ = sent_.update.search_job().event_sequence();
      again = sent_.more || changed_;
      if (!ok) end = absl::CancelledError("the client has gone");
      if (ok && sent_.ended && !sent_.more) end = absl::OkStatus();
      if (end_after_write_.has_value()) end = end_after_write_;
      busy_ = again && !end.has_value();
    }
    if (end.has_value()) return End(*end);
    if (again) Look();
  }

  void OnCancel() override { End(absl::CancelledError("the client has gone")); }

  void OnDone() override {
    if (subscription_ != 0) controller_->Unsubscribe(subscription_);
    self_.reset();
  }

 private:
  void OnChanged() {
    {
      MutexLock lock(&mu_);
      changed_ = true;
      if (busy_ || finished_) return;
      busy_ = true;
    }
    Look();
  }

  void Look() {
    int64_t after = 0;
    {
      MutexLock lock(&mu_);
      changed_ = false;
      after = cursor_;
    }
    controller_->GetUpdate(
        name_, after, [call = shared_from_this()](absl::StatusOr<Controller::JobUpdate> update) {
          call->OnLook(std::move(update));
        });
  }

  void OnLook(absl::StatusOr<Controller::JobUpdate> update) {
    if (!update.ok()) return End(update.status());
    bool write = false;
    bool again = false;
    const v1::SearchJobUpdate* message = nullptr;
    {
      MutexLock lock(&mu_);
      if (finished_) return;
      const v1::SearchJob& job = update->update.search_job();
      write = !started_ || update->ended || job.event_sequence() > cursor_ ||
              job.waiting_reason() != sent_.update.search_job().waiting_reason();
      if (write) {
        started_ = true;
        writing_ = true;
        sent_ = *std::move(update);
        message = &sent_.update;
      } else {
        again = changed_;
        busy_ = again;
      }
    }
    if (write) StartWrite(message);
    if (again) Look();
  }

  // At once, or when the write that is under way is done: nothing may be started after Finish.
  void End(const absl::Status& status) {
    {
      MutexLock lock(&mu_);
      if (finished_) return;
      if (writing_) {
        end_after_write_ = status;
        return;
      }
      finished_ = true;
    }
    Finish(ToGrpcStatus(status));
  }

  Controller* const controller_;
  const std::string name_;
  std::shared_ptr<WatchCall> self_;  // until OnDone
  int64_t subscription_ = 0;

  // Never held while gRPC is called: it may call back at once.
  Mutex mu_;
  int64_t cursor_ ABSL_GUARDED_BY(mu_);
  bool busy_ ABSL_GUARDED_BY(mu_) = true;      // looking or writing
  bool changed_ ABSL_GUARDED_BY(mu_) = false;  // since the last look
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> end_after_write_ ABSL_GUARDED_BY(mu_);
  Controller::JobUpdate sent_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

grpc::ServerWriteReactor<v1::SearchJobUpdate>* StartWatch(grpc::CallbackServerContext* context,
                                                          const v1::WatchSearchJobRequest& request,
                                                          const GuardedController* controller) {
  const absl::StatusOr<GuardedController::Pass> pass = controller->Admit(*context, request);
  if (!pass.ok()) {
    return new RefusedCall<grpc::ServerWriteReactor<v1::SearchJobUpdate>>(pass.status());
  }
  const auto call = std::make_shared<WatchCall>(request, pass->controller());
  call->Start();
  // It holds itself until the stream is done.
  return call.get();
}

}  // namespace forall
