#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace galago::model {
namespace {

using memory::RegionId;

std::string name(std::int64_t layer, const char* tensor) {
  return "decoder." + std::to_string(layer) + "." + tensor;
}

DecoderLayer load_layer(const DecoderShape& shape, std::int64_t i, WeightSource& source) {
  const std::int64_t hidden = shape.hidden_size;
  const std::int64_t query = shape.query_size();
  const std::int64_t kv = shape.kv_size();
  DecoderLayer layer;
  layer.attention_norm = source.vector({name(i, "attn_norm.weight"), {hidden}});
  layer.qkv =
      source.matrix(Part::decoder, std::array<NamedShape, 3>{{{name(i, "attn.q.weight"), {query, hidden}},
                                                              {name(i, "attn.k.weight"), {kv, hidden}},
                                                              {name(i, "attn.v.weight"), {kv, hidden}}}});
  if (shape.attention_bias) {
    layer.qkv_bias = source.vector(std::array<NamedShape, 3>{
        {{name(i, "attn.q.bias"), {query}}, {name(i, "attn.k.bias"), {kv}}, {name(i, "attn.v.bias"), {kv}}}});
  }
  layer.attention_out = source.matrix(Part::decoder, {name(i, "attn.o.weight"), {hidden, query}});
  if (shape.attention_out_bias) layer.attention_out_bias = source.vector({name(i, "attn.o.bias"), {hidden}});
  layer.mlp_norm = source.vector({name(i, "mlp_norm.weight"), {hidden}});
  layer.gate_up = source.matrix(
      Part::decoder, std::array<NamedShape, 2>{{{name(i, "mlp.gate.weight"), {shape.mlp_size, hidden}},
                                                {name(i, "mlp.up.weight"), {shape.mlp_size, hidden}}}});
  layer.down = source.matrix(Part::decoder, {name(i, "mlp.down.weight"), {hidden, shape.mlp_size}});
  return layer;
}

/// One step's buffers that live through all layers.
struct StepBuffers {
  Matrix hidden;      // [rows, hidden_size], the residual stream
  Matrix normed;      // [rows, hidden_size]
  Matrix rope_table;  // [rows, rope.turned()]
};

struct StepContext {
  const DecoderShape& shape;
  const Decoder& decoder;
  backend::Backend& backend;
  backend::Execution& exec;
  const DecoderStep& step;
  StepBuffers buffers;

  Matrix scratch(std::int64_t cols) const {
    return exec.arena.matrix(RegionId::activations, buffers.hidden.rows, cols);
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

/// Adds to y what the step's adapters make of x beside one layer. Every adapter's memory is accounted for,
/// whichever rows go through it.
void add_branches(std::size_t layer, Place place, const Matrix& x, const Matrix& y,
                  const StepContext& context) {
  const Decoder& decoder = context.decoder;
  const auto add = [&](const Adapter& adapter, std::int64_t first, std::int64_t count) {
    const memory::Scope scope(context.exec.arena.region(RegionId::activations));
    const Matrix scratch = context.scratch(adapter.max_rank);
    add_rows(adapter.layers[layer].*place, x.slice_rows(first, count), y.slice_rows(first, count),
             scratch.slice_rows(0, count), context);
  };
  if (decoder.picture_adapter) {
    const auto& ids = context.step.rows.ids;
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
  const Matrix qkv = context.scratch(shape.query_size() + 2 * shape.kv_size());
  const Matrix q = qkv.slice_cols(0, shape.query_size());
  const Matrix k = qkv.slice_cols(shape.query_size(), shape.kv_size());
  const Matrix v = qkv.slice_cols(shape.query_size() + shape.kv_size(), shape.kv_size());
  const Matrix attended = context.scratch(shape.query_size());
  const backend::Heads heads{shape.n_heads,   shape.n_kv_heads,
                             shape.head_size, 1.0F / std::sqrt(static_cast<float>(shape.head_size)),
                             window,          shape.sinks};

  backend.rms_norm(exec, buffers.hidden, layer.attention_norm, shape.norm_epsilon, buffers.normed);
  backend.linear(exec, buffers.normed, layer.qkv, {.bias = layer.qkv_bias}, qkv);
  add_branches(index, &LayerBranches::qkv, buffers.normed, qkv, context);
  backend.rope(exec, q, shape.head_size, buffers.rope_table);
  backend.rope(exec, k, shape.head_size, buffers.rope_table);
  backend.append_kv(exec, k, v, step.rows, heads, pages);
  backend.attend_pages(exec, q, step.rows, pages, heads, attended);
  backend.linear(exec, attended, layer.attention_out,
                 {.bias = layer.attention_out_bias, .residual = buffers.hidden}, buffers.hidden);
  add_branches(index, &LayerBranches::attention_out, attended, buffers.hidden, context);
}

void run_mlp(std::size_t index, const StepContext& context) {
  const auto& [shape, decoder, backend, exec, step, buffers] = context;
  const DecoderLayer& layer = decoder.layers[index];
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const Matrix gated = context.scratch(shape.mlp_size);

  backend.rms_norm(exec, buffers.hidden, layer.mlp_norm, shape.norm_epsilon, buffers.normed);
  if (has_branches(decoder)) {
    const Matrix gate_up = context.scratch(2 * shape.mlp_size);
    backend.linear(exec, buffers.normed, layer.gate_up, {}, gate_up);
    add_branches(index, &LayerBranches::gate_up, buffers.normed, gate_up, context);
    backend.gate(exec, gate_up, shape.activation, gated);
  } else {
    backend.gated_linear(exec, buffers.normed, layer.gate_up, shape.activation, gated);
  }
  backend.linear(exec, gated, layer.down, {.residual = buffers.hidden}, buffers.hidden);
  add_branches(index, &LayerBranches::down, gated, buffers.hidden, context);
}

}  // namespace

DecoderLayer load_decoder_layer(const DecoderShape& shape, std::int64_t index, WeightSource& source) {
  return load_layer(shape, index, source);
}

Decoder load_decoder(const DecoderShape& shape, const LayerRange& range, WeightSource& source,
                     std::int64_t n_left_out) {
  Decoder decoder;
  decoder.shape = shape;
  decoder.range = range;
  const Shape table{shape.vocab_size, shape.hidden_size};
  const auto embeddings = [&] { return source.matrix(Part::embeddings, {"decoder.embed.weight", table}); };
  if (decoder.is_first()) decoder.token_embedding = embeddings();
  decoder.inverse_frequencies = source.constant(shape.rope.frequencies);
  if (!shape.rope.long_frequencies.empty()) {
    decoder.long_inverse_frequencies = source.constant(shape.rope.long_frequencies);
  }
  for (std::int64_t i = range.first; i < range.end - n_left_out; ++i) {
    decoder.layers.push_back(load_layer(shape, i, source));
  }
  if (shape.picture_branches) decoder.picture_adapter = load_picture_adapter(shape, range, source);
  for (const AdapterShape& adapter : shape.adapters) {
    decoder.adapters.push_back(load_adapter(shape, range, adapter, source));
  }
  if (!decoder.is_last()) return decoder;
  decoder.norm = source.vector({"decoder.norm.weight", {shape.hidden_size}});
  if (!shape.tied_embeddings) {
    decoder.output = source.matrix(Part::output, {"decoder.output.weight", table});
  } else {
    // Of one matrix two devices need a copy each.
    decoder.output = decoder.is_first() ? decoder.token_embedding : embeddings();
  }
  return decoder;
}

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
  const StepBuffers buffers{hidden, exec.arena.matrix(RegionId::activations, hidden.rows, shape.hidden_size),
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
