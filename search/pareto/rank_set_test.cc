// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/rank_set.h"

#include <iterator>
#include <set>

#include "base/random.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(RankSetTest, FindsWhatASortedSetFinds) {
  // On both sides of a word and of a second and third level.
  for (const size_t bound : {1, 2, 63, 64, 65, 4095, 4096, 4097, 300000}) {
    Random random(bound);
    RankSet ranks(bound);
    ranks.Insert(0);
    std::set<size_t> expected = {0};
    for (int step = 0; step < 3000; ++step) {
      const size_t number = random.Uniform(bound);
      if (number > 0) {
        ASSERT_EQ(ranks.Previous(number), *std::prev(expected.lower_bound(number)));
      }
      if (number > 0 && expected.erase(number) > 0) {
        ranks.Erase(number);
      } else {
        ranks.Insert(number);
        expected.insert(number);
      }
    }
  }
}

}  // namespace
}  // namespace forall
