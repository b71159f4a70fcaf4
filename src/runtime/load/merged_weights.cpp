// Matrices that adapters are merged into on their way to memory.
#include <algorithm>
#include <array>

#include "runtime/load/weight_loader.h"
#include "tensor/convert.h"

namespace galago::runtime {
namespace {

// Of the rows that adapters are added to at once: what is copied to a device at once holds them in FP32.
constexpr std::int64_t merged_elements = 256 * 1024;

/// Some neighbouring rows of a source, as a source of their own.
checkpoint::TensorSource rows_of(const checkpoint::TensorSource& source, std::int64_t first,
                                 std::int64_t count) {
  checkpoint::TensorSource part = source;
  part.rows.clear();
  part.shape = {count, source.shape[1]};
  const checkpoint::RowRun whole{0, source.shape[0]};
  const std::span<const checkpoint::RowRun> runs =
      source.rows.empty() ? std::span(&whole, 1) : std::span<const checkpoint::RowRun>(source.rows);
  for (const checkpoint::RowRun& run : runs) {
    const std::int64_t skipped = std::min(first, run.count);
    const std::int64_t taken = std::min(count, run.count - skipped);
    if (taken > 0) part.rows.push_back({run.first + skipped * run.step, taken, run.step});
    first -= skipped;
    count -= taken;
  }
  return part;
}

/// One adapter's factors in FP32; null in plan mode.
struct Factors {
  const float* a;  // [rank, columns]
  const float* b;  // [rows, rank]
  std::int64_t rank;
  float scale;
};

/// Four rows of A at a time, so that a row of the matrix is read and written once for all of them.
void add_product(const Factors& factors, std::int64_t index, std::span<float> row) {
  constexpr std::int64_t at_once = 4;
  const float* b = factors.b + index * factors.rank;
  for (std::int64_t k = 0; k < factors.rank; k += at_once) {
    std::array<float, at_once> weight{};
    std::array<const float*, at_once> a{};
    for (std::int64_t i = 0; i < at_once; ++i) {
      const bool exists = k + i < factors.rank;
      weight[static_cast<std::size_t>(i)] = exists ? factors.scale * b[k + i] : 0;
      a[static_cast<std::size_t>(i)] =
          factors.a + (exists ? k + i : k) * static_cast<std::int64_t>(row.size());
    }
    for (std::size_t j = 0; j < row.size(); ++j) {
      row[j] += weight[0] * a[0][j] + weight[1] * a[1][j] + weight[2] * a[2][j] + weight[3] * a[3][j];
    }
  }
}

}  // namespace

void WeightLoader::read_merged(const model::NamedShape& matrix, const WeightFormat& format, WeightSink* to) {
  const checkpoint::TensorSource& source = find(matrix);
  const std::int64_t n_rows = matrix.shape[0];
  const std::int64_t cols = matrix.shape[1];
  const memory::Scope scope(staging_);
  const auto staged = [&](const model::NamedShape& factor) {
    auto* values = staging_.array<float>(factor.shape.elements());
    read_floats(find(factor), to == nullptr ? nullptr : values);
    return values;
  };
  std::vector<Factors> all;
  for (const checkpoint::Merge& merge : checkpoint_.merges.at(matrix.name)) {
    const float* a = staged({merge.factors + ".a", {merge.rank, cols}});
    all.push_back({a, staged({merge.factors + ".b", {n_rows, merge.rank}}), merge.rank, merge.scale});
  }
  const std::int64_t batch = std::clamp<std::int64_t>(merged_elements / cols, 1, n_rows);
  auto* wide = staging_.array<float>(batch * cols);
  const Bytes row_bytes = format.row_bytes(cols);
  for (std::int64_t first = 0; first < n_rows; first += batch) {
    const std::int64_t count = std::min(batch, n_rows - first);
    read_floats(rows_of(source, first, count), to == nullptr ? nullptr : wide);
    if (to == nullptr) continue;
    std::byte* const places = to->next(static_cast<Bytes>(count) * row_bytes);
    pool_.parallel_for(count, [&](std::int64_t i, int /*thread*/) {
      const std::span<float> row(wide + i * cols, static_cast<std::size_t>(cols));
      const std::span<std::byte> place(places + static_cast<Bytes>(i) * row_bytes, row_bytes);
      for (const Factors& factors : all) add_product(factors, first + i, row);
      if (format.is_grouped()) {
        round_row(source, format.grouped(), row, place);
      } else {
        from_f32(format.dtype(), row, place);
      }
    });
  }
}

}  // namespace galago::runtime
