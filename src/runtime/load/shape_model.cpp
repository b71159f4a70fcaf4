#include "runtime/load/shape_model.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/fail.h"
#include "runtime/load/asked_weights.h"
#include "runtime/network.h"
#include "runtime/plan/pictures.h"

namespace galago::runtime {
namespace {

/// Where a floating point format of T's width has its parts.
struct Format {
  int mantissa_bits;
  int bias;
};

/// xorshift64* (Vigna, arXiv:1402.6246): a few cycles a number, and no value of a weight matters.
class Noise {
 public:
  explicit Noise(std::uint64_t seed) : state_(seed * 2 + 1) {}
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1DULL;
  }

 private:
  std::uint64_t state_;
};

/// Random sign and mantissa at a fixed exponent: magnitudes in [2^exponent, 2^(exponent + 1)).
template <class T>
void fill(const Format& format, int exponent, Noise noise, std::span<std::byte> to) {
  constexpr int sign_bit = sizeof(T) * 8 - 1;
  const T exponent_bits = static_cast<T>(static_cast<T>(exponent + format.bias) << format.mantissa_bits);
  const T random_bits = static_cast<T>((T{1} << sign_bit) | ((T{1} << format.mantissa_bits) - 1));
  constexpr std::size_t per_number = sizeof(std::uint64_t) / sizeof(T);
  const std::size_t n = to.size() / sizeof(T);
  for (std::size_t i = 0; i < n; i += per_number) {
    auto parts = std::bit_cast<std::array<T, per_number>>(noise.next());
    for (T& part : parts) part = static_cast<T>((part & random_bits) | exponent_bits);
    std::memcpy(to.data() + i * sizeof(T), parts.data(), std::min(per_number, n - i) * sizeof(T));
  }
}

int exponent_of(const Shape& shape) {
  if (shape.rank() < 2) return 0;
  const std::int64_t cols = shape.elements() / shape[0];
  return -1 - static_cast<int>(std::log2(static_cast<double>(cols)) / 2);
}

}  // namespace

Blueprint model_of_shape(const checkpoint::KnownShape& shape) {
  Blueprint blueprint = draw_blueprint(checkpoint::open_shape(shape));
  AskedWeights asked;
  load_network(blueprint.description, asked);
  for (const auto& [canonical, dims] : asked.shapes()) {
    const Bytes bytes = static_cast<Bytes>(dims.elements()) * size_of(shape.stored);
    blueprint.checkpoint.tensors.emplace(
        canonical,
        checkpoint::TensorSource{checkpoint::no_file, {canonical, shape.stored, dims, 0, bytes}, dims, {}});
  }
  return blueprint;
}

Blueprint model_of_shape(std::string_view name) {
  return model_of_shape(checkpoint::find_shape(name));
}

std::int64_t shape_prompt_length(const Blueprint& model, const Workload& workload) {
  if (workload.text_tokens < 0 || workload.n_images < 0 || workload.text_tokens + workload.n_images < 1) {
    fail(ErrorCode::usage,
         "the prompt has {} tokens of text and {} pictures, expected one of either at least",
         workload.text_tokens, workload.n_images);
  }
  std::int64_t tokens = workload.text_tokens;
  for (std::int64_t i = 0; i < workload.n_images; ++i) {
    tokens += picture_limits(model, workload, i).n_tokens;
  }
  return tokens;
}

void invent_values(const Shape& shape, DType dtype, std::uint64_t seed, std::span<std::byte> to) {
  const int exponent = exponent_of(shape);
  const Noise noise(seed);
  switch (dtype) {
    case DType::f32:
      return fill<std::uint32_t>({23, 127}, exponent, noise, to);
    case DType::f16:
      return fill<std::uint16_t>({10, 15}, exponent, noise, to);
    case DType::bf16:
      return fill<std::uint16_t>({7, 127}, exponent, noise, to);
    default:
      fail(ErrorCode::internal, "values of type {} cannot be invented", name_of(dtype));
  }
}

}  // namespace galago::runtime
