// SPDX-License-Identifier: Apache-2.0
#include "bench/predictor_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <system_error>
#include <utility>

#include "Eigen/Core"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "search/inner/candidates.h"
#include "search/predictor/pairwise_model.h"
#include "space/family.h"
#ifdef FORALL_HAVE_XGBOOST
#include "xgboost/c_api.h"
#endif

namespace forall {
namespace {

struct Samples {
  explicit Samples(size_t width) : rows(width) {}
  Candidates rows;
  std::vector<double> values;
};

using Predictor = std::function<std::vector<double>(const Candidates&)>;
using Learner = std::function<absl::StatusOr<Predictor>(const CandidateSpace&, const Samples&)>;

// "{'wid': None, 'ks': [7, ...], ...}",date,parameters,latency,MACs,top-1; each network once.
absl::Status ReadLog(const std::string& path, const Family& family, const CandidateSpace& space,
                     std::map<std::string, double>* found) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<State> row(space.width());
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] != '"') continue;
    const size_t end = line.rfind('"');
    const std::vector<absl::string_view> fields = absl::StrSplit(line.substr(end), ',');
    double top1 = 0;
    if (fields.size() != 6 || !absl::SimpleAtod(fields[5], &top1)) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": cannot read ", line));
    }
    const std::string config =
        absl::StrReplaceAll(line.substr(1, end - 1), {{"'", "\""}, {"None", "null"}});
    FORALL_ASSIGN_OR_RETURN(const Architecture architecture, family.ParseArchitecture(config));
    FORALL_RETURN_IF_ERROR(space.ToRow(architecture, row.data()));
    found->emplace(std::string(row.begin(), row.end()), top1);
  }
  return absl::OkStatus();
}

absl::StatusOr<Predictor> LearnPairwise(const CandidateSpace& space, const Samples& samples,
                                        bool additive) {
  const PairwiseKernel kernel =
      PairwiseModel::Choose(space, samples.rows, samples.values, additive);
  auto model = std::make_shared<PairwiseModel>(space, samples.rows, samples.values, kernel);
  return Predictor([model](const Candidates& rows) {
    std::vector<double> means;
    for (size_t i = 0; i < rows.size(); ++i) means.push_back(model->Mean(rows.row(i)));
    return means;
  });
}

// One-hot over the states of every dimension, a row each.
Eigen::MatrixXf OneHot(const CandidateSpace& space, const Candidates& rows) {
  size_t states = 0;
  for (size_t d = 0; d < space.width(); ++d) states += space.inactive(d) + 1u;
  Eigen::MatrixXf matrix = Eigen::MatrixXf::Zero(static_cast<Eigen::Index>(rows.size()),
                                                 static_cast<Eigen::Index>(states));
  for (size_t i = 0; i < rows.size(); ++i) {
    Eigen::Index offset = 0;
    for (size_t d = 0; d < space.width(); ++d) {
      matrix(static_cast<Eigen::Index>(i), offset + rows.row(i)[d]) = 1;
      offset += space.inactive(d) + 1;
    }
  }
  return matrix;
}

// Two hidden layers, trained by Adam with weight decay on standardised values.
class SmallPerceptron {
 public:
  SmallPerceptron(const Eigen::MatrixXf& inputs, const Eigen::VectorXf& values, uint64_t seed) {
    Random random(seed);
    const Eigen::Index sizes[] = {inputs.cols(), kHidden, kHidden, 1};
    for (int layer = 0; layer < 3; ++layer) {
      const float scale =
          std::sqrt(2.0F / static_cast<float>(std::min<Eigen::Index>(sizes[layer], 46)));
      weight_[layer] = Eigen::MatrixXf::NullaryExpr(sizes[layer], sizes[layer + 1], [&] {
        return scale * static_cast<float>(random.Gaussian());
      });
      bias_[layer] = Eigen::RowVectorXf::Zero(sizes[layer + 1]);
    }
    Train(inputs, values);
  }

  Eigen::VectorXf Run(const Eigen::MatrixXf& inputs) const {
    Eigen::MatrixXf x = inputs;
    for (int layer = 0; layer < 3; ++layer) {
      x = (x * weight_[layer]).rowwise() + bias_[layer];
      if (layer < 2) x = x.cwiseMax(0.0F);
    }
    return x.col(0);
  }

 private:
  static constexpr Eigen::Index kHidden = 48;
  static constexpr int kSteps = 400;
  static constexpr float kRate = 3e-3F;
  static constexpr float kDecay = 1e-3F;

  void Train(const Eigen::MatrixXf& inputs, const Eigen::VectorXf& values) {
    Eigen::MatrixXf mean[3];
    Eigen::MatrixXf square[3];
    Eigen::MatrixXf bias_mean[3];
    Eigen::MatrixXf bias_square[3];
    for (int l = 0; l < 3; ++l) {
      mean[l] = square[l] = Eigen::MatrixXf::Zero(weight_[l].rows(), weight_[l].cols());
      bias_mean[l] = bias_square[l] = Eigen::MatrixXf::Zero(1, bias_[l].cols());
    }
    for (int step = 1; step <= kSteps; ++step) {
      Eigen::MatrixXf x[3];
      x[0] = inputs;
      for (int l = 0; l < 2; ++l) {
        x[l + 1] = ((x[l] * weight_[l]).rowwise() + bias_[l]).cwiseMax(0.0F);
      }
      Eigen::MatrixXf delta = ((x[2] * weight_[2]).rowwise() + bias_[2]) - values;
      delta *= 2.0F / static_cast<float>(values.size());
      for (int l = 2; l >= 0; --l) {
        const Eigen::MatrixXf gradient = x[l].transpose() * delta + kDecay * weight_[l];
        const Eigen::MatrixXf bias_gradient = delta.colwise().sum();
        if (l > 0) {
          delta = (delta * weight_[l].transpose())
                      .cwiseProduct((x[l].array() > 0).cast<float>().matrix());
        }
        const Eigen::MatrixXf bias =
            bias_[l] + Adam(bias_gradient, step, &bias_mean[l], &bias_square[l]);
        bias_[l] = bias;
        weight_[l] += Adam(gradient, step, &mean[l], &square[l]);
      }
    }
  }

  static Eigen::MatrixXf Adam(const Eigen::MatrixXf& gradient, int step, Eigen::MatrixXf* mean,
                              Eigen::MatrixXf* square) {
    *mean = 0.9F * *mean + 0.1F * gradient;
    *square = 0.999F * *square + 0.001F * gradient.cwiseAbs2();
    const float a = 1 - std::pow(0.9F, static_cast<float>(step));
    const float b = 1 - std::pow(0.999F, static_cast<float>(step));
    return (-kRate / a) * mean->cwiseQuotient(((square->array() / b).sqrt() + 1e-8F).matrix());
  }

  Eigen::MatrixXf weight_[3];
  Eigen::RowVectorXf bias_[3];
};

absl::StatusOr<Predictor> LearnPerceptrons(const CandidateSpace& space, const Samples& samples) {
  constexpr uint64_t kMembers = 5;
  const Eigen::MatrixXf inputs = OneHot(space, samples.rows);
  Eigen::VectorXf values(static_cast<Eigen::Index>(samples.values.size()));
  for (size_t i = 0; i < samples.values.size(); ++i) {
    values(static_cast<Eigen::Index>(i)) = static_cast<float>(samples.values[i]);
  }
  const float mean = values.mean();
  values.array() -= mean;
  const float scale =
      std::max(std::sqrt(values.squaredNorm() / static_cast<float>(values.size())), 1e-6F);
  values /= scale;
  auto members = std::make_shared<std::vector<SmallPerceptron>>();
  for (uint64_t seed = 1; seed <= kMembers; ++seed) members->emplace_back(inputs, values, seed);
  return Predictor([&space, members, mean, scale](const Candidates& rows) {
    const Eigen::MatrixXf test = OneHot(space, rows);
    Eigen::VectorXf sum = Eigen::VectorXf::Zero(test.rows());
    for (const SmallPerceptron& member : *members) sum += member.Run(test);
    std::vector<double> means;
    for (Eigen::Index i = 0; i < sum.size(); ++i) {
      means.push_back(static_cast<double>(mean + scale * sum(i) / kMembers));
    }
    return means;
  });
}

#ifdef FORALL_HAVE_XGBOOST
absl::Status Check(int code) {
  return code == 0 ? absl::OkStatus() : absl::InternalError(XGBGetLastError());
}

class TreeMatrix {
 public:
  ~TreeMatrix() { XGDMatrixFree(handle_); }
  // States as numbers; an inactive dimension is -1.
  absl::Status Fill(const CandidateSpace& space, const Candidates& rows) {
    std::vector<float> values;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t d = 0; d < space.width(); ++d) {
        const State state = rows.row(i)[d];
        values.push_back(state == space.inactive(d) ? -1.0F : static_cast<float>(state));
      }
    }
    return Check(
        XGDMatrixCreateFromMat(values.data(), rows.size(), space.width(), std::nanf(""), &handle_));
  }
  DMatrixHandle handle() const { return handle_; }

 private:
  DMatrixHandle handle_ = nullptr;
};

absl::StatusOr<Predictor> LearnTrees(const CandidateSpace& space, const Samples& samples) {
  constexpr int kRounds = 400;
  const double mean = std::accumulate(samples.values.begin(), samples.values.end(), 0.0) /
                      static_cast<double>(samples.values.size());
  TreeMatrix matrix;
  FORALL_RETURN_IF_ERROR(matrix.Fill(space, samples.rows));
  std::vector<float> labels;
  for (const double value : samples.values) labels.push_back(static_cast<float>(value - mean));
  FORALL_RETURN_IF_ERROR(
      Check(XGDMatrixSetFloatInfo(matrix.handle(), "label", labels.data(), labels.size())));
  BoosterHandle created = nullptr;
  const DMatrixHandle handles[] = {matrix.handle()};
  FORALL_RETURN_IF_ERROR(Check(XGBoosterCreate(handles, 1, &created)));
  const std::shared_ptr<void> booster(created, [](void* handle) { XGBoosterFree(handle); });
  const std::pair<const char*, const char*> parameters[] = {{"objective", "reg:squarederror"},
                                                            {"base_score", "0"},
                                                            {"eta", "0.05"},
                                                            {"max_depth", "4"},
                                                            {"subsample", "0.8"},
                                                            {"colsample_bytree", "0.8"},
                                                            {"min_child_weight", "2"},
                                                            {"tree_method", "exact"},
                                                            {"nthread", "1"},
                                                            {"seed", "1"},
                                                            {"verbosity", "0"}};
  for (const auto& [name, value] : parameters) {
    FORALL_RETURN_IF_ERROR(Check(XGBoosterSetParam(booster.get(), name, value)));
  }
  for (int round = 0; round < kRounds; ++round) {
    FORALL_RETURN_IF_ERROR(Check(XGBoosterUpdateOneIter(booster.get(), round, matrix.handle())));
  }
  return Predictor([&space, booster, mean](const Candidates& rows) {
    TreeMatrix test;
    bst_ulong length = 0;
    const float* values = nullptr;
    if (!test.Fill(space, rows).ok() ||
        XGBoosterPredict(booster.get(), test.handle(), 0, 0, 0, &length, &values) != 0) {
      return std::vector<double>(rows.size(), mean);
    }
    std::vector<double> means(values, values + length);
    for (double& value : means) value += mean;
    return means;
  });
}
#endif

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

std::vector<double> Ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (size_t j = i; j < end; ++j) ranks[order[j]] = 0.5 * static_cast<double>(i + end - 1);
    i = end;
  }
  return ranks;
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double Kendall(const std::vector<double>& a, const std::vector<double>& b) {
  int64_t agreement = 0;
  int64_t pairs = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double product = (a[i] - a[j]) * (b[i] - b[j]);
      agreement += product > 0 ? 1 : product < 0 ? -1 : 0;
      ++pairs;
    }
  }
  return static_cast<double>(agreement) / static_cast<double>(std::max<int64_t>(pairs, 1));
}

absl::Status RunModel(const CandidateSpace& space, const Samples& all, const char* name,
                      const Learner& learn, const PredictorBenchOptions& options) {
  for (const int size : options.at) {
    if (static_cast<size_t>(size) + 100 > all.values.size()) continue;
    std::vector<double> rmse;
    std::vector<double> kendall;
    std::vector<double> spearman;
    std::vector<double> seconds;
    for (int seed = 1; seed <= options.seeds; ++seed) {
      std::vector<size_t> order(all.values.size());
      std::iota(order.begin(), order.end(), size_t{0});
      Random random(static_cast<uint64_t>(seed));
      random.Shuffle(&order);
      Samples train(space.width());
      Samples test(space.width());
      for (size_t i = 0; i < order.size(); ++i) {
        Samples& part = i < static_cast<size_t>(size) ? train : test;
        part.rows.Append(all.rows.row(order[i]));
        part.values.push_back(all.values[order[i]]);
      }
      const int64_t start = Clock::Real()->SteadyNanos();
      FORALL_ASSIGN_OR_RETURN(const Predictor predictor, learn(space, train));
      seconds.push_back(1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start));
      const std::vector<double> means = predictor(test.rows);
      double square = 0;
      for (size_t i = 0; i < means.size(); ++i) {
        square += (means[i] - test.values[i]) * (means[i] - test.values[i]);
      }
      rmse.push_back(std::sqrt(square / static_cast<double>(means.size())));
      kendall.push_back(Kendall(means, test.values));
      spearman.push_back(Correlation(Ranks(means), Ranks(test.values)));
    }
    std::printf(
        "{\"benchmark\":\"predictors\",\"model\":\"%s\",\"trained_on\":%d,\"tested_on\":%zu,"
        "\"rmse_median\":%.4f,\"kendall_median\":%.4f,\"spearman_median\":%.4f,"
        "\"fit_seconds_median\":%.4f,\"seeds\":%d}\n",
        name, size, all.values.size() - static_cast<size_t>(size), Median(rmse), Median(kendall),
        Median(spearman), Median(seconds), options.seeds);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPredictorBench(const PredictorBenchOptions& options) {
  if (options.logs.empty()) {
    return absl::InvalidArgumentError(
        "predictors needs --logs DIR, DyNAS-T's CSV files of OFA-MobileNetV3 w1.0 evaluations");
  }
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FindFamily("ofa_mbv3_w1.0"));
  FORALL_ASSIGN_OR_RETURN(const CandidateSpace space,
                          CandidateSpace::Create(family->search_space()));
  std::error_code failed;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(options.logs, failed)) {
    if (entry.path().extension() == ".csv") files.push_back(entry.path().string());
  }
  if (files.empty()) {
    return absl::NotFoundError(absl::StrCat("--logs: no CSV files in ", options.logs));
  }
  std::sort(files.begin(), files.end());
  std::map<std::string, double> found;  // by row
  for (const std::string& file : files) {
    FORALL_RETURN_IF_ERROR(ReadLog(file, *family, space, &found));
  }
  Samples all(space.width());
  for (const auto& [row, value] : found) {
    const std::vector<State> states(row.begin(), row.end());
    all.rows.Append(states.data());
    all.values.push_back(value);
  }
  const std::pair<const char*, Learner> models[] = {
      {"pairwise",
       [](const CandidateSpace& s, const Samples& x) { return LearnPairwise(s, x, false); }},
      {"additive",
       [](const CandidateSpace& s, const Samples& x) { return LearnPairwise(s, x, true); }},
      {"perceptrons", LearnPerceptrons},
#ifdef FORALL_HAVE_XGBOOST
      {"xgboost", LearnTrees},
#endif
  };
  for (const auto& [name, learn] : models) {
    FORALL_RETURN_IF_ERROR(RunModel(space, all, name, learn, options));
  }
  return absl::OkStatus();
}

}  // namespace forall
