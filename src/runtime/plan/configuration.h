// Everything that decides how many bytes a model takes, settled before anything is reserved.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "galago/options.h"
#include "model/decoder.h"
#include "model/description.h"
#include "model/weights.h"
#include "runtime/plan/kv_retention.h"

namespace galago::runtime {

/// The most that one picture has of either.
struct PictureLimits {
  std::int64_t n_tiles = 0;
  std::int64_t n_tokens = 0;
};

/// What requests ask for at most.
struct Demand {
  std::int64_t prompt_tokens = 0;  ///< of the longest prompt, image tokens included; 0: not stated
  PictureLimits picture;
};

struct Configuration {
  std::optional<WeightFormat> decoder_format;  ///< and the projector's; none: as the checkpoint stores them
  std::optional<WeightFormat> embeddings_format;  ///< also of an output layer that is the same matrix
  std::optional<WeightFormat> output_format;
  std::optional<WeightFormat> tower_format;
  WeightFormat kv_format = DType::f16;
  std::int64_t context = 0;          ///< tokens of prompt and answer
  std::int64_t prefill_chunk = 0;    ///< most rows of one step
  std::int64_t mlp_rows = 0;         ///< EngineOptions::mlp_rows
  std::int64_t prompt_tokens = 0;    ///< of the planned request
  std::int64_t logit_rows = 1;       ///< rows of a prefill step that logits are computed for
  PictureLimits picture;             ///< the largest
  std::int64_t picture_rows = 0;     ///< of the planned request's tokens, those that are pictures
  std::int64_t tile_batch = 0;       ///< most tiles in the tower at once
  bool tower_staged = false;         ///< galago::TowerPlacement
  std::int64_t streamed_layers = 0;  ///< EngineOptions::streamed_layers, of all devices together
  /// Pictures whose embeddings are kept at once: where the tower leaves before the decoder begins, those of
  /// one or several requests.
  std::int64_t kept_pictures = 1;
  std::int64_t staged_pictures = 1;   ///< how many that would be
  std::int64_t request_pictures = 1;  ///< and how many at least
  std::int64_t page_tokens = 16;
  std::int64_t window = 0;     ///< positions that the decoder's layer with the widest view sees; 0: all
  std::int64_t sinks = 0;      ///< first positions that stay in sight beside the window
  std::int64_t batch = 1;      ///< requests that are decoded at once
  std::int64_t kv_tokens = 0;  ///< EngineOptions::kv_tokens
  bool with_pictures = false;
  std::filesystem::path packed;  ///< EngineOptions::packed
  int host_threads = 1;  ///< that read and convert weights, each in staging of its own, and make pixels
  std::vector<std::int64_t> stage_layers;  ///< of the decoder on each device, in order

  std::int64_t most_rows() const { return std::max(prefill_chunk, batch); }     ///< of any step
  std::int64_t most_logit_rows() const { return std::max(logit_rows, batch); }  ///< of any step
  /// Has at most so many of a step's rows in an MLP at once, where steps may have more; 0: all.
  void limit_mlp_rows(std::int64_t rows) { mlp_rows = rows < most_rows() ? rows : 0; }
  KvRetention retention() const { return {page_tokens, window, sinks, prefill_chunk}; }
  /// The most that one request has at once.
  std::int64_t request_pages() const { return retention().most_pages(context); }
  std::int64_t n_pages() const {
    return kv_tokens > 0 ? retention().pages_for(kv_tokens) : batch * request_pages();
  }
  /// Of the planned request.
  std::int64_t n_prefill_steps() const { return (prompt_tokens + prefill_chunk - 1) / prefill_chunk; }
  /// The layers of one of the devices.
  model::LayerRange layers_of(std::size_t stage) const;
  /// How many of the layers of one device are streamed, its last ones: its part of all that are.
  std::int64_t streamed_of(const model::LayerRange& layers) const;
  /// Which of a device's regions keep their contents through a request. The tower is on the first one; to the
  /// others rows are handed over at any time.
  memory::RegionSet lasting_regions(std::size_t stage) const {
    if (stage > 0)
      return memory::lasting_by_default().set(static_cast<std::size_t>(memory::RegionId::staging));
    return tower_staged ? memory::lasting_with_staged_tower() : memory::lasting_by_default();
  }
};

/// Settles the options. Throws Error{usage} for values that cannot be.
Configuration configure(const EngineOptions& options, const model::Description& description,
                        const Demand& demand);

/// What a precision stands for; none: as the checkpoint stores it.
std::optional<WeightFormat> weight_format_of(Precision precision);
WeightFormat kv_format_of(KvPrecision precision, Precision weights);

/// The formats of the weights that a precision stands for; the rest is left alone.
Configuration formats_for(Precision precision);

/// What was chosen for a part of the model; none: as the checkpoint stores it.
const std::optional<WeightFormat>& format_of_part(const Configuration& configuration, model::Part part);

/// "fp16", "int4 in groups of 32 with minima (5 bits a weight)", or "as stored"
std::string describe_format(const std::optional<WeightFormat>& format);
/// "fp16", "int4", or "as stored"
std::string short_name(const std::optional<WeightFormat>& format);

}  // namespace galago::runtime
