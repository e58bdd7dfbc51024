// SPDX-License-Identifier: Apache-2.0
// Requests of many small parts, parsed into one piece of memory that is let go at once.
#ifndef FORALL_SEARCH_SERVICE_ARENA_REQUESTS_H_
#define FORALL_SEARCH_SERVICE_ARENA_REQUESTS_H_

#include <google/protobuf/arena.h>
#include <grpcpp/support/message_allocator.h>

#include <cstddef>

namespace forall {

// For SetMessageAllocatorFor_... of a callback service, which it must outlive. Responses are not in
// the arena: they are moved in from elsewhere, which would copy them. Stateless; thread-safe.
template <typename Request, typename Response>
class ArenaRequests : public grpc::MessageAllocator<Request, Response> {
 public:
  grpc::MessageHolder<Request, Response>* AllocateMessages() override { return new Holder; }

 private:
  // Of 8 latency results without samples; the arena grows where this is not enough.
  static constexpr size_t kFirstBytes = size_t{12} << 10;

  class Holder : public grpc::MessageHolder<Request, Response> {
   public:
    Holder() : arena_(first_, sizeof(first_)) {
      this->set_request(google::protobuf::Arena::CreateMessage<Request>(&arena_));
      this->set_response(&response_);
    }
    void Release() override { delete this; }

   private:
    alignas(std::max_align_t) char first_[kFirstBytes];  // NOLINT: left as it is on purpose
    google::protobuf::Arena arena_;
    Response response_;
  };
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ARENA_REQUESTS_H_
