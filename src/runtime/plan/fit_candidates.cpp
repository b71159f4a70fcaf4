// The ladder of the fit search: precisions first, what costs only time within each, then a shorter context.
#include <algorithm>
#include <array>

#include "runtime/plan/fit.h"
#include "runtime/plan/fit_precisions.h"

namespace galago::runtime {
namespace {

// Shorter conversations than this are of no use to anybody.
constexpr std::int64_t least_context = 512;

/// What saves memory at the price of time alone, from cheap to dear.
struct Saving {
  std::int64_t prefill_chunk;  ///< most
  std::int64_t mlp_rows;       ///< most; 0: all
  bool one_tile;
  bool staged;
  bool few_pictures;  ///< before the tower leaves: those of one request
};
constexpr std::int64_t any_chunk = 1 << 24;
// With so many rows most devices multiply for longer than they read weights (decision 0042).
constexpr std::int64_t mlp_block = 256;
constexpr std::array<Saving, 11> savings{{{any_chunk, 0, false, false, false},
                                          {any_chunk, mlp_block, false, false, false},
                                          {any_chunk, mlp_block, true, false, false},
                                          {128, mlp_block, true, false, false},
                                          {32, mlp_block, true, false, false},
                                          {any_chunk, 0, false, true, false},
                                          {any_chunk, mlp_block, false, true, false},
                                          {any_chunk, mlp_block, true, true, false},
                                          {128, mlp_block, true, true, false},
                                          {32, mlp_block, true, true, false},
                                          {32, mlp_block, true, true, true}}};

std::vector<Configuration> ways_of_saving(const EngineOptions& options, const Configuration& rung) {
  std::vector<Configuration> ways;
  const auto is_new = [&](const Configuration& way) {
    return std::none_of(ways.begin(), ways.end(), [&](const Configuration& other) {
      return other.prefill_chunk == way.prefill_chunk && other.mlp_rows == way.mlp_rows &&
             other.tile_batch == way.tile_batch && other.tower_staged == way.tower_staged &&
             other.kept_pictures == way.kept_pictures;
    });
  };
  for (const Saving& saving : savings) {
    if (saving.staged && options.tower_placement == TowerPlacement::resident) continue;
    Configuration way = rung;
    way.prefill_chunk = std::min(way.prefill_chunk, saving.prefill_chunk);
    if (way.logit_rows > 1) way.logit_rows = way.prefill_chunk;
    way.limit_mlp_rows(options.mlp_rows > 0 ? options.mlp_rows : saving.mlp_rows);
    if (saving.one_tile && options.tile_batch == 0 && way.with_pictures) way.tile_batch = 1;
    way.tower_staged = way.tower_staged || (saving.staged && way.with_pictures);
    way.kept_pictures = 1;
    if (way.tower_staged) {
      way.kept_pictures = saving.few_pictures ? way.request_pictures : way.staged_pictures;
    }
    if (is_new(way)) ways.push_back(way);
  }
  return ways;
}

/// Reading layers in every step keeps all numbers and costs the most time by far, so it comes after
/// everything else; the fewer layers, the better.
void append_streamed(const Blueprint& model, const EngineOptions& options, const Configuration& full,
                     std::vector<Configuration>& candidates) {
  const std::int64_t n_layers = model.description.decoder.n_layers;
  for (const Configuration& rung : precision_rungs(model, options, full)) {
    Configuration streamed = ways_of_saving(options, rung).back();
    for (const std::int64_t quarters : {1, 2, 3, 4}) {
      // An even number, so that each slot always has the same layers. Two slots hold two layers anyway.
      streamed.streamed_layers = n_layers * quarters / 4 / 2 * 2;
      if (streamed.streamed_layers > 2) candidates.push_back(streamed);
    }
  }
}

}  // namespace

std::vector<Configuration> fit_candidates(const Blueprint& model, const EngineOptions& options,
                                          const Demand& demand) {
  std::vector<Configuration> candidates;
  EngineOptions asked = options;
  const Configuration full = configure(options, model.description, demand);
  const bool context_is_free = options.context == 0 && !options.workload;
  Configuration base = full;
  while (true) {
    for (const Configuration& rung : precision_rungs(model, options, base)) {
      for (const Configuration& way : ways_of_saving(options, rung)) candidates.push_back(way);
    }
    asked.context = base.context / 2;
    if (!context_is_free || asked.context < least_context) break;
    base = configure(asked, model.description, demand);
  }
  if (options.streamed_layers > 0) return candidates;
  append_streamed(model, options, full, candidates);
  if (base.context < full.context) append_streamed(model, options, base, candidates);
  return candidates;
}

}  // namespace galago::runtime
