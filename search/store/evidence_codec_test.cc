// SPDX-License-Identifier: Apache-2.0
#include "search/store/evidence_codec.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "search/store/testing/pack_bytes.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::IsEmpty;

TEST(EvidenceCodecTest, BytesComeBack) {
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(256, 'y'),
                                   std::string(257, 'y'), std::string(100000, '\0')}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string compressed, CompressBytes(bytes));
    EXPECT_THAT(DecompressBytes(compressed), IsOkAndHolds(bytes));
  }
}

TEST(EvidenceCodecTest, NothingTakesNothing) {
  EXPECT_THAT(CompressBytes(""), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(CompressSamples({}), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(DecompressSamples(""), IsOkAndHolds(IsEmpty()));
}

TEST(EvidenceCodecTest, SamplesComeBackBitForBit) {
  const std::vector<double> samples = {0.0,
                                       -0.0,
                                       1.0 / 3,
                                       std::numeric_limits<double>::infinity(),
                                       std::numeric_limits<double>::denorm_min(),
                                       std::numeric_limits<double>::quiet_NaN()};
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string compressed, CompressSamples(samples));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<double> back, DecompressSamples(compressed));
  ASSERT_EQ(back.size(), samples.size());
  EXPECT_EQ(std::memcmp(back.data(), samples.data(), samples.size() * sizeof(double)), 0);
}

TEST(EvidenceCodecTest, ALatencysSamplesShrinkByHalf) {
  Random random(1);
  std::vector<double> samples(200);
  for (double& sample : samples) sample = std::round(5.3e6 * (1 + 0.02 * random.Gaussian()));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string compressed, CompressSamples(samples));
  EXPECT_LT(compressed.size(), samples.size() * sizeof(double) / 2);
}

// A row of 300 KB that unpacks to 300 MB is no evidence of ours.
TEST(EvidenceCodecTest, ABombIsRefusedBeforeItIsUnpacked) {
  const std::string much(size_t{65} << 20, 'x');
  EXPECT_THAT(CompressBytes(much), StatusIs(absl::StatusCode::kInvalidArgument));
  const std::string large = testing::PackBytes(much);
  EXPECT_LT(large.size(), size_t{1} << 20);
  EXPECT_THAT(DecompressBytes(large), StatusIs(absl::StatusCode::kDataLoss));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string most,
                              CompressBytes(std::string(size_t{64} << 20, 'x')));
  EXPECT_THAT(DecompressBytes(most), testing::IsOk());
}

TEST(EvidenceCodecTest, DamageIsDataLoss) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string good, CompressBytes(std::string(1000, 'x')));
  for (size_t size = 1; size < good.size(); ++size) {
    EXPECT_THAT(DecompressBytes(good.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss));
  }
  std::string longer = good;
  longer[0] = static_cast<char>(longer[0] + 1);
  EXPECT_THAT(DecompressBytes(longer), StatusIs(absl::StatusCode::kDataLoss));
  std::string absurd = good;
  absurd[7] = '\x7f';  // claims 2^63 bytes, which must not be allocated
  EXPECT_THAT(DecompressBytes(absurd), StatusIs(absl::StatusCode::kDataLoss));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string odd, CompressBytes("nine byte"));
  EXPECT_THAT(DecompressSamples(odd), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace forall
