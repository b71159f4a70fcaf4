// What a model will use, told before it is loaded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "galago/options.h"

namespace galago {

struct RegionPlan {
  std::string name;  ///< "weights", "tower", "kv", "pictures", "activations", "staging", "runtime"; where
                     ///< there are several devices "cuda:0 weights", but staging is in the host's memory
  std::uint64_t bytes;
  std::string purpose;
};

/// The memory that a phase has in use; its least work, and the time that takes at the machine's measured
/// ceilings (roofline).
struct PhasePlan {
  std::string name;  ///< "load", "encode" (one picture), "prefill" (the planned prompt), "decode" (one token
                     ///< of each request of the batch, full context)
  double flops;
  std::uint64_t bytes_read;
  std::uint64_t bytes_written;
  double seconds;
  std::uint64_t peak_bytes = 0;               ///< of all regions at once
  std::vector<std::uint64_t> region_bytes{};  ///< of each of Plan::regions
};

/// Ceilings of the machine, measured by plan_model() (0 in Engine::plan(), as are the phases' times), and
/// what the kernels are built for.
struct MachineCeilings {
  double flops_per_second = 0;  ///< FP32
  double bytes_per_second = 0;
  /// Products of activations rounded to int8 with weights of 4 bits; 0: none are made.
  double int8_flops_per_second = 0;
  /// Products with activations rounded to BF16; 0: none are made.
  double bf16_flops_per_second = 0;
};

/// What one device has of a model.
struct DevicePlan {
  std::string name;              ///< "cpu", "cuda:0"
  std::int64_t first_layer = 0;  ///< of the decoder, from 0
  std::int64_t n_layers = 0;
  std::uint64_t peak_bytes = 0;   ///< all that lies there; on the CPU the program, and staging, too
  std::uint64_t share_bytes = 0;  ///< what it may have, where there are several; EngineOptions::split
  MachineCeilings ceilings{};     ///< as Plan::ceilings
};

/// A configuration that the fit search looked at.
struct PlanCandidate {
  std::string choice;  ///< in words
  std::uint64_t peak_bytes = 0;
  bool fits = false;
};

struct Plan {
  std::string model;                ///< directory
  std::string family;               ///< name of the family description
  std::string chat_format;          ///< what conversations are written in; empty for known shapes
  std::string notice;               ///< what the caller should tell the user about the model; empty: nothing
  std::string device;               ///< "cpu (avx2, 2 threads)"; several with commas between
  std::vector<DevicePlan> devices;  ///< in the order of the decoder's layers
  std::string precision, embeddings_precision, output_precision, tower_precision, kv_precision;
  std::int64_t context = 0;
  std::int64_t prefill_chunk = 0;
  std::int64_t mlp_rows = 0;         ///< rows in a decoder layer's MLP at once; 0: all of a step
  std::int64_t image_tokens = 0;     ///< tokens of the largest picture; 0 for text models
  std::int64_t image_tiles = 0;      ///< tiles of the largest picture
  std::int64_t tile_batch = 0;       ///< tiles in the vision tower at once
  bool tower_staged = false;         ///< the tower is there to encode only; TowerPlacement
  std::int64_t streamed_layers = 0;  ///< EngineOptions::streamed_layers
  std::int64_t batch = 1;            ///< requests that are decoded at once
  std::int64_t encode_batch = 0;     ///< pictures that are encoded before a staged tower leaves
  bool decodes_ahead = false;        ///< there is room for EngineOptions::next_picture_bytes
  std::int64_t page_tokens = 0;      ///< tokens of one KV page
  std::int64_t n_pages = 0;
  std::int64_t window = 0;  ///< positions that the layer with the widest view sees; 0: all
  std::int64_t sinks = 0;   ///< first positions that stay in sight beside the window
  std::vector<RegionPlan> regions;
  /// Of the phase that needs the most: regions that are never needed at once share memory.
  std::uint64_t peak_bytes = 0;
  std::vector<PhasePlan> phases;
  MachineCeilings ceilings;           ///< of the first device
  std::string choice;                 ///< precisions and what else was chosen, in words
  std::uint64_t budget_bytes = 0;     ///< EngineOptions::memory_limit
  std::vector<PlanCandidate> ladder;  ///< for the budget; the first of them that fits is taken
};

/// Plans without loading: headers and configuration are read, no weight is. A known shape is held against
/// `memory_limit` only, not against this machine. Throws Error{model, memory, usage}.
Plan plan_model(const EngineOptions& options);

/// Cards that EngineOptions::device may name for plan_model() and plan_what_if(), without having them. Their
/// memory is the budget where `memory_limit` states none; they are planned with the CPU's operations.
std::vector<std::string> known_device_names();

/// One cell of a what-if table.
struct WhatIfRow {
  Precision precision = Precision::automatic;
  PictureSize picture;       ///< 0x0: none
  std::int64_t context = 0;  ///< tokens of prompt and answer
  std::int64_t batch = 1;    ///< requests that are decoded at once
  std::int64_t image_tokens = 0;
  std::uint64_t peak_bytes = 0;
  bool fits = false;               ///< in `memory_limit`, else in what the device has
  double first_token_seconds = 0;  ///< at least, of one request: encode and prefill at the ceilings
  double tokens_per_second = 0;    ///< at most, of all requests: decoding at full context, at the ceilings
  /// Tokens that keys and values would have room for, if they had these fractions (WhatIfAxes) of what
  /// everything else leaves of `memory_limit`, or of what the device has.
  std::vector<std::int64_t> kv_tokens{};
};

struct WhatIfAxes {
  std::vector<Precision> precisions{Precision::fp32, Precision::fp16, Precision::int8, Precision::int4};
  std::vector<PictureSize> pictures{{336, 336}, {672, 672}, {336, 1344}, {1344, 672}};
  std::vector<std::int64_t> contexts{2048, 4096};  ///< up to the model's, else that alone
  std::vector<std::int64_t> batches{1, 4, 16};
  std::vector<double> kv_fractions{0.2, 0.5, 0.8};
};

/// Plans the model at every combination; batches vary fastest, then contexts, pictures, precisions. An axis
/// is what the options fix instead, where they do: `precision`, the workload's `image_sizes`, `context`,
/// `batch` above 1. Throws as plan_model() does, but not for plans that do not fit.
std::vector<WhatIfRow> plan_what_if(const EngineOptions& options, const WhatIfAxes& axes = {});
/// One line a precision, picture and context, with the batches side by side. `axes`: those of the rows.
std::string to_text(const std::vector<WhatIfRow>& rows, const WhatIfAxes& axes = {});
std::string to_json(const std::vector<WhatIfRow>& rows, const WhatIfAxes& axes = {});

/// A configuration worth having: nothing else is as good in quality, memory and time and better in one of
/// them.
struct ParetoRow {
  std::string choice;  ///< Plan::choice
  std::uint64_t peak_bytes = 0;
  double first_token_seconds = 0;  ///< at least: encode and prefill at the ceilings
  double tokens_per_second = 0;    ///< at most: decoding at full context, at the ceilings
  double request_seconds = 0;      ///< of the whole workload
  /// Expected rise of a text's perplexity by the decoder's storage types, and expected loss of right answers
  /// by the tower's, as measured for other models (models/quality.json).
  double perplexity_percent = 0;
  double accuracy_points = 0;
};

/// Plans the model with every precision of decoder, tower, keys and values, with the tower resident and
/// staged, layers resident and streamed; what the options fix is the same in all. Those that fit in
/// `memory_limit`, else in what the device has, are compared; the best quality comes first. Layers are taken
/// to be read from a disk of 1 GB/s. Throws as plan_model() does.
std::vector<ParetoRow> plan_pareto(const EngineOptions& options);
std::string to_text(const std::vector<ParetoRow>& rows);
std::string to_json(const std::vector<ParetoRow>& rows);

/// Models that can be planned and measured without their files, in alphabetical order.
std::vector<std::string> known_shape_names();

/// One line: what was chosen for a budget, and what it takes; empty without a budget.
std::string choice_line(const Plan& plan);

/// Everything that was tried for a budget, from the best quality downwards, a line each.
std::string ladder_text(const Plan& plan);

/// The table that `galago plan` prints, with one line a region and one a phase.
std::string to_text(const Plan& plan);

/// One JSON object; `peak_bytes` at the top level. Schema: docs/plan.md.
std::string to_json(const Plan& plan);

}  // namespace galago
