#include "backend/op_costs.h"

#include <algorithm>

namespace galago::backend::costs {
namespace {

double elements_of(const Matrix& matrix) {
  return static_cast<double>(matrix.rows * matrix.cols);
}

Bytes bytes_of(const Matrix& matrix) {
  return static_cast<Bytes>(matrix.rows * matrix.cols) * sizeof(float);
}

/// The sum over a sequence's rows of how many positions each sees.
double positions_seen(const SequenceRows& rows, const Heads& heads) {
  const auto sum_to = [](std::int64_t n) { return static_cast<double>(n) * static_cast<double>(n + 1) / 2; };
  const std::int64_t end = rows.first_position + rows.n_rows;
  const std::int64_t most = heads.window + heads.sinks;
  if (heads.window == 0 || end <= most) return sum_to(end) - sum_to(rows.first_position);
  const std::int64_t growing_end = std::max(most, rows.first_position);
  return sum_to(growing_end) - sum_to(rows.first_position) +
         static_cast<double>(end - growing_end) * static_cast<double>(most);
}

/// A score and its share of a value: two products and sums each, for every element of the heads.
double attention_flops(double pairs, const Heads& heads) {
  return 4.0 * pairs * static_cast<double>(heads.n_heads * heads.head_size);
}

}  // namespace

Cost linear(const Matrix& x, const Weight& w, const Epilogue& epilogue, const Matrix& y) {
  Cost cost{2.0 * static_cast<double>(x.rows * x.cols * y.cols), bytes_of(x) + w.bytes(), bytes_of(y)};
  if (epilogue.residual.rows > 0) cost.bytes_read += bytes_of(epilogue.residual);
  return cost;
}

Cost gated_linear(const Matrix& x, const Weight& gate_up, const Matrix& y) {
  return {4.0 * static_cast<double>(x.rows * x.cols * y.cols), bytes_of(x) + gate_up.bytes(), bytes_of(y)};
}

Cost gate(const Matrix& x, const Matrix& y) {
  return {8.0 * elements_of(y), bytes_of(x), bytes_of(y)};
}

Cost scale(const Matrix& x) {
  return {elements_of(x), bytes_of(x), bytes_of(x)};
}

Cost layer_norm(const Matrix& x, const Weight& weight, const Weight& bias, const Matrix& y) {
  return {8.0 * elements_of(x), bytes_of(x) + weight.bytes() + bias.bytes(), bytes_of(y)};
}

Cost rms_norm(const Matrix& x, const Weight& weight, const Matrix& y) {
  return {4.0 * elements_of(x), bytes_of(x) + weight.bytes(), bytes_of(y)};
}

Cost add_scaled(const Matrix& x, const Weight& scale, const Matrix& y) {
  return {2.0 * elements_of(x), bytes_of(x) + bytes_of(y) + scale.bytes(), bytes_of(y)};
}

Cost move(const Matrix& from, const Matrix& to) {
  return {0, bytes_of(from), bytes_of(to)};
}

Cost tower_embed(const Matrix& patches, const Weight& class_embedding, const Weight& positions,
                 const Matrix& y) {
  return {elements_of(y), bytes_of(patches) + class_embedding.bytes() + positions.bytes(), bytes_of(y)};
}

Cost choose(const Matrix& logits) {
  return {elements_of(logits), bytes_of(logits), static_cast<Bytes>(logits.rows) * sizeof(std::int32_t)};
}

Cost rope_frequencies(std::span<const float> frequencies) {
  return {20.0 * static_cast<double>(frequencies.size()), 0, frequencies.size_bytes()};
}

Cost rope_table(std::span<const SequenceRows> sequences, const Weight& inverse_frequencies,
                const Matrix& table) {
  std::int64_t n_rows = 0;
  for (const SequenceRows& rows : sequences) n_rows += rows.n_rows;
  return {20.0 * static_cast<double>(n_rows * table.cols), inverse_frequencies.bytes(),
          static_cast<Bytes>(n_rows * table.cols) * sizeof(float)};
}

Cost rope(const Matrix& x, const Matrix& table) {
  return {3.0 * elements_of(x), bytes_of(x) + bytes_of(table), bytes_of(x)};
}

Cost append_kv(const Matrix& k, const Matrix& v, const Heads& heads, const LayerPages& pages) {
  return {0, bytes_of(k) + bytes_of(v),
          2 * static_cast<Bytes>(k.rows * heads.n_kv_heads) * pages.row_bytes(heads)};
}

Cost attend_tile(const Matrix& q, std::int64_t tokens_per_tile, const Heads& heads, const Matrix& k) {
  return {attention_flops(static_cast<double>(q.rows * tokens_per_tile), heads),
          bytes_of(q) + 2 * bytes_of(k), bytes_of(q)};
}

Cost attend_pages(const Matrix& q, std::span<const SequenceRows> sequences, const LayerPages& pages,
                  const Heads& heads) {
  Cost cost;
  for (const SequenceRows& rows : sequences) {
    const Bytes row_bytes = static_cast<Bytes>(rows.n_rows * q.cols) * sizeof(float);
    const std::int64_t last = rows.first_position + rows.n_rows;
    const std::int64_t positions =
        heads.window == 0 ? last : std::min(last, heads.sinks + heads.window + rows.n_rows - 1);
    cost.flops += attention_flops(positions_seen(rows, heads), heads);
    cost.bytes_read +=
        row_bytes + 2 * static_cast<Bytes>(positions * heads.n_kv_heads) * pages.row_bytes(heads);
    cost.bytes_written += row_bytes;
  }
  return cost;
}

}  // namespace galago::backend::costs
