// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/frontier.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/pareto/dominance.h"

namespace forall {

absl::StatusOr<Frontier> Frontier::Create(int objectives) {
  if (objectives < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frontier needs at least one objective, got ", objectives));
  }
  return Frontier(objectives);
}

absl::StatusOr<Frontier::Insertion> Frontier::Insert(int64_t id, absl::Span<const double> point) {
  if (point.size() != static_cast<size_t>(objectives_)) {
    return absl::InvalidArgumentError(absl::StrCat("a point of this frontier has ", objectives_,
                                                   " objectives, got ", point.size()));
  }
  FORALL_RETURN_IF_ERROR(CheckPoints({point, objectives_}));
  if (Covers(point)) return Insertion{};
  return objectives_ == 2 ? InsertPlane(id, point) : InsertAny(id, point);
}

bool Frontier::Covers(absl::Span<const double> point) const {
  if (objectives_ == 2) {
    const auto after = plane_.upper_bound(point[0]);
    return after != plane_.begin() && std::prev(after)->second.value <= point[1];
  }
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (WeaklyDominates(rows_.data() + i * objectives_, point.data(), objectives_)) return true;
  }
  return false;
}

Frontier::Insertion Frontier::InsertPlane(int64_t id, absl::Span<const double> point) {
  Insertion insertion{.inserted = true, .displaced = {}};
  auto it = plane_.lower_bound(point[0]);
  while (it != plane_.end() && it->second.value >= point[1]) {
    insertion.displaced.push_back(it->second.id);
    it = plane_.erase(it);
  }
  plane_.insert(it, {point[0], Tail{point[1], id}});
  return insertion;
}

Frontier::Insertion Frontier::InsertAny(int64_t id, absl::Span<const double> point) {
  Insertion insertion{.inserted = true, .displaced = {}};
  size_t kept = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const double* row = rows_.data() + i * objectives_;
    if (WeaklyDominates(point.data(), row, objectives_)) {
      insertion.displaced.push_back(ids_[i]);
      continue;
    }
    if (kept != i) std::copy(row, row + objectives_, rows_.data() + kept * objectives_);
    ids_[kept++] = ids_[i];
  }
  ids_.resize(kept);
  rows_.resize(kept * objectives_);
  ids_.push_back(id);
  rows_.insert(rows_.end(), point.begin(), point.end());
  return insertion;
}

std::vector<Frontier::Member> Frontier::Members() const {
  std::vector<Member> members;
  members.reserve(size());
  for (const auto& [first, tail] : plane_) members.push_back({tail.id, {first, tail.value}});
  for (size_t i = 0; i < ids_.size(); ++i) {
    const auto row = rows_.begin() + static_cast<int64_t>(i) * objectives_;
    members.push_back({ids_[i], std::vector<double>(row, row + objectives_)});
  }
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.point < b.point; });
  return members;
}

int64_t Frontier::size() const {
  return static_cast<int64_t>(objectives_ == 2 ? plane_.size() : ids_.size());
}

}  // namespace forall
