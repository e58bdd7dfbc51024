// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_SERVICE_SEARCH_SERVICE_H_
#define FORALL_SEARCH_SERVICE_SEARCH_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "proto/forall/v1/search_service.grpc.pb.h"
#include "search/service/access/guarded_controller.h"

namespace forall {

// SearchService over a controller, which must outlive it. Stateless; thread-safe.
class SearchServiceImpl : public v1::SearchService::CallbackService {
 public:
  explicit SearchServiceImpl(const GuardedController* controller) : controller_(controller) {}

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  Unary* SubmitSearchJob(Context* context, const v1::SubmitSearchJobRequest* request,
                         v1::SearchJob* response) override;
  Unary* EstimateSearchJob(Context* context, const v1::EstimateSearchJobRequest* request,
                           v1::SearchJobEstimate* response) override;
  Unary* GetSearchJob(Context* context, const v1::GetSearchJobRequest* request,
                      v1::SearchJob* response) override;
  Unary* ListSearchJobs(Context* context, const v1::ListSearchJobsRequest* request,
                        v1::ListSearchJobsResponse* response) override;
  Unary* CancelSearchJob(Context* context, const v1::CancelSearchJobRequest* request,
                         v1::SearchJob* response) override;
  Unary* PauseSearchJob(Context* context, const v1::PauseSearchJobRequest* request,
                        v1::SearchJob* response) override;
  Unary* ResumeSearchJob(Context* context, const v1::ResumeSearchJobRequest* request,
                         v1::SearchJob* response) override;
  Unary* DeleteSearchJob(Context* context, const v1::DeleteSearchJobRequest* request,
                         v1::DeleteSearchJobResponse* response) override;
  grpc::ServerWriteReactor<v1::SearchJobUpdate>* WatchSearchJob(
      Context* context, const v1::WatchSearchJobRequest* request) override;
  Unary* ListTrials(Context* context, const v1::ListTrialsRequest* request,
                    v1::ListTrialsResponse* response) override;
  Unary* GetTrial(Context* context, const v1::GetTrialRequest* request,
                  v1::Trial* response) override;
  Unary* QueryParetoFrontier(Context* context, const v1::QueryParetoFrontierRequest* request,
                             v1::QueryParetoFrontierResponse* response) override;
  Unary* GetPredictionLedger(Context* context, const v1::GetPredictionLedgerRequest* request,
                             v1::PredictionLedger* response) override;
  Unary* ExportSubnet(Context* context, const v1::ExportSubnetRequest* request,
                      v1::ExportSubnetResponse* response) override;
  grpc::ServerWriteReactor<v1::ReportChunk>* GetReport(
      Context* context, const v1::GetReportRequest* request) override;
  Unary* GetSupernet(Context* context, const v1::GetSupernetRequest* request,
                     v1::Supernet* response) override;
  Unary* ListSupernets(Context* context, const v1::ListSupernetsRequest* request,
                       v1::ListSupernetsResponse* response) override;
  Unary* CreateSupernet(Context* context, const v1::CreateSupernetRequest* request,
                        v1::Supernet* response) override;
  Unary* DeleteSupernet(Context* context, const v1::DeleteSupernetRequest* request,
                        v1::DeleteSupernetResponse* response) override;
  Unary* GetSearchSpace(Context* context, const v1::GetSearchSpaceRequest* request,
                        v1::SearchSpace* response) override;
  Unary* MeasureNetworks(Context* context, const v1::MeasureNetworksRequest* request,
                         v1::MeasureNetworksResponse* response) override;

 private:
  const GuardedController* const controller_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_SEARCH_SERVICE_H_
