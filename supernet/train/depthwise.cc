// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/depthwise.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "supernet/train/depthwise_kernels.h"

namespace forall {
namespace {

at::Tensor LibraryConvolution(const at::Tensor& x, const at::Tensor& kernel, int64_t stride) {
  const std::vector<int64_t> strides = {stride, stride};
  const std::vector<int64_t> padding = {kernel.size(2) / 2, kernel.size(3) / 2};
  const std::vector<int64_t> dilation = {1, 1};
  return at::conv2d(x, kernel, at::Tensor(), at::IntArrayRef(strides), at::IntArrayRef(padding),
                    at::IntArrayRef(dilation), x.size(1));
}

#ifdef FORALL_CUDA_KERNELS

// Enough blocks for every multiprocessor to have work while others wait for memory.
constexpr int64_t kWantedBlocks = 132 * 20;

bool KernelsApply(const at::Tensor& x, const at::Tensor& kernel, int64_t stride) {
  const int64_t k = kernel.size(2);
  return x.is_cuda() && x.scalar_type() == at::kFloat && kernel.size(3) == k &&
         (k == 3 || k == 5 || k == 7) && (stride == 1 || stride == 2) &&
         x.size(2) <= kDepthwiseMaxSide && x.size(3) <= kDepthwiseMaxSide &&
         x.numel() < (int64_t{1} << 31);
}

DepthwiseShape ShapeOf(const at::Tensor& x, const at::Tensor& kernel, int64_t stride) {
  const auto narrow = [](int64_t v) { return static_cast<int>(v); };
  return {narrow(x.size(0)), narrow(x.size(1)),      narrow(x.size(2)),
          narrow(x.size(3)), narrow(kernel.size(2)), narrow(stride)};
}

void CheckLaunch(int error, const char* what) {
  TORCH_CHECK(error == 0, what, ": CUDA error ", error);
}

class CustomDepthwise : public torch::autograd::Function<CustomDepthwise> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x_in,
                            const at::Tensor& kernel_in, int64_t stride) {
    const at::Tensor x = x_in.contiguous();
    const at::Tensor kernel = kernel_in.contiguous();
    context->save_for_backward({x, kernel});
    context->saved_data["stride"] = stride;
    const DepthwiseShape shape = ShapeOf(x, kernel, stride);
    at::Tensor output =
        at::empty({x.size(0), x.size(1), shape.out_height(), shape.out_width()}, x.options());
    CheckLaunch(LaunchDepthwiseForward(shape, x.data_ptr<float>(), kernel.data_ptr<float>(),
                                       output.data_ptr<float>()),
                "depthwise forward");
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& kernel = saved[1];
    const int64_t stride = context->saved_data["stride"].toInt();
    const at::Tensor dy = gradients[0].contiguous();
    const DepthwiseShape shape = ShapeOf(x, kernel, stride);
    at::Tensor dx = at::empty_like(x);
    CheckLaunch(LaunchDepthwiseInputGradient(shape, dy.data_ptr<float>(), kernel.data_ptr<float>(),
                                             dx.data_ptr<float>()),
                "depthwise input gradient");
    const int64_t chunks =
        std::clamp<int64_t>((kWantedBlocks + x.size(1) - 1) / x.size(1), 1, x.size(0));
    at::Tensor parts = at::empty({chunks, x.size(1), shape.kernel, shape.kernel}, x.options());
    CheckLaunch(LaunchDepthwiseWeightGradient(shape, x.data_ptr<float>(), dy.data_ptr<float>(),
                                              static_cast<int>(chunks), parts.data_ptr<float>()),
                "depthwise weight gradient");
    return {dx, parts.sum(0).unsqueeze(1), at::Tensor()};
  }
};

#endif

}  // namespace

bool HasCustomDepthwise() {
#ifdef FORALL_CUDA_KERNELS
  return true;
#else
  return false;
#endif
}

at::Tensor DepthwiseConvolution(const at::Tensor& x, const at::Tensor& kernel, int stride,
                                DepthwiseMethod method) {
#ifdef FORALL_CUDA_KERNELS
  if (method == DepthwiseMethod::kCustom && KernelsApply(x, kernel, stride)) {
    return CustomDepthwise::apply(x, kernel, int64_t{stride});
  }
#endif
  return LibraryConvolution(x, kernel, stride);
}

namespace {

struct CheckedShape {
  int64_t channels, side, kernel, stride;
};

// Forward and both gradients; the gradient of the output is `dy`.
std::vector<at::Tensor> ForwardAndBackward(const at::Tensor& x, const at::Tensor& kernel,
                                           const at::Tensor& dy, int64_t stride,
                                           DepthwiseMethod method) {
  const at::Tensor x_leaf = x.detach().requires_grad_(true);
  const at::Tensor kernel_leaf = kernel.detach().requires_grad_(true);
  const at::Tensor y = DepthwiseConvolution(x_leaf, kernel_leaf, static_cast<int>(stride), method);
  y.backward(dy);
  return {y.detach(), x_leaf.grad(), kernel_leaf.grad()};
}

double MillisecondsOf(const std::function<void()>& work, const at::Tensor& any) {
  const auto wait = [&] { (void)any.sum().item<float>(); };
  work();
  wait();
  constexpr int kRepeats = 3;
  const int64_t start = Clock::Real()->SteadyNanos();
  for (int i = 0; i < kRepeats; ++i) work();
  wait();
  return static_cast<double>(Clock::Real()->SteadyNanos() - start) * 1e-6 / kRepeats;
}

}  // namespace

absl::Status CheckDepthwise(const at::Device& device) {
  if (!HasCustomDepthwise() || !device.is_cuda()) {
    return absl::FailedPreconditionError(
        "--check-depthwise needs --device cuda and a build with FORALL_TRAINER_CUDA=ON");
  }
  constexpr int64_t kImages = 1024;
  const at::TensorOptions floats = at::TensorOptions(at::kFloat).device(device);
  double worst = 0;
  for (const CheckedShape& shape : std::vector<CheckedShape>{{16, 28, 3, 1},
                                                             {96, 28, 7, 2},
                                                             {48, 20, 3, 2},
                                                             {144, 14, 5, 1},
                                                             {144, 14, 7, 1},
                                                             {192, 14, 7, 2},
                                                             {144, 12, 5, 2},
                                                             {576, 7, 3, 1},
                                                             {576, 7, 5, 1},
                                                             {576, 7, 7, 1},
                                                             {288, 5, 7, 1}}) {
    const int64_t out = (shape.side - 1) / shape.stride + 1;
    const at::Tensor x = at::randn({kImages, shape.channels, shape.side, shape.side}, floats);
    const at::Tensor kernel = at::randn({shape.channels, 1, shape.kernel, shape.kernel}, floats);
    const at::Tensor dy = at::randn({kImages, shape.channels, out, out}, floats);
    const auto run = [&](DepthwiseMethod method) {
      return ForwardAndBackward(x, kernel, dy, shape.stride, method);
    };
    const std::vector<at::Tensor> expected = run(DepthwiseMethod::kAten);
    const std::vector<at::Tensor> got = run(DepthwiseMethod::kCustom);
    double errors[3];
    for (int i = 0; i < 3; ++i) {
      errors[i] = ((got[i] - expected[i]).norm() / expected[i].norm()).item<double>();
      worst = std::max(worst, std::isfinite(errors[i]) ? errors[i] : 1e9);
    }
    const double aten = MillisecondsOf([&] { run(DepthwiseMethod::kAten); }, x);
    const double custom = MillisecondsOf([&] { run(DepthwiseMethod::kCustom); }, x);
    std::printf(
        "c %3d side %2d k %d s %d: relative errors y %.1e dx %.1e dw %.1e, aten %.3f ms, "
        "custom %.3f ms\n",
        static_cast<int>(shape.channels), static_cast<int>(shape.side),
        static_cast<int>(shape.kernel), static_cast<int>(shape.stride), errors[0], errors[1],
        errors[2], aten, custom);
    std::fflush(stdout);
  }
  if (worst > 1e-4) {
    return absl::InternalError(absl::StrCat("relative error ", worst, " exceeds 1e-4"));
  }
  return absl::OkStatus();
}

}  // namespace forall
