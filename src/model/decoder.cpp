#include "model/decoder.h"

#include <algorithm>
#include <cmath>

namespace galago::model {
namespace {

using memory::RegionId;

/// One step's buffers that live through all layers.
struct StepBuffers {
  Matrix hidden;      // [rows, hidden_size], the residual stream
  Matrix normed;      // [rows, hidden_size]
  Matrix attended;    // [rows, query_size], in the place of normed rows that nobody needs any more
  Matrix rope_table;  // [rows, rope.turned()]
};

struct StepContext {
  const DecoderShape& shape;
  const Decoder& decoder;
  backend::Backend& backend;
  backend::Execution& exec;
  const DecoderStep& step;
  StepBuffers buffers;

  Matrix scratch(std::int64_t rows, std::int64_t cols) const {
    return exec.arena.matrix(RegionId::activations, rows, cols);
  }
};

std::int64_t length_of(const backend::SequenceRows& rows) {
  return std::max(rows.length, rows.first_position + rows.n_rows);
}

/// The frequencies that turn a sequence's heads; null: they have to be computed for its length.
const Weight* stored_frequencies(const backend::SequenceRows& rows, const Decoder& decoder) {
  if (length_of(rows) <= decoder.shape.rope.trained_length) return &decoder.inverse_frequencies;
  return decoder.long_inverse_frequencies.present() ? &decoder.long_inverse_frequencies : nullptr;
}

/// How many sequences from `first` on share their stored frequencies with it.
std::size_t same_frequencies(std::span<const backend::SequenceRows> sequences, std::size_t first,
                             const Decoder& decoder) {
  const Weight* const stored = stored_frequencies(sequences[first], decoder);
  std::size_t end = first + 1;
  while (end < sequences.size() && stored != nullptr &&
         stored_frequencies(sequences[end], decoder) == stored) {
    ++end;
  }
  return end - first;
}

Weight frequencies_for(const backend::SequenceRows& rows, const Decoder& decoder, const StepContext& context,
                       std::span<float> scratch) {
  if (const Weight* const stored = stored_frequencies(rows, decoder)) return *stored;
  const Rope& rope = decoder.shape.rope;
  context.backend.rope_frequencies(context.exec, rope.dynamic_base(length_of(rows)), rope.dimensions,
                                   scratch);
  return {scratch.data(), DType::f32, {static_cast<std::int64_t>(scratch.size())}};
}

void make_rope_table(const Decoder& decoder, const StepContext& context) {
  const Rope& rope = decoder.shape.rope;
  const memory::Scope scope(context.exec.arena.region(RegionId::activations));
  const std::size_t n_scratch = rope.dynamic ? rope.frequencies.size() : 0;
  const std::span<float> scratch(
      context.exec.arena.array<float>(RegionId::activations, static_cast<std::int64_t>(n_scratch)),
      n_scratch);
  const std::span<const backend::SequenceRows> sequences = context.step.rows.sequences;
  for (std::size_t first = 0, count = 0; first < sequences.size(); first += count) {
    count = same_frequencies(sequences, first, decoder);
    context.backend.rope_table(context.exec, context.step.rows.of(first, count),
                               frequencies_for(sequences[first], decoder, context, scratch), rope.scale,
                               context.buffers.rope_table);
  }
}

using Place = SideBranches LayerBranches::*;

/// Some rows of a step through one adapter's branches of a layer.
void add_rows(const SideBranches& branches, const Matrix& x, const Matrix& y, const Matrix& scratch,
              const StepContext& context) {
  for (const SideBranch& branch : branches) {
    const backend::LowRank& factors = branch.factors;
    context.backend.add_low_rank(context.exec, x, factors, scratch.slice_cols(0, factors.a.rows()),
                                 y.slice_cols(branch.first_column, factors.b.rows()));
  }
}

/// Adds to y what the step's adapters make of x beside one layer; both are the step's rows from `first_row`
/// on. Every adapter's memory is accounted for, whichever rows go through it.
void add_branches(std::size_t layer, Place place, std::int64_t first_row, const Matrix& x, const Matrix& y,
                  const StepContext& context) {
  const Decoder& decoder = context.decoder;
  const auto add = [&](const Adapter& adapter, std::int64_t first, std::int64_t count) {
    const memory::Scope scope(context.exec.arena.region(RegionId::activations));
    const Matrix scratch = context.scratch(x.rows, adapter.max_rank);
    add_rows(adapter.layers[layer].*place, x.slice_rows(first, count), y.slice_rows(first, count),
             scratch.slice_rows(0, count), context);
  };
  if (decoder.picture_adapter) {
    const auto ids =
        context.step.rows.ids.subspan(static_cast<std::size_t>(first_row), static_cast<std::size_t>(x.rows));
    add(*decoder.picture_adapter, 0, 0);
    for (std::size_t first = 0; first < ids.size();) {
      std::size_t end = first;
      while (end < ids.size() && ids[end] < 0) ++end;
      if (end > first) {
        add(*decoder.picture_adapter, static_cast<std::int64_t>(first),
            static_cast<std::int64_t>(end - first));
      }
      first = end + 1;
    }
  }
  for (std::size_t i = 0; i < decoder.adapters.size(); ++i) {
    add(decoder.adapters[i], 0, context.step.adapter == i ? x.rows : 0);
  }
}

/// Whether any adapter may come between an MLP's two halves.
bool has_branches(const Decoder& decoder) {
  return decoder.picture_adapter.has_value() || !decoder.adapters.empty();
}

/// `index`: within the decoder's part.
void run_attention(std::size_t index, const backend::LayerPages& pages, const StepContext& context) {
  const auto& [shape, decoder, backend, exec, step, buffers] = context;
  const std::int64_t window = shape.windows[static_cast<std::size_t>(decoder.range.first) + index];
  const DecoderLayer& layer = decoder.layers[index];
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix qkv = context.scratch(buffers.hidden.rows, shape.query_size() + 2 * shape.kv_size());
  const Matrix q = qkv.slice_cols(0, shape.query_size());
  const Matrix k = qkv.slice_cols(shape.query_size(), shape.kv_size());
  const Matrix v = qkv.slice_cols(shape.query_size() + shape.kv_size(), shape.kv_size());
  const backend::Heads heads{shape.n_heads,   shape.n_kv_heads,
                             shape.head_size, 1.0F / std::sqrt(static_cast<float>(shape.head_size)),
                             window,          shape.sinks};

  backend.rms_norm(exec, buffers.hidden, layer.attention_norm, shape.norm_epsilon, buffers.normed);
  backend.linear(exec, buffers.normed, layer.qkv, {.bias = layer.qkv_bias}, qkv);
  add_branches(index, &LayerBranches::qkv, 0, buffers.normed, qkv, context);
  backend.rope(exec, q, shape.head_size, buffers.rope_table);
  backend.rope(exec, k, shape.head_size, buffers.rope_table);
  backend.append_kv(exec, k, v, step.rows, heads, pages);
  backend.attend_pages(exec, q, step.rows, pages, heads, buffers.attended);
  backend.linear(exec, buffers.attended, layer.attention_out,
                 {.bias = layer.attention_out_bias, .residual = buffers.hidden}, buffers.hidden);
  add_branches(index, &LayerBranches::attention_out, 0, buffers.attended, buffers.hidden, context);
}

/// `count` of the step's rows, whose norm is there, from `first` on.
void run_mlp_rows(std::size_t index, std::int64_t first, std::int64_t count, const StepContext& context) {
  const auto& [shape, decoder, backend, exec, step, buffers] = context;
  const DecoderLayer& layer = decoder.layers[index];
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix normed = buffers.normed.slice_rows(first, count);
  const Matrix hidden = buffers.hidden.slice_rows(first, count);
  const Matrix gated = context.scratch(count, shape.mlp_size);

  if (has_branches(decoder)) {
    const Matrix gate_up = context.scratch(count, 2 * shape.mlp_size);
    backend.linear(exec, normed, layer.gate_up, {}, gate_up);
    add_branches(index, &LayerBranches::gate_up, first, normed, gate_up, context);
    backend.gate(exec, gate_up, shape.activation, gated);
  } else {
    backend.gated_linear(exec, normed, layer.gate_up, shape.activation, gated);
  }
  backend.linear(exec, gated, layer.down, {.residual = hidden}, hidden);
  add_branches(index, &LayerBranches::down, first, gated, hidden, context);
}

void run_mlp(std::size_t index, const StepContext& context) {
  const auto& [shape, decoder, backend, exec, step, buffers] = context;
  backend.rms_norm(exec, buffers.hidden, decoder.layers[index].mlp_norm, shape.norm_epsilon, buffers.normed);
  const std::int64_t n_rows = buffers.hidden.rows;
  const std::int64_t at_once = step.mlp_rows > 0 ? step.mlp_rows : n_rows;
  for (std::int64_t first = 0; first < n_rows; first += at_once) {
    run_mlp_rows(index, first, std::min(at_once, n_rows - first), context);
  }
}

}  // namespace

KvPages layout_pages(const DecoderShape& shape, std::int64_t n_layers, const WeightFormat& format,
                     std::int64_t page_tokens) {
  KvPages pages;
  pages.page_tokens = page_tokens;
  pages.format = format;
  pages.layer_bytes =
      2 * static_cast<Bytes>(page_tokens * shape.n_kv_heads) * format.row_bytes(shape.head_size);
  pages.page_bytes = static_cast<Bytes>(n_layers) * pages.layer_bytes;
  return pages;
}

std::optional<backend::StepKey> repeatable(const Decoder& decoder, const DecoderStep& step,
                                           const Matrix& logits) {
  const auto& [ids, sequences, on_device] = step.rows;
  const bool is_decoding = !ids.empty() && sequences.size() == ids.size() &&
                           std::all_of(ids.begin(), ids.end(), [](auto id) { return id >= 0; });
  if (!is_decoding || step.feed != nullptr) return std::nullopt;
  const auto n_rows = static_cast<std::int64_t>(ids.size());
  if (logits.rows != 0 && logits.rows != n_rows) return std::nullopt;
  const Weight* const stored = stored_frequencies(sequences.front(), decoder);
  if (stored == nullptr || same_frequencies(sequences, 0, decoder) != sequences.size()) return std::nullopt;
  return backend::StepKey{n_rows, step.adapter, stored->data, on_device,
                          logits.rows == 0 ? nullptr : logits.data};
}

void embed_step(const Decoder& decoder, backend::Backend& backend, backend::Execution& exec,
                const DecoderStep& step, const Matrix& hidden) {
  backend.token_embed(exec, step.rows, decoder.token_embedding, step.image_embeddings, hidden);
}

void run_layers(const Decoder& decoder, backend::Backend& backend, backend::Execution& exec,
                const KvPages& pages, const DecoderStep& step, const Matrix& hidden) {
  const DecoderShape& shape = decoder.shape;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix inputs =
      exec.arena.matrix(RegionId::activations, hidden.rows, std::max(shape.hidden_size, shape.query_size()));
  const StepBuffers buffers{hidden, inputs.slice_cols(0, shape.hidden_size),
                            inputs.slice_cols(0, shape.query_size()),
                            exec.arena.matrix(RegionId::activations, hidden.rows, shape.rope.turned())};
  const StepContext context{shape, decoder, backend, exec, step, buffers};

  make_rope_table(decoder, context);
  for (std::size_t i = 0; i < decoder.layers.size(); ++i) {
    if (step.feed != nullptr) step.feed->require(i);
    run_attention(i, pages.layer(static_cast<std::int64_t>(i)), context);
    run_mlp(i, context);
  }
}

void compute_logits(const Decoder& decoder, backend::Backend& backend, backend::Execution& exec,
                    const Matrix& hidden, const Matrix& logits) {
  const DecoderShape& shape = decoder.shape;
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix normed = exec.arena.matrix(RegionId::activations, hidden.rows, shape.hidden_size);
  backend.rms_norm(exec, hidden, decoder.norm, shape.norm_epsilon, normed);
  backend.linear(exec, normed, decoder.output, {}, logits);
}

}  // namespace galago::model
