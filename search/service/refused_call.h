// SPDX-License-Identifier: Apache-2.0
// A call that ends before it begins, of any kind of reactor: it owns itself.
#ifndef FORALL_SEARCH_SERVICE_REFUSED_CALL_H_
#define FORALL_SEARCH_SERVICE_REFUSED_CALL_H_

#include "absl/status/status.h"
#include "search/service/grpc_status.h"

namespace forall {

// new RefusedCall<grpc::ServerWriteReactor<v1::ReportChunk>>(status); `status` is not OK.
template <typename Reactor>
class RefusedCall : public Reactor {
 public:
  explicit RefusedCall(const absl::Status& status) { this->Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_REFUSED_CALL_H_
