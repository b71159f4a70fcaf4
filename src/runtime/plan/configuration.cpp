#include "runtime/plan/configuration.h"

#include <algorithm>
#include <numeric>

#include "base/fail.h"
#include "base/topology.h"
#include "runtime/plan/attention_window.h"

namespace galago::runtime {
namespace {

constexpr std::int64_t default_context = 4096;
constexpr std::int64_t most_at_once = 1024;
// Kept at once for a staged tower, where nobody says how many will come.
constexpr std::int64_t pictures_of_a_conversation = 4;
// Loading the tower once for so many costs each of them little.
constexpr std::int64_t pictures_of_a_folder = 16;
// Rows that keep every core busy in the tower; more at once would only take more memory.
constexpr std::int64_t busy_tower_rows = 1024;

// Measured: docs/benchmarks/quantisation.md.
constexpr Grouped int8_format{8, 32, DType::f16, GroupOffset::none};
constexpr Grouped int4_format{4, 32, DType::f16, GroupOffset::minimum};
// Keys have a few large channels, so groups are small: docs/benchmarks/quantisation.md.
constexpr Grouped kv_int8_format{8, 32, DType::f16, GroupOffset::none};
constexpr Grouped kv_int4_format{4, 32, DType::f16, GroupOffset::minimum};

/// What int4 would hurt most stays in 8 bits, unless it is asked for by its own name.
Precision vocabulary_precision(Precision decoder) {
  return decoder == Precision::int4 ? Precision::int8 : decoder;
}

std::int64_t context_of(const EngineOptions& options, std::int64_t max_context, std::int64_t prompt_tokens) {
  if (options.context < 0)
    fail(ErrorCode::usage, "the context is {} tokens, expected 1 or more", options.context);
  if (options.context > max_context) {
    fail(ErrorCode::usage, "a context of {} tokens was asked for, the model has positions for {}",
         options.context, max_context);
  }
  if (options.context > 0) return options.context;
  if (!options.workload) return options.window > 0 ? max_context : std::min(max_context, default_context);
  return std::min(max_context, prompt_tokens + options.workload->max_new_tokens);
}

/// Storage formats as the options have them, part by part.
Configuration asked_formats(const EngineOptions& options, const model::DecoderShape& decoder) {
  Configuration configuration = formats_for(options.precision);
  const auto choose = [](std::optional<WeightFormat>& format, Precision precision) {
    if (precision != Precision::automatic) format = weight_format_of(precision);
  };
  choose(configuration.tower_format, options.tower_precision);
  choose(configuration.embeddings_format, options.embeddings_precision);
  choose(configuration.output_format, options.output_precision);
  if (decoder.tied_embeddings && options.output_precision != Precision::automatic) {
    if (options.embeddings_precision != Precision::automatic &&
        options.embeddings_precision != options.output_precision) {
      fail(ErrorCode::usage,
           "embeddings and output layer were asked for in different precisions, but in this model they are "
           "one matrix");
    }
    configuration.embeddings_format = configuration.output_format;
  }
  configuration.kv_format = kv_format_of(options.kv, options.precision);
  return configuration;
}

/// Where the tower is staged: a request's pictures at least, those of several where several will come.
void choose_kept_pictures(const EngineOptions& options, Configuration& configuration) {
  std::int64_t least = pictures_of_a_conversation;
  std::int64_t most = pictures_of_a_conversation;
  if (options.workload) {
    least = most = std::max<std::int64_t>(options.workload->n_images, 1);
    const std::int64_t n_requests =
        std::clamp<std::int64_t>(options.workload->n_requests, 1, pictures_of_a_folder);
    if (least * n_requests <= pictures_of_a_folder) most = least * n_requests;
  }
  if (options.encode_batch > 0) {
    if (options.encode_batch < least) {
      fail(ErrorCode::usage, "{} pictures were to be encoded at once, a request has {}", options.encode_batch,
           least);
    }
    least = most = options.encode_batch;
  }
  configuration.request_pictures = least;
  configuration.staged_pictures = most;
  if (configuration.tower_staged) configuration.kept_pictures = most;
}

void check_numbers(const EngineOptions& options, const model::DecoderShape& decoder) {
  if (options.prefill_chunk < 1) {
    fail(ErrorCode::usage, "the prefill chunk is {} tokens, expected 1 or more", options.prefill_chunk);
  }
  if (options.mlp_rows < 0) {
    fail(ErrorCode::usage, "{} rows in an MLP at once were asked for, expected 1 or more", options.mlp_rows);
  }
  if (options.tile_batch < 0) {
    fail(ErrorCode::usage, "{} tiles at once were asked for, expected 1 or more", options.tile_batch);
  }
  if (options.batch < 1 || options.batch > most_at_once) {
    fail(ErrorCode::usage, "{} requests at once were asked for, expected 1 to {}", options.batch,
         most_at_once);
  }
  if (options.encode_batch < 0 || options.encode_batch > most_at_once) {
    fail(ErrorCode::usage, "{} pictures were to be encoded at once, expected 1 to {}", options.encode_batch,
         most_at_once);
  }
  if (options.kv_limit && !(*options.kv_limit > 0 && *options.kv_limit <= 1)) {
    fail(ErrorCode::usage,
         "the KV cache was limited to {} of the free memory, expected above 0 and at most 1",
         *options.kv_limit);
  }
  if (options.streamed_layers < 0 || options.streamed_layers > decoder.n_layers) {
    fail(ErrorCode::usage, "{} layers were to be streamed, the decoder has {}", options.streamed_layers,
         decoder.n_layers);
  }
}

}  // namespace

std::optional<WeightFormat> weight_format_of(Precision precision) {
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

WeightFormat kv_format_of(KvPrecision precision, Precision weights) {
  switch (precision) {
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
  return weights == Precision::fp32 ? DType::f32 : DType::f16;
}

Configuration configure(const EngineOptions& options, const model::Description& description,
                        const Demand& demand) {
  const std::int64_t prompt_tokens = demand.prompt_tokens;
  check_numbers(options, description.decoder);
  Configuration configuration = asked_formats(options, description.decoder);
  configuration.packed = options.packed;
  configuration.host_threads = options.threads > 0 ? options.threads : usable_cores();
  configuration.streamed_layers = options.streamed_layers;
  configuration.stage_layers = {description.decoder.n_layers};
  configuration.context = context_of(options, description.decoder.max_context, prompt_tokens);
  configuration.prompt_tokens =
      prompt_tokens > 0 ? std::min(prompt_tokens, configuration.context) : configuration.context;
  configuration.prefill_chunk = std::min(options.prefill_chunk, configuration.prompt_tokens);
  configuration.batch = options.batch;
  configuration.limit_mlp_rows(options.mlp_rows);
  configuration.logit_rows = options.logits == LogitRows::all ? configuration.prefill_chunk : 1;
  configuration.kv_tokens = options.kv_tokens;
  configuration.window = widest_window(description.decoder);
  configuration.sinks = description.decoder.sinks;
  const std::int64_t kept =
      std::min(configuration.context, configuration.request_pages() * configuration.page_tokens);
  if (options.kv_tokens != 0 && options.kv_tokens < kept) {
    fail(ErrorCode::usage, "keys and values were limited to {} tokens, one request has those of {}",
         options.kv_tokens, kept);
  }
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
    choose_kept_pictures(options, configuration);
  }
  return configuration;
}

model::LayerRange Configuration::layers_of(std::size_t stage) const {
  const auto until = stage_layers.begin() + static_cast<std::ptrdiff_t>(stage);
  const std::int64_t first = std::accumulate(stage_layers.begin(), until, std::int64_t{0});
  return {first, first + *until};
}

std::int64_t Configuration::streamed_of(const model::LayerRange& layers) const {
  const std::int64_t n_layers = std::accumulate(stage_layers.begin(), stage_layers.end(), std::int64_t{0});
  if (n_layers == 0) return 0;
  return streamed_layers * layers.end / n_layers - streamed_layers * layers.first / n_layers;
}

Configuration formats_for(Precision precision) {
  Configuration configuration;
  configuration.decoder_format = configuration.tower_format = weight_format_of(precision);
  configuration.embeddings_format = configuration.output_format =
      weight_format_of(vocabulary_precision(precision));
  return configuration;
}

const std::optional<WeightFormat>& format_of_part(const Configuration& configuration, model::Part part) {
  switch (part) {
    case model::Part::tower:
      return configuration.tower_format;
    case model::Part::embeddings:
      return configuration.embeddings_format;
    case model::Part::output:
      return configuration.output_format;
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

std::string short_name(const std::optional<WeightFormat>& format) {
  if (!format) return "as stored";
  if (!format->is_grouped()) return describe(*format);
  return fmt::format("int{}", format->grouped().bits);
}

}  // namespace galago::runtime
