// How near the kernels come to what one core of this machine can do: prints, for every instruction set, the
// measured peak and the fraction of it that linear and attention reach (docs/benchmarks/cpu-kernels.md).
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string_view>
#include <vector>

#include "backend/cpu/cpu_backend_class.h"
#include "backend/cpu/kernel_choice.h"
#include "kernels/cpu/kernels.h"
#include "support/random.h"

namespace galago::testing {
namespace {

using kernels::Activation;
using kernels::Element;
using kernels::KernelTable;

/// Seconds that this thread has computed: others on the machine disturb it less than the clock on the wall.
double computed_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Memory that begins with a cache line, as the engine's does: vectors across two lines take twice as long.
template <class Type>
class Lines {
 public:
  explicit Lines(std::size_t n) : memory_(n + 64 / sizeof(Type)) {}
  explicit Lines(const std::vector<Type>& values) : Lines(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }
  Type* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    return reinterpret_cast<Type*>((address + 63) / 64 * 64);
  }

 private:
  std::vector<Type> memory_;
};

struct Timing {
  double best;
  double median;
};

/// Runs the work for at least seven rounds and 0.3 s.
template <class Work>
Timing measure(Work&& work) {
  work();
  std::vector<double> rounds;
  double total = 0;
  while (rounds.size() < 7 || total < 0.3) {
    const double begin = computed_seconds();
    work();
    rounds.push_back(computed_seconds() - begin);
    total += rounds.back();
  }
  std::sort(rounds.begin(), rounds.end());
  return {rounds.front(), rounds[rounds.size() / 2]};
}

// Twelve independent chains of vector multiply-adds, as many as two pipes of four to six cycles' latency
// need.
constexpr int peak_chains = 12;
constexpr std::int64_t peak_steps = 2'000'000;
volatile float peak_value = 2;  // volatile: the loop must not be computed beforehand

// A macro: vectors of a width that the function's own instruction set has are lowered before anything is
// inlined.
#define GALAGO_PEAK(name, lanes, attributes)                            \
  attributes double name() {                                            \
    using Lanes = float __attribute__((vector_size((lanes)*4)));        \
    Lanes chains[peak_chains];                                          \
    const Lanes factor = Lanes{} + 0.999F;                              \
    const Lanes term = Lanes{} + 0.001F;                                \
    for (Lanes & chain : chains) chain = Lanes{} + peak_value;          \
    for (std::int64_t step = 0; step < peak_steps; ++step) {            \
      for (Lanes & chain : chains) chain = chain * factor + term;       \
    }                                                                   \
    for (int i = 1; i < peak_chains; ++i) chains[0] += chains[i];       \
    peak_value = chains[0][0];                                          \
    return 2.0 * (lanes)*peak_chains * static_cast<double>(peak_steps); \
  }

GALAGO_PEAK(peak_of_four, 4, )
#if defined(__x86_64__)
GALAGO_PEAK(peak_of_eight, 8, __attribute__((target("avx2,fma"))))
GALAGO_PEAK(peak_of_sixteen, 16, __attribute__((target("avx512f"))))
#endif

/// Multiply-adds that one core does in a second with this instruction set, as floating-point operations.
double measure_peak(std::string_view isa) {
  double (*loop)() = peak_of_four;
#if defined(__x86_64__)
  if (isa.starts_with("avx")) loop = peak_of_eight;
  if (isa.starts_with("avx512") || isa == "amx") loop = peak_of_sixteen;
#endif
  double operations = 0;
  return 1 / (measure([&] { operations = loop(); }).best / operations);
}

constexpr std::size_t far_bytes = std::size_t{256} << 20;  // beyond every cache

/// Eight streams through the memory, as the weight rows of a product are, so that the prefetchers are busy.
double measure_bandwidth(const std::vector<std::uint64_t>& memory) {
  constexpr std::size_t n_streams = 8, run = 8;
  volatile std::uint64_t result = 0;
  const std::size_t length = memory.size() / n_streams;
  const Timing timing = measure([&] {
    std::uint64_t sums[run] = {};
    for (std::size_t i = 0; i < length; i += run) {
      for (std::size_t stream = 0; stream < n_streams; ++stream) {
        const std::uint64_t* from = memory.data() + stream * length + i;
        for (std::size_t j = 0; j < run; ++j) sums[j] += from[j];
      }
    }
    result = std::accumulate(sums, sums + run, std::uint64_t{0});
  });
  return static_cast<double>(memory.size() * 8) / timing.best;
}

struct Ceilings {
  double operations;  // a second
  double bytes;       // a second
};

std::string_view name_of(Element element) {
  return element == Element::f32 ? "fp32" : element == Element::f16 ? "fp16" : "bf16";
}

void print(std::string_view what, const Timing& timing, double work, double ceiling, std::string_view unit) {
  fmt::print("| {} | {:.3f} | {:.3f} | {:.1f} {} | {:.0f} % |\n", what, 1e3 * timing.best,
             1e3 * timing.median, 1e-9 * work / timing.best, unit, 100 * work / timing.best / ceiling);
  std::fflush(stdout);
}

/// Room for rows of x in BF16.
struct Bf16Room {
  Bf16Room(std::int64_t m, std::int64_t k)
      : n_panels((m + kernels::bf16_panel - 1) / kernels::bf16_panel),
        pairs(static_cast<std::size_t>(n_panels * (k + 15) / 16 * 8 * kernels::bf16_panel)),
        rows{pairs.data(), (k + 15) / 16 * 8} {}

  void round(const KernelTable& table, const float* x, std::int64_t m, std::int64_t k) const {
    table.round_to_bf16(x, k, m, k, rows, 0, n_panels);
  }

  std::int64_t n_panels;
  Lines<std::uint32_t> pairs;
  kernels::Bf16Rows rows;
};

/// Weights [n, k] of any element type read from `memory`, which holds small numbers in each of them. `bf16`:
/// x is rounded to BF16, which is part of the time.
void bench_linear(const KernelTable& table, const Ceilings& ceilings, Element element, std::int64_t m,
                  std::int64_t n, std::int64_t k, bool bf16, const std::vector<std::uint64_t>& memory) {
  const std::size_t weight_bytes = static_cast<std::size_t>(n * k) * (element == Element::f32 ? 4 : 2);
  // One row: every call finds weights that no cache holds.
  const std::size_t n_copies = m == 1 ? memory.size() * 8 / weight_bytes : 1;
  Lines x(random_floats(static_cast<std::size_t>(m * k), 1));
  Lines<float> y(static_cast<std::size_t>(m * n));
  Lines<float> scratch(kernels::linear_scratch_floats(bf16));
  Bf16Room room(m, k);
  std::size_t copy = 0;
  const Timing timing = measure([&] {
    const auto* w = reinterpret_cast<const char*>(memory.data()) + copy++ % n_copies * weight_bytes;
    if (bf16) room.round(table, x.data(), m, k);
    kernels::Linear op{x.data(),         k,       w, nullptr,  element, m, n, k, nullptr,
                       Activation::none, nullptr, 0, y.data(), n};
    op.bf16 = bf16 ? &room.rows : nullptr;
    table.linear(op, 0, n, scratch.data());
  });
  const std::string what = fmt::format("{} linear {}, {}m {}, n {}, k {}", table.name, name_of(element),
                                       bf16 ? "x in BF16, " : "", m, n, k);
  if (m == 1) {
    print(what, timing, static_cast<double>(weight_bytes), ceilings.bytes, "GB/s");
  } else {
    print(what, timing, 2.0 * static_cast<double>(m * n * k), ceilings.operations, "GFLOP/s");
  }
}

/// Grouped weights [n, k] read from `memory`; one row: beyond every cache. `int8`: x is rounded to int8,
/// which is part of the time, `bf16`: to that.
void bench_grouped(const KernelTable& table, const Ceilings& ceilings, const Grouped& format, std::int64_t m,
                   bool int8, bool bf16, const std::vector<std::uint64_t>& memory) {
  const std::int64_t n = m == 1 ? 4096 : 1024, k = n;
  const Bytes weight_bytes = static_cast<Bytes>(n) * WeightFormat(format).row_bytes(k);
  const std::size_t n_copies = m == 1 ? memory.size() * 8 / weight_bytes : 1;
  Lines x(random_floats(static_cast<std::size_t>(m * k), 1));
  Lines<float> y(static_cast<std::size_t>(m * n));
  Lines<float> scratch(kernels::linear_scratch_floats(bf16));
  std::vector<std::int8_t> quants(static_cast<std::size_t>(m * k));
  std::vector<float> scales(static_cast<std::size_t>(m * k / 32)), sums(scales.size());
  const kernels::GroupedRows grouped = backend::rows_of(format, k);
  const bool paired = m <= kernels::linear_few_rows && kernels::reads_in_eights(grouped);
  Bf16Room room(m, k);
  const kernels::Int8Rows rows{quants.data(), k, scales.data(), sums.data(), 32, paired};
  std::size_t copy = 0;
  const Timing timing = measure([&] {
    const auto* w = reinterpret_cast<const char*>(memory.data()) + copy++ % n_copies * weight_bytes;
    if (int8) table.quantise(x.data(), k, k, &rows, 1, 0, m);
    if (bf16) room.round(table, x.data(), m, k);
    table.linear({x.data(), k, w, nullptr, Element::f32, m, n, k, nullptr, Activation::none, nullptr, 0,
                  y.data(), n, &grouped, int8 ? &rows : nullptr, 1, bf16 ? &room.rows : nullptr},
                 0, n, scratch.data());
  });
  const std::string what = fmt::format("{} linear {}, {}m {}, n {}, k {}", table.name, describe(format),
                                       int8   ? "x in int8, "
                                       : bf16 ? "x in BF16, "
                                              : "",
                                       m, n, k);
  if (m == 1) {
    print(what, timing, static_cast<double>(weight_bytes), ceilings.bytes, "GB/s");
  } else {
    print(what, timing, 2.0 * static_cast<double>(m * n * k), ceilings.operations, "GFLOP/s");
  }
}

/// One head of one picture of 577 tokens.
void bench_tile(const KernelTable& table, const Ceilings& ceilings, bool bf16) {
  const std::int64_t at_once = kernels::max_queries(bf16);
  const std::int64_t tokens = 577, head_size = 64, stride = 1024;
  Lines values(random_floats(static_cast<std::size_t>(3 * tokens * stride), 1));
  Lines<float> out(static_cast<std::size_t>(tokens * stride));
  const float* k = values.data() + tokens * stride;
  Lines<float> scratch(
      static_cast<std::size_t>(kernels::attention_scratch_floats(at_once, head_size, false, bf16)));
  const Timing timing = measure([&] {
    for (std::int64_t first = 0; first < tokens; first += at_once) {
      const std::int64_t n_rows = std::min(at_once, tokens - first);
      table.attention({values.data(),
                       stride,
                       out.data(),
                       stride,
                       first,
                       n_rows,
                       1,
                       head_size,
                       0.125F,
                       tokens,
                       0,
                       {k, k + tokens * stride, stride, Element::f32, kernels::max_block_keys},
                       nullptr,
                       0,
                       0,
                       0,
                       bf16},
                      scratch.data());
    }
  });
  print(fmt::format("{} attend_tile{}, {} tokens, head of {}", table.name, bf16 ? " in BF16" : "", tokens,
                    head_size),
        timing, 4.0 * static_cast<double>(tokens * tokens * head_size), ceilings.operations, "GFLOP/s");
}

/// One token after 4,000 others: a group of four query heads over FP16 pages that no cache holds.
void bench_decode(const KernelTable& table, const Ceilings& ceilings,
                  const std::vector<std::uint64_t>& memory) {
  const std::int64_t tokens = 4000, head_size = 128, group = 4, page_tokens = 16;
  const std::int64_t page_bytes = 2 * page_tokens * head_size * 2;
  const std::int64_t n_pages = tokens / page_tokens;
  const auto n_runs = static_cast<std::int64_t>(memory.size()) * 8 / (n_pages * page_bytes);
  std::vector<std::int32_t> pages(static_cast<std::size_t>(n_pages));
  const auto q = random_floats(static_cast<std::size_t>(group * head_size), 1);
  std::vector<float> out(q.size());
  std::int64_t run = 0;
  const Timing timing = measure([&] {
    std::iota(pages.begin(), pages.end(), static_cast<std::int32_t>(run++ % n_runs * n_pages));
    const auto* base = reinterpret_cast<const char*>(memory.data());
    table.attention({q.data(),
                     group * head_size,
                     out.data(),
                     group * head_size,
                     0,
                     1,
                     group,
                     head_size,
                     0.088F,
                     tokens,
                     1,
                     {base, base + page_bytes / 2, head_size, Element::f16, page_tokens},
                     pages.data(),
                     page_bytes},
                    nullptr);
  });
  print(fmt::format("{} attend_pages fp16, 1 token after {}, {} heads of {}", table.name, tokens, group,
                    head_size),
        timing, static_cast<double>(n_pages * page_bytes), ceilings.bytes, "GB/s");
}

void bench_all() {
  // 0x1c00 is a small number in FP16, BF16 and, twice, in FP32.
  std::vector<std::uint64_t> memory(far_bytes / 8, 0x1c001c001c001c00ULL);
  Ceilings ceilings{0, measure_bandwidth(memory)};
  fmt::print("One core reads {:.1f} GB/s.\n", 1e-9 * ceilings.bytes);
  for (const KernelTable* table : backend::runnable_kernels()) {
    ceilings.operations = measure_peak(table->name);
    fmt::print(
        "\n{}: one core does {:.1f} GFLOP/s.\n\n| what | ms, best | ms, median | rate | of the ceiling |\n"
        "|---|---|---|---|---|\n",
        table->name, 1e-9 * ceilings.operations);
    for (const std::int64_t m : {1, 16, 576}) {
      for (const Element element : {Element::f32, Element::f16, Element::bf16}) {
        const std::int64_t size = m == 1 ? 4096 : 1024;
        bench_linear(*table, ceilings, element, m, size, size, false, memory);
        if (table->multiplies_bf16 && element != Element::f32 && m > kernels::linear_few_rows)
          bench_linear(*table, ceilings, element, m, size, size, true, memory);
      }
    }
    for (const Grouped& format :
         {Grouped{8, 32, DType::f16, GroupOffset::none}, Grouped{4, 32, DType::f16, GroupOffset::none},
          Grouped{4, 32, DType::f16, GroupOffset::minimum},
          Grouped{4, 128, DType::f16, GroupOffset::zero_point},
          Grouped{4, 64, DType::f32, GroupOffset::none, Codebook::nf4}}) {
      for (const std::int64_t m : {1, 16, 576}) {
        bench_grouped(*table, ceilings, format, m, false, false, memory);
        if (table->multiplies_bf16 && m > kernels::linear_few_rows)
          bench_grouped(*table, ceilings, format, m, false, true, memory);
        if (kernels::multiplies_int8(backend::rows_of(format, 32))) {
          bench_grouped(*table, ceilings, format, m, true, false, memory);
        }
      }
    }
    bench_tile(*table, ceilings, false);
    if (table->multiplies_bf16) bench_tile(*table, ceilings, true);
    bench_decode(*table, ceilings, memory);
  }
}

}  // namespace
}  // namespace galago::testing

int main() {
  galago::testing::bench_all();
}
