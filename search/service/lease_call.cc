// SPDX-License-Identifier: Apache-2.0
#include "search/service/lease_call.h"

#include <memory>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "search/service/grpc_status.h"
#include "search/service/refused_call.h"

namespace forall {
namespace {

class LeaseCall : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<LeaseCall> {
 public:
  LeaseCall(const v1::LeaseTasksRequest& request, v1::LeaseTasksResponse* response,
            Controller* controller)
      : controller_(controller),
        worker_(request.worker()),
        instance_(request.instance()),
        response_(response) {}

  void Start(const v1::LeaseTasksRequest& request) {
    self_ = shared_from_this();
    const int64_t poll = controller_->LeaseTasks(
        request, [call = self_](absl::StatusOr<v1::LeaseTasksResponse> answer) {
          call->OnAnswer(std::move(answer));
        });
    bool cancelled = false;
    {
      MutexLock lock(&mu_);
      poll_ = poll;
      cancelled = finished_;
    }
    if (cancelled && poll != 0) controller_->CancelPoll(poll);
  }

  void OnCancel() override {
    int64_t poll = 0;
    {
      MutexLock lock(&mu_);
      if (finished_) return;
      finished_ = true;
      poll = poll_;
    }
    if (poll != 0) controller_->CancelPoll(poll);
    Finish(grpc::Status::CANCELLED);
  }

  void OnDone() override { self_.reset(); }

 private:
  void OnAnswer(absl::StatusOr<v1::LeaseTasksResponse> answer) {
    bool gone = false;
    {
      MutexLock lock(&mu_);
      gone = finished_;
      finished_ = true;
    }
    if (!gone) {
      const absl::Status status = answer.status();
      if (answer.ok()) *response_ = *std::move(answer);
      Finish(ToGrpcStatus(status));
      return;
    }
    if (answer.ok()) GiveBack(worker_, instance_, *answer, controller_);
  }

  Controller* const controller_;
  const std::string worker_;
  const std::string instance_;
  v1::LeaseTasksResponse* const response_;
  std::shared_ptr<LeaseCall> self_;  // until OnDone

  Mutex mu_;
  int64_t poll_ ABSL_GUARDED_BY(mu_) = 0;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

void GiveBack(const std::string& worker, const std::string& instance,
              const v1::LeaseTasksResponse& leased, Controller* controller) {
  for (const v1::LeasedTask& task : leased.tasks()) {
    v1::ReleaseTaskRequest release;
    release.set_worker(worker);
    release.set_task(task.task().name());
    release.set_lease_token(task.lease().token());
    release.set_instance(instance);
    controller->ReleaseTask(release, [](const absl::StatusOr<v1::ReleaseTaskResponse>&) {});
  }
}

grpc::ServerUnaryReactor* StartLease(grpc::CallbackServerContext* context,
                                     const v1::LeaseTasksRequest& request,
                                     v1::LeaseTasksResponse* response,
                                     const GuardedController* controller) {
  const absl::StatusOr<GuardedController::Pass> pass = controller->Admit(*context, request);
  if (!pass.ok()) return new RefusedCall<grpc::ServerUnaryReactor>(pass.status());
  const auto call = std::make_shared<LeaseCall>(request, response, pass->controller());
  call->Start(request);
  // It holds itself until the call is done.
  return call.get();
}

}  // namespace forall
