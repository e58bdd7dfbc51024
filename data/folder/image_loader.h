// SPDX-License-Identifier: Apache-2.0
// Makes images on all cores, for callers who want whole batches, and ahead of time for those who
// said what they will want.
#ifndef FORALL_DATA_FOLDER_IMAGE_LOADER_H_
#define FORALL_DATA_FOLDER_IMAGE_LOADER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace forall {

struct ImageRequest {
  int64_t image = 0;
  int resolution = 0;
  // By the training transform, with this seed; otherwise by the evaluation transform.
  std::optional<uint64_t> training_seed;

  friend bool operator<(const ImageRequest& a, const ImageRequest& b) {
    return std::tie(a.image, a.resolution, a.training_seed) <
           std::tie(b.image, b.resolution, b.training_seed);
  }
};

// Thread-safe. Threads are started when first needed and joined by the destructor, which must not
// run while a call is under way.
class ImageLoader {
 public:
  // Fills in an image's 3 x R x R bytes; called by many threads at once.
  using Make = std::function<absl::Status(const ImageRequest& request, absl::Span<uint8_t> bytes)>;
  using Take = std::function<void(size_t position, absl::Span<const uint8_t> bytes)>;

  // What was prefetched and not yet asked for takes at most `prefetch_bytes`; the oldest go first.
  ImageLoader(int threads, int64_t prefetch_bytes, Make make);
  ~ImageLoader();
  ImageLoader(const ImageLoader&) = delete;
  ImageLoader& operator=(const ImageLoader&) = delete;

  // Makes all of `requests`, the caller's thread helping, each once even when several callers want
  // it, and hands every one to `take` in order. The failure of the first that failed, or
  // ResourceExhausted when memory runs out.
  absl::Status Load(absl::Span<const ImageRequest> requests, const Take& take);
  // Begins to make them and returns. A failure shows when they are loaded.
  void Prefetch(absl::Span<const ImageRequest> requests);

 private:
  struct Job;

  absl::Status LoadTogether(absl::Span<const ImageRequest> requests, const Take& take);
  void StartThreadsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Work();
  std::shared_ptr<Job> AddLocked(const ImageRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Runs a job that nobody has begun; gives the lock up meanwhile.
  void RunLocked(Job* job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetOldLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int thread_count_;
  const int64_t prefetch_bytes_;
  const Make make_;

  Mutex mu_;
  CondVar work_;
  CondVar done_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::map<ImageRequest, std::shared_ptr<Job>> jobs_ ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Job>> queue_ ABSL_GUARDED_BY(mu_);
  std::deque<std::shared_ptr<Job>> prefetched_ ABSL_GUARDED_BY(mu_);  // oldest first
  std::vector<Thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace forall

#endif  // FORALL_DATA_FOLDER_IMAGE_LOADER_H_
