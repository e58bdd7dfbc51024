// SPDX-License-Identifier: Apache-2.0
#include "data/folder/image_loader.h"

#include <new>
#include <utility>

#include "base/status_macros.h"

namespace forall {
namespace {

// Bounds what one call holds: 256 images of 224 x 224 are 39 MB.
constexpr size_t kTogether = 256;

}  // namespace

// Its state is guarded by the loader's lock; its bytes belong to whoever runs it, and to its
// readers once it is done.
struct ImageLoader::Job {
  enum class State { kWaiting, kRunning, kDone };

  explicit Job(const ImageRequest& r) : request(r) {}
  int64_t bytes_wanted() const { return int64_t{3} * request.resolution * request.resolution; }

  const ImageRequest request;
  State state = State::kWaiting;
  int callers = 0;  // that will take it
  absl::Status status;
  std::vector<uint8_t> bytes;
};

ImageLoader::ImageLoader(int threads, int64_t prefetch_bytes, Make make)
    : thread_count_(threads), prefetch_bytes_(prefetch_bytes), make_(std::move(make)) {}

ImageLoader::~ImageLoader() {
  std::vector<Thread> threads;
  {
    MutexLock lock(&mu_);
    stopping_ = true;
    work_.SignalAll();
    threads.swap(threads_);
  }
}

void ImageLoader::StartThreadsLocked() {
  while (static_cast<int>(threads_.size()) < thread_count_) {
    threads_.emplace_back("images", [this] { Work(); });
  }
}

void ImageLoader::Work() {
  MutexLock lock(&mu_);
  while (true) {
    while (queue_.empty() && !stopping_) work_.Wait(&mu_);
    if (stopping_) return;
    const std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    if (job->state == Job::State::kWaiting) RunLocked(job.get());
  }
}

std::shared_ptr<ImageLoader::Job> ImageLoader::AddLocked(const ImageRequest& request) {
  std::shared_ptr<Job>& job = jobs_[request];
  if (job == nullptr) {
    job = std::make_shared<Job>(request);
    queue_.push_back(job);
    work_.Signal();
  }
  return job;
}

void ImageLoader::RunLocked(Job* job) {
  job->state = Job::State::kRunning;
  mu_.Unlock();
  absl::Status status;
  try {
    job->bytes.resize(static_cast<size_t>(job->bytes_wanted()));
    status = make_(job->request, absl::MakeSpan(job->bytes));
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("out of memory while decoding images");
  }
  mu_.Lock();
  job->status = std::move(status);
  job->state = Job::State::kDone;
  done_.SignalAll();
}

absl::Status ImageLoader::Load(absl::Span<const ImageRequest> requests, const Take& take) {
  for (size_t begin = 0; begin < requests.size(); begin += kTogether) {
    FORALL_RETURN_IF_ERROR(
        LoadTogether(requests.subspan(begin, kTogether),
                     [&](size_t i, absl::Span<const uint8_t> bytes) { take(begin + i, bytes); }));
  }
  return absl::OkStatus();
}

absl::Status ImageLoader::LoadTogether(absl::Span<const ImageRequest> requests, const Take& take) {
  std::vector<std::shared_ptr<Job>> jobs;
  jobs.reserve(requests.size());
  {
    MutexLock lock(&mu_);
    if (requests.size() > 1) StartThreadsLocked();
    for (const ImageRequest& request : requests) {
      jobs.push_back(AddLocked(request));
      ++jobs.back()->callers;
    }
    for (const std::shared_ptr<Job>& job : jobs) {
      if (job->state == Job::State::kWaiting) RunLocked(job.get());
    }
    for (const std::shared_ptr<Job>& job : jobs) {
      while (job->state != Job::State::kDone) done_.Wait(&mu_);
    }
    for (const std::shared_ptr<Job>& job : jobs) {
      if (--job->callers == 0) jobs_.erase(job->request);
    }
    ForgetOldLocked();
  }
  for (const std::shared_ptr<Job>& job : jobs) {
    if (!job->status.ok()) return job->status;
  }
  for (size_t i = 0; i < jobs.size(); ++i) take(i, jobs[i]->bytes);
  return absl::OkStatus();
}

void ImageLoader::Prefetch(absl::Span<const ImageRequest> requests) {
  if (requests.empty()) return;
  MutexLock lock(&mu_);
  StartThreadsLocked();
  for (const ImageRequest& request : requests) {
    if (jobs_.contains(request)) continue;
    prefetched_.push_back(AddLocked(request));
  }
  ForgetOldLocked();
}

// Drops what was asked for since, and the oldest of the rest beyond the bound.
void ImageLoader::ForgetOldLocked() {
  const auto is_kept = [&](const std::shared_ptr<Job>& job) {
    mu_.AssertHeld();
    const auto found = jobs_.find(job->request);
    return found != jobs_.end() && found->second == job;
  };
  int64_t bytes = 0;
  std::deque<std::shared_ptr<Job>> kept;
  for (auto job = prefetched_.rbegin(); job != prefetched_.rend(); ++job) {
    if (!is_kept(*job)) continue;
    bytes += (*job)->bytes_wanted();
    // One that is being made, or that a caller waits for, goes when that is over.
    if (bytes <= prefetch_bytes_ || (*job)->state == Job::State::kRunning || (*job)->callers > 0) {
      kept.push_front(*job);
    } else {
      (*job)->state = Job::State::kDone;  // a waiting one is not begun any more
      jobs_.erase((*job)->request);
    }
  }
  prefetched_ = std::move(kept);
}

}  // namespace forall
