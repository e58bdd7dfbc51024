// SPDX-License-Identifier: Apache-2.0
#include "search/service/report_call.h"

#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "search/report/html_report.h"
#include "search/service/grpc_status.h"
#include "search/service/refused_call.h"

namespace forall {
namespace {

constexpr size_t kChunkBytes = 256 << 10;

ReportInput InputOf(Controller::JobSnapshot snapshot) {
  ReportInput input;
  input.job = std::move(snapshot.job);
  input.trials = std::move(snapshot.trials);
  input.frontier = std::move(snapshot.frontier);
  input.family = std::move(snapshot.family);
  input.devices = std::move(snapshot.devices);
  input.workers = std::move(snapshot.workers);
  input.hypervolume_history = std::move(snapshot.hypervolume_history);
  input.ledger = std::move(snapshot.ledger);
  input.random_jobs = std::move(snapshot.random.jobs);
  input.random_points = std::move(snapshot.random.points);
  input.generated = Clock::Real()->Now();
  input.build = FORALL_VERSION;
  input.supernet_sha256 = std::move(snapshot.supernet_sha256);
  return input;
}

class ReportCall : public grpc::ServerWriteReactor<v1::ReportChunk> {
 public:
  void Start(const v1::GetReportRequest& request, Controller* controller) {
    controller->GetSnapshot(request.name(),
                            [this](absl::StatusOr<Controller::JobSnapshot> snapshot) {
                              if (!snapshot.ok()) {
                                Finish(ToGrpcStatus(snapshot.status()));
                                return;
                              }
                              snapshot_ = *std::move(snapshot);
                              // This may be the store's thread, which must not render: what follows
                              // the headers runs on one of gRPC's.
                              StartSendInitialMetadata();
                            });
  }

  void OnSendInitialMetadataDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::CANCELLED);
      return;
    }
    page_ = RenderReport(InputOf(std::move(snapshot_)));
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }

  void OnDone() override { delete this; }

 private:
  void Next() {
    if (sent_ >= page_.size()) {
      Finish(grpc::Status::OK);
      return;
    }
    chunk_.set_content(page_.substr(sent_, kChunkBytes));
    sent_ += kChunkBytes;
    StartWrite(&chunk_);
  }

  Controller::JobSnapshot snapshot_;
  std::string page_;
  size_t sent_ = 0;
  v1::ReportChunk chunk_;
};

}  // namespace

grpc::ServerWriteReactor<v1::ReportChunk>* StartReport(grpc::CallbackServerContext* context,
                                                       const v1::GetReportRequest& request,
                                                       const GuardedController* controller) {
  const absl::StatusOr<GuardedController::Pass> pass = controller->Admit(*context, request);
  if (!pass.ok()) return new RefusedCall<grpc::ServerWriteReactor<v1::ReportChunk>>(pass.status());
  auto* const call = new ReportCall;
  call->Start(request, pass->controller());
  return call;
}

}  // namespace forall
