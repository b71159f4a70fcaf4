// How fast the kernels that decide the speed are, at LLaVA's shapes: seconds, and the arithmetic and bytes
// that they cannot do without, as JSON for tools/gpu-check. "small" as an argument: tiny shapes, to try the
// program out.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/kernel_formats.h"
#include "kernels/cuda/device_array.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/sequence_places.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

constexpr Grouped int8_format{8, 32, DType::f16, galago::GroupOffset::none, Codebook::none};
constexpr Grouped int4_format{4, 32, DType::f16, galago::GroupOffset::minimum, Codebook::none};

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

struct Rate {
  std::string name;
  double seconds, flops, bytes;
};

class Bench {
 public:
  explicit Bench(bool small) : small_(small) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    int device_processors = 1;
    check(cudaDeviceGetAttribute(&device_processors, cudaDevAttrMultiProcessorCount, 0));
    n_processors_ = device_processors;
  }
  ~Bench() { cudaStreamDestroy(stream_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  /// Five tiles of 577 tokens.
  void tower_attention() {
    const std::int64_t tokens = small_ ? 40 : 577;
    const std::int64_t n_tiles = small_ ? 1 : 5;
    const std::int64_t heads = small_ ? 1 : 16;
    const std::int64_t head_size = 64;
    const std::int64_t width = heads * head_size;
    const auto qkv = filled<float>(n_tiles * tokens * 3 * width);
    const auto out = filled<float>(n_tiles * tokens * width);
    Attend op{};
    op.q = {qkv->data(), n_tiles * tokens, width, 3 * width};
    op.out = {out->data(), n_tiles * tokens, width, width};
    op.k = qkv->data() + width;
    op.v = qkv->data() + 2 * width;
    op.kv_stride = 3 * width;
    op.n_heads = op.n_kv_heads = heads;
    op.head_size = head_size;
    op.scale = 0.125F;
    op.tile_rows = tokens;
    const double pairs = static_cast<double>(n_tiles * tokens * tokens);
    measure("attention, tower of five tiles", 4 * pairs * static_cast<double>(width),
            4.0 * 4 * static_cast<double>(n_tiles * tokens * width),
            [&](int) { return attend_tensor(stream_, op); });
  }

  /// The last chunk of a prompt of 2,880 tokens, and the first token after it.
  void page_attention() {
    const std::int64_t length = small_ ? 70 : 2880;
    const std::int64_t rows = small_ ? 20 : 512;
    const std::int64_t heads = small_ ? 2 : 32;
    const std::int64_t head_size = 128;
    const std::int64_t width = heads * head_size;
    const std::int64_t page_tokens = 16;
    std::vector<std::int32_t> order(static_cast<std::size_t>((length + page_tokens) / page_tokens));
    std::iota(order.rbegin(), order.rend(), 0);
    const DeviceArray<std::int32_t> table(order, stream_);
    const auto q = filled<float>(rows * width);
    const auto out = filled<float>(rows * width);
    for (const WeightFormat& format :
         {WeightFormat(DType::f16), WeightFormat(int8_format), WeightFormat(int4_format)}) {
      const auto row_bytes = static_cast<std::int64_t>(format.row_bytes(head_size));
      const std::int64_t page_bytes = 2 * page_tokens * heads * row_bytes;
      const auto pages = filled<std::byte>(page_bytes * static_cast<std::int64_t>(order.size()));
      Attend op{};
      op.paged = {pages->data(), page_bytes, page_tokens, Element::f16, {}, table.data()};
      if (format.is_grouped()) op.paged.grouped = backend::rows_of(format.grouped(), head_size);
      op.q = {q->data(), rows, width, width};
      op.out = {out->data(), rows, width, width};
      op.n_heads = op.n_kv_heads = heads;
      op.head_size = head_size;
      op.scale = 0.09F;
      op.first_position = length - rows;
      const double seen = static_cast<double>(rows * (length - rows) + rows * (rows + 1) / 2);
      const double kv = 2.0 * static_cast<double>(length * heads * row_bytes);
      measure("attention, prefill over pages in " + describe(format), 4 * seen * static_cast<double>(width),
              kv, [&](int) { return attend_tensor(stream_, op); });
      op.q.rows = op.out.rows = 1;
      op.first_position = length - 1;
      const std::int64_t most = (4 * n_processors_ + heads - 1) / heads;
      const std::int64_t shares = std::clamp<std::int64_t>((length + 127) / 128, 1, most);
      const auto partials = filled<float>(decode_partial_floats(1, heads, head_size, shares));
      const SequencePlaces place(length - 1, 1, stream_);
      measure("attention, decode over pages in " + describe(format),
              4.0 * static_cast<double>(length * width), kv,
              [&](int) { return attend_few(stream_, op, place.places(), shares, partials->data()); });
    }
  }

  /// A 7B decoder's output and gate-up projections.
  void products() {
    for (const WeightFormat& format :
         {WeightFormat(DType::f16), WeightFormat(int8_format), WeightFormat(int4_format)}) {
      product(format, 4096, 1, false);
      product(format, 22016, 1, true);
      product(format, 22016, 16, true);
      product(format, 22016, 64, true);
    }
  }

  void print() const {
    std::printf("[");
    for (std::size_t i = 0; i < rates_.size(); ++i) {
      const Rate& rate = rates_[i];
      std::printf("%s\n{\"name\": \"%s\", \"seconds\": %.6g, \"flops\": %.6g, \"bytes\": %.6g}",
                  i == 0 ? "" : ",", rate.name.c_str(), rate.seconds, rate.flops, rate.bytes);
    }
    std::printf("\n]\n");
  }

 private:
  /// Memory of small numbers, in whatever type.
  template <class T>
  std::unique_ptr<DeviceArray<T>> filled(std::int64_t n) {
    auto array = std::make_unique<DeviceArray<T>>(static_cast<std::size_t>(n));
    check(cudaMemsetAsync(array->data(), 0x2c, static_cast<std::size_t>(n) * sizeof(T), stream_));
    return array;
  }

  void product(const WeightFormat& format, std::int64_t weight_rows, std::int64_t rows, bool gated) {
    const std::int64_t k = small_ ? 256 : 4096;
    if (small_) weight_rows = 128;
    const std::int64_t n = gated ? weight_rows / 2 : weight_rows;
    const auto weight_bytes = weight_rows * static_cast<std::int64_t>(format.row_bytes(k));
    // More than any cache holds, so that every run reads memory.
    const std::int64_t copies = small_ ? 2 : (std::int64_t{400} << 20) / weight_bytes + 1;
    const auto weights = filled<std::byte>(copies * weight_bytes);
    const auto x = filled<float>(rows * k);
    const auto narrowed = filled<std::uint16_t>(rows * narrow_stride(k));
    const auto y = filled<float>(rows * n);
    const auto partials = filled<float>(small_ ? 1 << 16 : 8 << 20);
    GroupedRows grouped{};
    if (format.is_grouped()) grouped = backend::rows_of(format.grouped(), k);
    const auto op_of = [&](int run) {
      Linear op{};
      op.x = x->data();
      op.x_stride = k;
      op.w = weights->data() + run % copies * weight_bytes;
      op.up = gated ? static_cast<const std::byte*>(op.w) + weight_bytes / 2 : nullptr;
      op.element = Element::f16;
      op.m = rows;
      op.n = n;
      op.k = k;
      op.activation = gated ? Activation::silu : Activation::none;
      op.y = y->data();
      op.y_stride = n;
      op.grouped = format.is_grouped() ? &grouped : nullptr;
      return op;
    };
    const std::string name = std::to_string(rows) + (rows == 1 ? " row" : " rows") +
                             (gated ? ", gate and up, " : ", ") + std::to_string(weight_rows) + " x " +
                             std::to_string(k) + " in " + describe(format);
    const double flops = 2.0 * static_cast<double>(rows * weight_rows * k);
    if (rows <= max_gemv_rows) {
      return measure(name, flops, static_cast<double>(weight_bytes),
                     [&](int run) { return gemv(stream_, op_of(run)); });
    }
    const std::int64_t splits =
        tensor_product_splits(op_of(0), n_processors_, static_cast<std::int64_t>(partials->size()));
    measure(name, flops, static_cast<double>(weight_bytes), [&](int run) {
      const Linear op = op_of(run);
      const cudaError_t error = narrow_rows(stream_, {x->data(), rows, k, k}, Element::f16, narrowed->data());
      return error != cudaSuccess ? error
                                  : linear_tensor(stream_, op, {narrowed->data(), partials->data(), splits});
    });
  }

  /// The fastest of several rounds of some runs each.
  template <class Run>
  void measure(const std::string& name, double flops, double bytes, Run&& run) {
    const int rounds = small_ ? 1 : 5;
    const int runs = small_ ? 1 : 20;
    cudaEvent_t start = nullptr;
    cudaEvent_t end = nullptr;
    check(cudaEventCreate(&start));
    check(cudaEventCreate(&end));
    double best = 1e9;
    for (int round = 0; round < rounds; ++round) {
      check(run(0));
      check(cudaEventRecord(start, stream_));
      for (int i = 0; i < runs; ++i) check(run(i));
      check(cudaEventRecord(end, stream_));
      check(cudaEventSynchronize(end));
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, start, end));
      best = std::min(best, milliseconds / 1e3 / runs);
    }
    cudaEventDestroy(start);
    cudaEventDestroy(end);
    rates_.push_back({name, best, flops, bytes});
  }

  bool small_;
  cudaStream_t stream_ = nullptr;
  int n_processors_ = 1;
  std::vector<Rate> rates_;
};

}  // namespace
}  // namespace galago::kernels::GALAGO_DEVICE_SPACE

int main(int argc, char** argv) {
  try {
    galago::kernels::GALAGO_DEVICE_SPACE::Bench bench(argc > 1 && std::strcmp(argv[1], "small") == 0);
    bench.tower_attention();
    bench.page_attention();
    bench.products();
    bench.print();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_rates: %s\n", error.what());
    return 1;
  }
  return 0;
}
