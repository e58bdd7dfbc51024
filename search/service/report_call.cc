// SPDX-License-Identifier: Apache-2.0
#include "search/service/report_call.h"

#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "search/report/html_report.h"
#include "search/service/grpc_status.h"
#include "search/service/refused_call.h"
#include "search/service/report_snapshot.h"

namespace forall {
namespace {

constexpr size_t kChunkBytes = 256 << 10;

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
    page_ = RenderReport(ReportInputOf(std::move(snapshot_), Clock::Real()->Now(), FORALL_VERSION));
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
