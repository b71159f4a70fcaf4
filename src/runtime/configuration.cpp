#include "runtime/configuration.h"

#include <algorithm>

#include "base/fail.h"

namespace galago::runtime {
namespace {

constexpr std::int64_t default_context = 4096;
// Kept at once for a staged tower, where nobody says how many will come.
constexpr std::int64_t pictures_of_a_conversation = 4;
// Rows that keep every core busy in the tower; more at once would only take more memory.
constexpr std::int64_t busy_tower_rows = 1024;

// Measured: docs/benchmarks/quantisation.md.
constexpr Grouped int8_format{8, 32, DType::f16, GroupOffset::none};
constexpr Grouped int4_format{4, 32, DType::f16, GroupOffset::minimum};
// Keys have a few large channels, so groups are small: docs/benchmarks/quantisation.md.
constexpr Grouped kv_int8_format{8, 32, DType::f16, GroupOffset::none};
constexpr Grouped kv_int4_format{4, 32, DType::f16, GroupOffset::minimum};

std::optional<WeightFormat> format_of(Precision precision) {
  switch (precision) {
    case Precision::automatic:
      return std::nullopt;
    case Precision::fp32:
      return DType::f32;
    case Precision::fp16:
      return DType::f16;
    case Precision::bf16:
      return DType::bf16;
    case Precision::int8:
      return int8_format;
    case Precision::int4:
      return int4_format;
  }
  return std::nullopt;
}

WeightFormat kv_format_of(const EngineOptions& options) {
  switch (options.kv) {
    case KvPrecision::fp32:
      return DType::f32;
    case KvPrecision::fp16:
      return DType::f16;
    case KvPrecision::int8:
      return kv_int8_format;
    case KvPrecision::int4:
      return kv_int4_format;
    case KvPrecision::automatic:
      break;
  }
  return options.precision == Precision::fp32 ? DType::f32 : DType::f16;
}

std::int64_t context_of(const EngineOptions& options, std::int64_t max_context, std::int64_t prompt_tokens) {
  if (options.context < 0)
    fail(ErrorCode::usage, "the context is {} tokens, expected 1 or more", options.context);
  if (options.context > max_context) {
    fail(ErrorCode::usage, "a context of {} tokens was asked for, the model has positions for {}",
         options.context, max_context);
  }
  if (options.context > 0) return options.context;
  if (!options.workload) return std::min(max_context, default_context);
  return std::min(max_context, prompt_tokens + options.workload->max_new_tokens);
}

}  // namespace

Configuration configure(const EngineOptions& options, const model::Description& description,
                        const Demand& demand) {
  const std::int64_t prompt_tokens = demand.prompt_tokens;
  if (options.prefill_chunk < 1) {
    fail(ErrorCode::usage, "the prefill chunk is {} tokens, expected 1 or more", options.prefill_chunk);
  }
  if (options.tile_batch < 0) {
    fail(ErrorCode::usage, "{} tiles at once were asked for, expected 1 or more", options.tile_batch);
  }
  Configuration configuration = formats_for(options.precision);
  configuration.tower_format = format_of(
      options.tower_precision == Precision::automatic ? options.precision : options.tower_precision);
  configuration.kv_format = kv_format_of(options);
  if (options.kv_limit && !(*options.kv_limit > 0 && *options.kv_limit <= 1)) {
    fail(ErrorCode::usage,
         "the KV cache was limited to {} of the free memory, expected above 0 and at most 1",
         *options.kv_limit);
  }
  if (options.streamed_layers < 0 || options.streamed_layers > description.decoder.n_layers) {
    fail(ErrorCode::usage, "{} layers were to be streamed, the decoder has {}", options.streamed_layers,
         description.decoder.n_layers);
  }
  configuration.streamed_layers = options.streamed_layers;
  configuration.context = context_of(options, description.decoder.max_context, prompt_tokens);
  configuration.prompt_tokens =
      prompt_tokens > 0 ? std::min(prompt_tokens, configuration.context) : configuration.context;
  configuration.prefill_chunk = std::min(options.prefill_chunk, configuration.prompt_tokens);
  configuration.logit_rows = options.logits == LogitRows::all ? configuration.prefill_chunk : 1;
  configuration.with_pictures =
      description.tower.has_value() && (!options.workload || options.workload->n_images > 0);
  if (configuration.with_pictures) {
    configuration.picture = demand.picture;
    const std::int64_t n_images = options.workload ? options.workload->n_images : 1;
    const std::int64_t most_images =
        configuration.prompt_tokens / std::max<std::int64_t>(demand.picture.n_tokens, 1);
    configuration.picture_rows = std::min(n_images, most_images) * demand.picture.n_tokens;
    const std::int64_t most = std::max<std::int64_t>(demand.picture.n_tiles, 1);
    const std::int64_t busy = busy_tower_rows / description.tower->tokens();
    configuration.tile_batch =
        std::clamp<std::int64_t>(options.tile_batch > 0 ? options.tile_batch : busy, 1, most);
    configuration.tower_staged = options.tower_placement == TowerPlacement::staged;
    configuration.staged_pictures =
        options.workload ? std::max<std::int64_t>(options.workload->n_images, 1) : pictures_of_a_conversation;
    if (configuration.tower_staged) configuration.kept_pictures = configuration.staged_pictures;
  }
  return configuration;
}

Configuration formats_for(Precision precision) {
  Configuration configuration;
  configuration.decoder_format = configuration.tower_format = format_of(precision);
  configuration.vocabulary_format = format_of(precision == Precision::int4 ? Precision::int8 : precision);
  return configuration;
}

const std::optional<WeightFormat>& format_of_part(const Configuration& configuration, model::Part part) {
  switch (part) {
    case model::Part::tower:
      return configuration.tower_format;
    case model::Part::vocabulary:
      return configuration.vocabulary_format;
    case model::Part::adapter: {
      // Side branches are narrow: groups of weights need not fit them.
      static const std::optional<WeightFormat> as_stored;
      const auto& decoder = configuration.decoder_format;
      return decoder && decoder->is_grouped() ? as_stored : decoder;
    }
    case model::Part::decoder:
    case model::Part::projector:
      break;
  }
  return configuration.decoder_format;
}

std::string describe_format(const std::optional<WeightFormat>& format) {
  if (!format) return "as stored";
  std::string text = describe(*format);
  if (format->is_grouped()) text += fmt::format(" ({:g} bits a weight)", format->bits_per_weight());
  return text;
}

}  // namespace galago::runtime
