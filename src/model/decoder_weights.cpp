// Which weights a decoder's part has, in the order in which they are used.
#include <array>
#include <string>

#include "model/decoder.h"

namespace galago::model {
namespace {

std::string name(std::int64_t layer, const char* tensor) {
  return "decoder." + std::to_string(layer) + "." + tensor;
}

}  // namespace

DecoderLayer load_decoder_layer(const DecoderShape& shape, std::int64_t index, WeightSource& source) {
  const std::int64_t hidden = shape.hidden_size;
  const std::int64_t query = shape.query_size();
  const std::int64_t kv = shape.kv_size();
  DecoderLayer layer;
  layer.attention_norm = source.vector({name(index, "attn_norm.weight"), {hidden}});
  layer.qkv =
      source.matrix(Part::decoder, std::array<NamedShape, 3>{{{name(index, "attn.q.weight"), {query, hidden}},
                                                              {name(index, "attn.k.weight"), {kv, hidden}},
                                                              {name(index, "attn.v.weight"), {kv, hidden}}}});
  if (shape.attention_bias) {
    layer.qkv_bias = source.vector(std::array<NamedShape, 3>{{{name(index, "attn.q.bias"), {query}},
                                                              {name(index, "attn.k.bias"), {kv}},
                                                              {name(index, "attn.v.bias"), {kv}}}});
  }
  layer.attention_out = source.matrix(Part::decoder, {name(index, "attn.o.weight"), {hidden, query}});
  if (shape.attention_out_bias)
    layer.attention_out_bias = source.vector({name(index, "attn.o.bias"), {hidden}});
  layer.mlp_norm = source.vector({name(index, "mlp_norm.weight"), {hidden}});
  layer.gate_up = source.matrix(
      Part::decoder, std::array<NamedShape, 2>{{{name(index, "mlp.gate.weight"), {shape.mlp_size, hidden}},
                                                {name(index, "mlp.up.weight"), {shape.mlp_size, hidden}}}});
  layer.down = source.matrix(Part::decoder, {name(index, "mlp.down.weight"), {hidden, shape.mlp_size}});
  return layer;
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
    decoder.layers.push_back(load_decoder_layer(shape, i, source));
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

}  // namespace galago::model
