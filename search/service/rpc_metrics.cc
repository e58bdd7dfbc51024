// SPDX-License-Identifier: Apache-2.0
#include "search/service/rpc_metrics.h"

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace forall {
namespace {

class Counter : public grpc::experimental::Interceptor {
 public:
  Counter(std::string method, RpcMetrics* metrics)
      : method_(std::move(method)), metrics_(metrics) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_STATUS)) {
      metrics_->Count(method_, methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  const std::string method_;
  RpcMetrics* const metrics_;
};

class CounterFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CounterFactory(RpcMetrics* metrics) : metrics_(metrics) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return new Counter(info->method(), metrics_);
  }

 private:
  RpcMetrics* const metrics_;
};

}  // namespace

void RpcMetrics::Count(const std::string& method, grpc::StatusCode code) {
  MutexLock lock(&mu_);
  ++counts_[{method, static_cast<int>(code)}];
}

MetricFamily RpcMetrics::Collect() const {
  MetricFamily family{"forall_rpcs_total",
                      "Calls that were answered, by method and status code.",
                      MetricFamily::Type::kCounter,
                      {}};
  MutexLock lock(&mu_);
  for (const auto& [key, count] : counts_) {
    absl::string_view method = key.first;
    absl::ConsumePrefix(&method, "/");
    family.samples.push_back(
        {{{"method", std::string(method)},
          {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(key.second))}},
         static_cast<double>(count),
         {}});
  }
  return family;
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> CountRpcs(
    RpcMetrics* metrics) {
  return std::make_unique<CounterFactory>(metrics);
}

}  // namespace forall
