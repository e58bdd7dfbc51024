// SPDX-License-Identifier: Apache-2.0
#include "search/service/search_service.h"

#include "search/service/report_call.h"
#include "search/service/unary_call.h"
#include "search/service/watch_call.h"

namespace forall {

grpc::ServerUnaryReactor* SearchServiceImpl::SubmitSearchJob(
    Context* context, const v1::SubmitSearchJobRequest* request, v1::SearchJob* response) {
  return AnswerUnary(context, controller_, &Controller::SubmitSearchJobAs, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::EstimateSearchJob(
    Context* context, const v1::EstimateSearchJobRequest* request,
    v1::SearchJobEstimate* response) {
  return AnswerUnary(context, controller_, &Controller::EstimateSearchJob, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::GetSearchJob(Context* context,
                                                          const v1::GetSearchJobRequest* request,
                                                          v1::SearchJob* response) {
  return AnswerUnary(context, controller_, &Controller::GetSearchJob, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::ListSearchJobs(
    Context* context, const v1::ListSearchJobsRequest* request,
    v1::ListSearchJobsResponse* response) {
  return AnswerUnary(context, controller_, &Controller::ListSearchJobs, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::CancelSearchJob(
    Context* context, const v1::CancelSearchJobRequest* request, v1::SearchJob* response) {
  return AnswerUnary(context, controller_, &Controller::CancelSearchJob, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::PauseSearchJob(
    Context* context, const v1::PauseSearchJobRequest* request, v1::SearchJob* response) {
  return AnswerUnary(context, controller_, &Controller::PauseSearchJob, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::ResumeSearchJob(
    Context* context, const v1::ResumeSearchJobRequest* request, v1::SearchJob* response) {
  return AnswerUnary(context, controller_, &Controller::ResumeSearchJob, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::DeleteSearchJob(
    Context* context, const v1::DeleteSearchJobRequest* request,
    v1::DeleteSearchJobResponse* response) {
  return AnswerUnary(context, controller_, &Controller::DeleteSearchJobAs, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::ListTrials(Context* context,
                                                        const v1::ListTrialsRequest* request,
                                                        v1::ListTrialsResponse* response) {
  return AnswerUnary(context, controller_, &Controller::ListTrials, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::GetTrial(Context* context,
                                                      const v1::GetTrialRequest* request,
                                                      v1::Trial* response) {
  return AnswerUnary(context, controller_, &Controller::GetTrial, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::QueryParetoFrontier(
    Context* context, const v1::QueryParetoFrontierRequest* request,
    v1::QueryParetoFrontierResponse* response) {
  return AnswerUnary(context, controller_, &Controller::QueryParetoFrontier, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::GetPredictionLedger(
    Context* context, const v1::GetPredictionLedgerRequest* request,
    v1::PredictionLedger* response) {
  return AnswerUnary(context, controller_, &Controller::GetPredictionLedger, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::ExportSubnet(Context* context,
                                                          const v1::ExportSubnetRequest* request,
                                                          v1::ExportSubnetResponse* response) {
  return AnswerUnary(context, controller_, &Controller::ExportSubnet, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::GetSupernet(Context* context,
                                                         const v1::GetSupernetRequest* request,
                                                         v1::Supernet* response) {
  return AnswerUnary(context, controller_, &Controller::GetSupernet, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::ListSupernets(Context* context,
                                                           const v1::ListSupernetsRequest* request,
                                                           v1::ListSupernetsResponse* response) {
  return AnswerUnary(context, controller_, &Controller::ListSupernets, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::CreateSupernet(
    Context* context, const v1::CreateSupernetRequest* request, v1::Supernet* response) {
  return AnswerUnary(context, controller_, &Controller::CreateSupernet, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::DeleteSupernet(
    Context* context, const v1::DeleteSupernetRequest* request,
    v1::DeleteSupernetResponse* response) {
  return AnswerUnary(context, controller_, &Controller::DeleteSupernet, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::GetSearchSpace(
    Context* context, const v1::GetSearchSpaceRequest* request, v1::SearchSpace* response) {
  return AnswerUnary(context, controller_, &Controller::GetSearchSpace, *request, response);
}

grpc::ServerUnaryReactor* SearchServiceImpl::MeasureNetworks(
    Context* context, const v1::MeasureNetworksRequest* request,
    v1::MeasureNetworksResponse* response) {
  return AnswerUnary(context, controller_, &Controller::MeasureNetworks, *request, response);
}

grpc::ServerWriteReactor<v1::ReportChunk>* SearchServiceImpl::GetReport(
    Context* context, const v1::GetReportRequest* request) {
  return StartReport(context, *request, controller_);
}

grpc::ServerWriteReactor<v1::SearchJobUpdate>* SearchServiceImpl::WatchSearchJob(
    Context* context, const v1::WatchSearchJobRequest* request) {
  return StartWatch(context, *request, controller_);
}

}  // namespace forall
